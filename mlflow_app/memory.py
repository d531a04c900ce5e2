"""How many processes may serve MLflow: as many as the container's memory and processors bear."""

import os
from collections.abc import Mapping
from pathlib import Path

MIB = 1024 * 1024
# Measured with MLflow 3.17.2: 15 for the supervisor, 40 for the proxy, 180 for what MLflow's processes share; the rest
# is for the proxy's bodies, what Linux and a platform's own helpers take, and the schema at the start.
_FIXED = 400
# What one process adds, beside what it shares with the others: 20 idle, 100 with eight callers who log and search.
_EACH = 150
# More wait for processors, not for the database.
_PER_PROCESSOR = 2


def limit(environ: Mapping[str, str], root: Path = Path("/")) -> int:
    """The memory that this container may take, in MiB: the least that anybody says."""
    said = [_meminfo(root / "proc/meminfo")]
    for name in ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _read(root / name)
        if text.isdecimal():
            said.append(int(text) // MIB)
    # App Engine says it here.
    if environ.get("GAE_MEMORY_MB", "").isdecimal():
        said.append(int(environ["GAE_MEMORY_MB"]))
    return min(said)


def processors(root: Path = Path("/")) -> float:
    """How much of them this container may take."""
    here = float(len(os.sched_getaffinity(0)))
    quota, _, period = _read(root / "sys/fs/cgroup/cpu.max").partition(" ")
    return min(here, int(quota) / int(period)) if quota.isdecimal() and period.isdecimal() else here


def workers(mib: int, cpus: float) -> int:
    by_memory = (mib - _FIXED) // _EACH
    return max(1, min(by_memory, int(_PER_PROCESSOR * cpus + 0.5)))


def _meminfo(path: Path) -> int:
    fields = dict(line.split(":", 1) for line in path.read_text().splitlines())
    return int(fields["MemTotal"].split()[0]) // 1024


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
