"""The number of worker processes that fits the container's memory and processors."""

import os
from collections.abc import Mapping
from pathlib import Path

MIB = 1024 * 1024
# Measured with MLflow 3.17.2: 15 for the supervisor, 40 for the proxy, 180 shared by MLflow's processes; the rest is
# for the proxy's request bodies, Linux, helpers of the platform, and the schema check at the start.
_FIXED_MIB = 400
# In addition to the shared memory, a worker needs 20 when idle and 100 with eight clients that log and search.
_WORKER_MIB = 150
# More workers wait for processors, not for the database.
_WORKERS_PER_PROCESSOR = 2


def memory_limit_mib(environ: Mapping[str, str], root: Path = Path("/")) -> int:
    """The memory that this container may use, in MiB: the lowest of the limits that are set."""
    limits = [_meminfo_mib(root / "proc/meminfo")]
    for name in ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _read(root / name)
        if text.isdecimal():
            limits.append(int(text) // MIB)
    # Set by App Engine.
    if environ.get("GAE_MEMORY_MB", "").isdecimal():
        limits.append(int(environ["GAE_MEMORY_MB"]))
    return min(limits)


def processor_limit(root: Path = Path("/")) -> float:
    """The number of processors that this container may use; may be fractional."""
    available = float(len(os.sched_getaffinity(0)))
    quota, _, period = _read(root / "sys/fs/cgroup/cpu.max").partition(" ")
    return min(available, int(quota) / int(period)) if quota.isdecimal() and period.isdecimal() else available


def worker_count(memory_mib: int, processors: float) -> int:
    """The number of worker processes for this much memory and this many processors; at least 1."""
    by_memory = (memory_mib - _FIXED_MIB) // _WORKER_MIB
    return max(1, min(by_memory, int(_WORKERS_PER_PROCESSOR * processors + 0.5)))


def _meminfo_mib(path: Path) -> int:
    fields = dict(line.split(":", 1) for line in path.read_text().splitlines())
    return int(fields["MemTotal"].split()[0]) // 1024


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
