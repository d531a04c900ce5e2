"""What holds for the files of the project, whatever is in them."""

import re
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
# `make lock` says which dependency groups a requirement file is made of.
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
# Where machines that build things keep their checkouts and their scratch.
MACHINE_PATH = re.compile(r"(?<![\w.}~:-])/(?:root|work|tmp/[a-z]+)/")


def pins(path: Path) -> dict[str, tuple[Version, int]]:
    """The version of each package that the file pins, and for how many files of it there is a hash."""
    joined = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split(" #")[0].strip() for line in joined.splitlines() if line and not line.startswith("#")]
    found: dict[str, tuple[Version, int]] = {}
    for line in lines:
        pinned = re.match(r"([a-z0-9-]+)==([^ ;]+)(?: ;[^#]*?)?(?=( +--hash=sha256:[0-9a-f]{64})+$)", line)
        assert pinned, f"{path.name}: not an exact version with hashes alone: {line[:80]}"
        found[pinned[1]] = Version(pinned[2]), line.count("--hash=sha256:")
    return found


def wanted(groups: Mapping[str, Sequence[str | Mapping[str, str]]], name: str) -> list[Requirement]:
    """What the dependency group asks for, included groups and all."""
    found: list[Requirement] = []
    for item in groups[name]:
        found += [Requirement(item)] if isinstance(item, str) else wanted(groups, item["include-group"])
    return found


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_requirement_file_holds_exact_versions_and_hashes_alone(path: Path) -> None:
    assert pins(path)
    assert "://" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("group", "file"), LOCKED)
def test_a_requirement_file_is_in_step_with_its_dependency_group(group: str, file: str) -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    pinned = pins(ROOT / file)
    asked = wanted(groups, group)
    assert asked
    for requirement in asked:
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in pinned, f"{file} does not have {requirement}: make lock"
        assert pinned[name][0] in requirement.specifier, f"{file} has {name} {pinned[name][0]}: make lock"


def test_every_dependency_group_that_is_installed_has_a_requirement_file() -> None:
    assert {group for group, _ in LOCKED} >= {"proxy", "program", "local", "dev"}
    assert {ROOT / file for _, file in LOCKED} <= set(REQUIREMENTS)


@pytest.mark.parametrize("folder", ["proxy_app", "mlflow_app"])
def test_an_image_is_tested_with_the_versions_it_is_shipped_with(folder: str) -> None:
    shipped, tested = pins(ROOT / folder / "requirements.txt"), pins(ROOT / "requirements" / "dev.txt")
    assert {name: tested[name] for name in shipped} == shipped


def test_the_program_is_tested_with_the_versions_that_pulumi_installs() -> None:
    installed, tested = pins(ROOT / "requirements.txt"), pins(ROOT / "requirements" / "dev.txt")
    assert {name: tested[name] for name in installed} == installed


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    named = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files
        if path.is_file()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if MACHINE_PATH.search(line) or str(ROOT) in line
    ]
    assert len(files) > 20
    assert named == []
