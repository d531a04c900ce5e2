"""Image build contexts: the files that .dockerignore includes, the content hash, and the location in the program."""

import contextlib
import os
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pulumi
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components import build_context
from components.build_context import content_hash, files, location
from preview.recorder import record
from proxy_app import __version__

ROOT = Path(__file__).parents[2]
PROXY = ROOT / "proxy_app"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, text in {
        ".dockerignore": "*\n!*.py\n!auth/*.py\n",
        "Dockerfile": "FROM scratch\n",
        "app.py": "app",
        "auth/tokens.py": "tokens",
        "notes.txt": "notes",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_proxy_build_context_is_its_tracked_files_without_dockerfile_and_dockerignore() -> None:
    found = files(PROXY)
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."],
        cwd=PROXY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    # git lists deleted files until the deletion is committed.
    existing = {path for path in tracked if (PROXY / path).exists()}
    assert set(found) == existing - {"Dockerfile", ".dockerignore"}
    assert {"proxy.py", "handlers/home_page.html", "requirements.txt", "auth/tokens.py", "http_client/pool.py"} <= set(
        found
    )


def test_mlflow_build_context_is_the_modules_of_proxy_app_and_mlflow_app() -> None:
    proxy = {f"proxy_app/{path}" for path in files(PROXY)} - {"proxy_app/requirements.txt"}
    own = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mlflow_app").rglob("*.py")}
    assert set(files(ROOT)) == proxy | own | {"mlflow_app/requirements.txt"}


def test_both_dockerignore_files_list_the_same_proxy_folders() -> None:
    def listed_folders(file: Path, pattern: str) -> list[str]:
        return re.findall(pattern, file.read_text(encoding="utf-8"), re.MULTILINE)

    assert listed_folders(PROXY / ".dockerignore", r"^!(\w+)/\*\.py$") == listed_folders(
        ROOT / ".dockerignore", r"^!proxy_app/(\w+)/\*\.py$"
    )


def test_every_package_has_the_same_version() -> None:
    for file in (ROOT / "pyproject.toml", ROOT / "mlflow_iap" / "pyproject.toml"):
        assert tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"] == __version__


def test_excluded_folders_are_not_scanned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (".git/objects/00", "node_modules/deep/er", "auth/old", "local/auth"):
        (folder / path).mkdir(parents=True)
    scanned: list[str] = []
    scan = os.scandir

    def scandir(path: str) -> Any:
        scanned.append(Path(path).relative_to(folder).as_posix())
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    files(folder)
    assert scanned == [".", "auth"]


_NAMES = st.sampled_from(["a", "b", "ab", "a.b"])
_PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "?", "a*", "**", "*.b", "[ab]", "**b"]), min_size=1, max_size=3)
_RULES = st.tuples(st.sampled_from(["", "!", "!"]), _PATTERNS.map("/".join)).map("".join)


@given(
    paths=st.sets(st.lists(_NAMES, min_size=1, max_size=4).map("/".join), min_size=1, max_size=8),
    rules=st.lists(_RULES, max_size=3).map(lambda rules: ["*", *rules]),
)
@example(paths={"a/b/a/b"}, rules=["*", "!**/b"])
@example(paths={"a/b/a/b"}, rules=["*", "!a/**b/b"])
def test_skipping_excluded_folders_does_not_change_the_result(
    paths: set[str], rules: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    for path in paths:
        with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).touch()
    (folder / ".dockerignore").write_text("\n".join(rules))
    found = files(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_context, "_may_contain", _return_true)
        assert found == files(folder)


