"""The machine: its description, its cores, and the resources that processes use."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PACKAGES = ("aiohttp", "uvloop", "botocore", "flask", "gunicorn", "requests")


class BenchmarkError(Exception):
    """The benchmark cannot run; the message contains the reason and the remedy."""


def describe() -> str:
    """One line: processor, cores, kernel and package versions."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{model[1] if model else platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
        f"Linux {platform.release()}, Python {platform.python_version()}, {packages}, {_nginx_version()}"
    )


def _nginx_version() -> str:
    if not (nginx := find("nginx")):
        return "no nginx"
    text = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=False).stderr
    return text.partition("nginx version: ")[2].strip()


def find(program: str) -> str | None:
    """The program's path, or None. Also looks in sbin folders, where Debian installs nginx."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin")


def need(program: str) -> str:
    """The program's path. BenchmarkError with the package to install when it is missing."""
    if path := find(program):
        return path
    raise BenchmarkError(f"{program} is missing: apt-get install {program} (or your system's package of that name)")


def cores() -> tuple[set[int], set[int]]:
    """(the core of the measured server, the cores of the load generator and the upstream)."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise BenchmarkError(
            "two cores are required: one for the measured server, one for the load generator and the upstream"
        )
    return {first}, set(others)


@contextmanager
def pinned(to: set[int]) -> Generator[None]:
    """Run processes that are started inside the block on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, to)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def tree(pid: int) -> list[int]:
    """The ids of the process and its descendants; empty when it has ended."""
    try:
        below = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except FileNotFoundError:
        return []
    return [pid, *(descendant for child in below for descendant in tree(child))]


def cpu_seconds(pids: Sequence[int]) -> float:
    """Processor time used so far, in user and kernel mode."""
    ticks = 0
    for pid in pids:
        # The name, in parentheses, may contain any character; utime and stime are the 12th and 13th fields after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def _status_kib(pid: int, field: str) -> int:
    found = re.search(rf"^{field}:\s*(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def resident_mib(pids: Sequence[int]) -> float:
    """Current resident memory, in MiB."""
    return sum(_status_kib(pid, "VmRSS") for pid in pids) / 1024


def peak_mib(pids: Sequence[int]) -> float:
    """Peak resident memory since ``reset_peak``, or since the start, in MiB."""
    return sum(_status_kib(pid, "VmHWM") for pid in pids) / 1024


def reset_peak(pids: Sequence[int]) -> None:
    """Reset the peak to the current value (proc_pid_clear_refs(5)). BenchmarkError if not permitted."""
    for pid in pids:
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except (PermissionError, FileNotFoundError) as error:
            raise BenchmarkError(f"cannot reset the peak of memory: {error}") from error
