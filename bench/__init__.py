"""Benchmarks: ``python -m bench``. Linux only: cores are pinned and memory is read from /proc."""
