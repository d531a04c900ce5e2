"""Requirement files and paths: rules for all files of the repository."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
# The recipe of `make lock` names the dependency groups of each requirement file.
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
LOCKED = re.findall(r"--group (\S+) .*--output-file (\S+)", MAKEFILE)
REQUIREMENTS = sorted(
    [
        *ROOT.glob("requirements/*.txt"),
        ROOT / "requirements.txt",
        ROOT / "proxy_app" / "requirements.txt",
        ROOT / "mlflow_app" / "requirements.txt",
    ]
)
# Typical folders of checkouts and temporary files on build machines.
MACHINE_PATH = re.compile(r"(?<![\w.}~:-])/(?:root|work|tmp/[a-z]+)/")


def pins(path: Path) -> dict[str, tuple[Version, int]]:
    """{package: (version, number of hashes)} of a requirement file."""
    joined = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split(" #")[0].strip() for line in joined.splitlines() if line and not line.startswith("#")]
    found: dict[str, tuple[Version, int]] = {}
    for line in lines:
        pinned = re.match(r"([a-z0-9-]+)==([^ ;]+)(?: ;[^#]*?)?(?=( +--hash=sha256:[0-9a-f]{64})+$)", line)
        assert pinned, f"{path.name}: expected an exact version with hashes: {line[:80]}"
        found[pinned[1]] = Version(pinned[2]), line.count("--hash=sha256:")
    return found


def requirements(groups: Mapping[str, Sequence[str | Mapping[str, str]]], name: str) -> list[Requirement]:
    """The requirements of a dependency group, including those of included groups."""
    found: list[Requirement] = []
    for item in groups[name]:
        found += [Requirement(item)] if isinstance(item, str) else requirements(groups, item["include-group"])
    return found


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_requirement_file_pins_versions_with_hashes(path: Path) -> None:
    assert pins(path)
    assert "://" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("group", "file"), LOCKED)
def test_requirement_file_matches_dependency_group(group: str, file: str) -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    pinned = pins(ROOT / file)
    required = requirements(groups, group)
    assert required
    for requirement in required:
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in pinned, f"{file} lacks {requirement}; run make lock"
        assert pinned[name][0] in requirement.specifier, f"{file} has {name} {pinned[name][0]}; run make lock"


def test_installed_dependency_groups_have_requirement_files() -> None:
    assert {group for group, _ in LOCKED} >= {"proxy", "program", "local", "dev"}
    assert {ROOT / file for _, file in LOCKED} <= set(REQUIREMENTS)


@pytest.mark.parametrize("folder", ["proxy_app", "mlflow_app"])
def test_image_and_tests_use_the_same_versions(folder: str) -> None:
    shipped, tested = pins(ROOT / folder / "requirements.txt"), pins(ROOT / "requirements" / "dev.txt")
    assert {name: tested[name] for name in shipped} == shipped


def test_program_and_tests_use_the_same_versions() -> None:
    installed, tested = pins(ROOT / "requirements.txt"), pins(ROOT / "requirements" / "dev.txt")
    assert {name: tested[name] for name in installed} == installed


def test_no_file_contains_a_machine_specific_path() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files
        if path.is_file()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if MACHINE_PATH.search(line) or str(ROOT) in line
    ]
    assert len(files) > 20
    assert found == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: str(path.relative_to(ROOT / "tests"))
)
def test_no_test_module_imports_mlflow_at_collection(path: Path) -> None:
    """MLflow's import configures logging and telemetry for all tests of the process."""
    imported = [
        name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]
    assert [name for name in imported if name.partition(".")[0] == "mlflow"] == []
