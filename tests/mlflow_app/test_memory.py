"""How many processes a container's memory and processors bear."""

from pathlib import Path

import pytest

from mlflow_app import memory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine of 8 GB without limits."""
    for name, text in {
        "proc/meminfo": "MemTotal:        8388608 kB\nMemFree:         100 kB\n",
        "sys/fs/cgroup/memory.max": "max\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_without_a_limit_it_is_the_machines_memory(root: Path) -> None:
    assert memory.limit({}, root) == 8192


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_containers_limit_counts_in_either_version_of_cgroups(root: Path, name: str) -> None:
    (root / "sys/fs/cgroup" / name).parent.mkdir(exist_ok=True)
    (root / "sys/fs/cgroup" / name).write_text(f"{1 << 30}\n")
    assert memory.limit({}, root) == 1024


def test_no_limit_of_old_cgroups_is_a_huge_one(root: Path) -> None:
    (root / "sys/fs/cgroup/memory").mkdir()
    (root / "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert memory.limit({}, root) == 8192


def test_what_app_engine_says_counts_when_it_is_less(root: Path) -> None:
    assert memory.limit({"GAE_MEMORY_MB": "2048"}, root) == 2048
    assert memory.limit({"GAE_MEMORY_MB": "?"}, root) == 8192


def test_a_share_of_the_processors_counts(root: Path) -> None:
    assert memory.processors(root) >= 1
    (root / "sys/fs/cgroup/cpu.max").write_text("50000 100000\n")
    assert memory.processors(root) == 0.5


@pytest.mark.parametrize(
    ("mib", "processors", "expected"),
    [(256, 1, 1), (600, 1, 1), (1024, 1, 2), (1024, 4, 4), (2048, 1, 2), (2048, 2, 4), (2048, 8, 10), (65536, 2, 4)],
)
def test_there_are_as_many_as_both_bear_and_always_one(mib: int, processors: float, expected: int) -> None:
    assert memory.workers(mib, processors) == expected
