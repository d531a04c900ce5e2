"""The number of workers for a container's memory and processors."""

from pathlib import Path

import pytest

from mlflow_app import memory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The files of a machine with 8 GiB and no limits."""
    for name, text in {
        "proc/meminfo": "MemTotal:        8388608 kB\nMemFree:         100 kB\n",
        "sys/fs/cgroup/memory.max": "max\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_default_limit_is_the_machines_memory(root: Path) -> None:
    assert memory.memory_limit_mib({}, root) == 8192


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_limit_of_cgroups_v1_and_v2_applies(root: Path, name: str) -> None:
    (root / "sys/fs/cgroup" / name).parent.mkdir(exist_ok=True)
    (root / "sys/fs/cgroup" / name).write_text(f"{1 << 30}\n")
    assert memory.memory_limit_mib({}, root) == 1024


def test_unlimited_cgroups_v1_value_is_ignored(root: Path) -> None:
    (root / "sys/fs/cgroup/memory").mkdir()
    (root / "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert memory.memory_limit_mib({}, root) == 8192


def test_lower_limit_of_app_engine_applies(root: Path) -> None:
    assert memory.memory_limit_mib({"GAE_MEMORY_MB": "2048"}, root) == 2048
    assert memory.memory_limit_mib({"GAE_MEMORY_MB": "?"}, root) == 8192


def test_cpu_quota_applies(root: Path) -> None:
    assert memory.processor_limit(root) >= 1
    (root / "sys/fs/cgroup/cpu.max").write_text("50000 100000\n")
    assert memory.processor_limit(root) == 0.5


@pytest.mark.parametrize(
    ("mib", "processors", "expected"),
    [(256, 1, 1), (600, 1, 1), (1024, 1, 2), (1024, 4, 4), (2048, 1, 2), (2048, 2, 4), (2048, 8, 10), (65536, 2, 4)],
)
def test_worker_count_fits_memory_and_processors(mib: int, processors: float, expected: int) -> None:
    assert memory.worker_count(mib, processors) == expected