def _return_true(*_: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("rules", "included"),
    [
        ("", {".dockerignore", "Dockerfile", "app.py", "auth/tokens.py", "notes.txt"}),
        ("*", set[str]()),
        ("*\n!*.py", {"app.py"}),
        ("*\n!**/*.py", {"app.py", "auth/tokens.py"}),
        ("*\n!auth", {"auth/tokens.py"}),
        ("*\n!auth/\n**/*.py", set[str]()),
        ("# auth\n\n/auth\n./notes.txt\n.*\nDockerfile", {"app.py"}),
        ("auth\nDocker?ile\n.docker*\nnotes.[tp]xt", {"app.py"}),
        ("*\n!auth/**\n!./app.py", {"app.py", "auth/tokens.py"}),
        ("*\n!app.py\n*.py", set[str]()),
    ],
)
def test_last_matching_rule_applies(folder: Path, rules: str, included: set[str]) -> None:
    (folder / ".dockerignore").write_text(rules)
    assert set(files(folder)) == included


def test_hash_does_not_depend_on_location_or_modification_times(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "copy"
    shutil.copytree(folder, other)
    for path in other.rglob("*"):
        path.touch()
    assert content_hash(folder, "linux/arm64") == content_hash(other, "linux/arm64")


@pytest.mark.parametrize("path", ["app.py", "auth/tokens.py", "Dockerfile"])
def test_changed_file_changes_the_hash(folder: Path, path: str) -> None:
    before = content_hash(folder)
    (folder / path).write_text("changed")
    assert content_hash(folder) != before


def test_hash_includes_the_selected_dockerfile_only(folder: Path) -> None:
    (folder / "notes").mkdir()
    (folder / "notes/Dockerfile").write_text("FROM scratch\n")
    before = content_hash(folder, dockerfile="notes/Dockerfile")
    assert before != content_hash(folder)
    (folder / "Dockerfile").write_text("FROM other\n")
    assert content_hash(folder, dockerfile="notes/Dockerfile") == before
    (folder / "notes/Dockerfile").write_text("FROM other\n")
    assert content_hash(folder, dockerfile="notes/Dockerfile") != before


def test_renamed_file_changes_the_hash(folder: Path) -> None:
    before = content_hash(folder)
    (folder / "app.py").rename(folder / "main.py")
    assert content_hash(folder) != before


def test_added_file_and_removed_file_change_the_hash(folder: Path) -> None:
    before = content_hash(folder)
    (folder / "new.py").touch()
    with_new = content_hash(folder)
    (folder / "new.py").unlink()
    (folder / "app.py").unlink()
    assert len({before, with_new, content_hash(folder)}) == 3


def test_file_mode_changes_the_hash(folder: Path) -> None:
    before = content_hash(folder)
    (folder / "app.py").chmod((folder / "app.py").stat().st_mode ^ stat.S_IXUSR)
    assert content_hash(folder) != before


def test_contents_swapped_between_files_change_the_hash(folder: Path) -> None:
    before = content_hash(folder)
    (folder / "app.py").write_text("tokens")
    (folder / "auth/tokens.py").write_text("app")
    assert content_hash(folder) != before


def test_ignored_files_do_not_change_the_hash(folder: Path) -> None:
    before = content_hash(folder)
    (folder / "notes.txt").write_text("other notes")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/app.cpython-311.pyc").touch()
    assert content_hash(folder) == before


def test_build_arguments_and_their_order_change_the_hash(folder: Path) -> None:
    argument_lists = [(), ("a",), ("b",), ("a", "b"), ("b", "a"), ("ab",), ("a\0001\0b",)]
    assert len({content_hash(folder, *arguments) for arguments in argument_lists}) == len(argument_lists)


def test_location_is_relative_inside_the_project() -> None:
    found: list[str] = []
    record(lambda: found.append(location(PROXY)))
    assert found == ["proxy_app"]


def test_location_of_the_project_root_is_a_dot() -> None:
    found: list[str] = []
    record(lambda: found.append(location(ROOT)))
    assert found == ["."]


def test_location_is_absolute_in_another_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    monkeypatch.chdir(tmp_path)
    record(lambda: found.append(location(PROXY)))
    assert found == [str(PROXY)]


def test_location_is_absolute_without_a_root_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    # With Pulumi's automation API, docker-build starts in another working directory.
    monkeypatch.setattr(pulumi, "get_root_directory", lambda: None)
    assert location(PROXY) == str(PROXY)
