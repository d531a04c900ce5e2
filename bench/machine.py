"""The machine that is measured on: what it is, its cores, and what a process takes of it."""

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


class Unfit(Exception):
    """The benchmark cannot run here; the message says what to do."""


def describe() -> str:
    """One line: cpu, cores, kernel and the versions that matter."""
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
    """Its path. Debian keeps nginx in /usr/sbin, which is not on everyone's PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin")


def need(program: str) -> str:
    """Its path; Unfit says what to install."""
    if path := find(program):
        return path
    raise Unfit(f"{program} is needed: apt-get install {program} (or your system's package of that name)")


def cores() -> tuple[set[int], set[int]]:
    """(the core of what is measured, the cores of the load generator and the upstream)."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise Unfit("two cores are needed: one for what is measured, one for the load and the upstream")
    return {first}, set(others)


@contextmanager
def pinned(to: set[int]) -> Generator[None]:
    """Processes started inside run on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, to)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def tree(pid: int) -> list[int]:
    """The process and all below it; empty when it is gone."""
    try:
        below = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except FileNotFoundError:
        return []
    return [pid, *(one for child in below for one in tree(child))]


def cpu_seconds(pids: Sequence[int]) -> float:
    """Time on the processor so far, in user and kernel mode."""
    ticks = 0
    for pid in pids:
        # The name, in parentheses, may hold anything; utime and stime are the 12th and 13th behind it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def _status_kib(pid: int, field: str) -> int:
    found = re.search(rf"^{field}:\s*(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def resident_mib(pids: Sequence[int]) -> float:
    """Resident memory now."""
    return sum(_status_kib(pid, "VmRSS") for pid in pids) / 1024


def peak_mib(pids: Sequence[int]) -> float:
    """The most that was resident since ``reset_peak``, or since the start."""
    return sum(_status_kib(pid, "VmHWM") for pid in pids) / 1024


def reset_peak(pids: Sequence[int]) -> None:
    """Begin a new peak at what is resident now (proc_pid_clear_refs(5)). Unfit where that is not to be had."""
    for pid in pids:
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except (PermissionError, FileNotFoundError) as error:
            raise Unfit(f"peaks of memory cannot be told apart here: {error}") from error
