"""What an image is built from: the files that .dockerignore lets in, and a hash that tells two builds apart."""

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


def test_the_proxy_build_gets_its_modules_and_nothing_else() -> None:
    found = files(PROXY)
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."],
        cwd=PROXY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    # Deleted files are still listed until somebody commits.
    there = {path for path in tracked if (PROXY / path).exists()}
    assert set(found) == there - {"Dockerfile", ".dockerignore"}
    assert {"proxy.py", "handlers/home_page.html", "requirements.txt", "auth/tokens.py", "http_client/pool.py"} <= set(
        found
    )


def test_mlflows_build_gets_both_folders_modules_and_nothing_else() -> None:
    proxy = {f"proxy_app/{path}" for path in files(PROXY)} - {"proxy_app/requirements.txt"}
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mlflow_app").rglob("*.py")}
    assert set(files(ROOT)) == proxy | ours | {"mlflow_app/requirements.txt"}


def test_dockerignore_lists_the_same_proxy_folders_for_both_builds() -> None:
    def folders(file: Path, pattern: str) -> list[str]:
        return re.findall(pattern, file.read_text(encoding="utf-8"), re.MULTILINE)

    assert folders(PROXY / ".dockerignore", r"^!(\w+)/\*\.py$") == folders(
        ROOT / ".dockerignore", r"^!proxy_app/(\w+)/\*\.py$"
    )


def test_every_package_has_the_same_version() -> None:
    for file in (ROOT / "pyproject.toml", ROOT / "mlflow_iap" / "pyproject.toml"):
        assert tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"] == __version__


def test_nothing_is_looked_for_where_nothing_is_let_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (".git/objects/00", "node_modules/deep/er", "auth/old", "local/auth"):
        (folder / path).mkdir(parents=True)
    seen: list[str] = []
    scan = os.scandir

    def scandir(path: str) -> Any:
        seen.append(Path(path).relative_to(folder).as_posix())
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    files(folder)
    assert seen == [".", "auth"]


_NAMES = st.sampled_from(["a", "b", "ab", "a.b"])
_PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "?", "a*", "**", "*.b", "[ab]", "**b"]), min_size=1, max_size=3)
_RULES = st.tuples(st.sampled_from(["", "!", "!"]), _PATTERNS.map("/".join)).map("".join)


@given(
    paths=st.sets(st.lists(_NAMES, min_size=1, max_size=4).map("/".join), min_size=1, max_size=8),
    rules=st.lists(_RULES, max_size=3).map(lambda further: ["*", *further]),
)
@example(paths={"a/b/a/b"}, rules=["*", "!**/b"])
@example(paths={"a/b/a/b"}, rules=["*", "!a/**b/b"])
def test_what_is_not_looked_at_would_have_been_left_out(
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
        patch.setattr(build_context, "_may_contain", _always)
        assert found == files(folder)


def _always(*_: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("rules", "kept"),
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
def test_the_last_rule_that_fits_decides(folder: Path, rules: str, kept: set[str]) -> None:
    (folder / ".dockerignore").write_text(rules)
    assert set(files(folder)) == kept


def test_the_same_tree_has_the_same_hash_anywhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(folder, other)
    for path in other.rglob("*"):
        path.touch()
    assert content_hash(folder, "linux/arm64") == content_hash(other, "linux/arm64")


@pytest.mark.parametrize("path", ["app.py", "auth/tokens.py", "Dockerfile"])
def test_a_changed_file_changes_it(folder: Path, path: str) -> None:
    before = content_hash(folder)
    (folder / path).write_text("changed")
    assert content_hash(folder) != before


def test_a_dockerfile_elsewhere_in_the_folder_counts(folder: Path) -> None:
    (folder / "notes").mkdir()
    (folder / "notes/Dockerfile").write_text("FROM scratch\n")
    before = content_hash(folder, dockerfile="notes/Dockerfile")
    assert before != content_hash(folder)
    (folder / "Dockerfile").write_text("FROM other\n")
    assert content_hash(folder, dockerfile="notes/Dockerfile") == before
    (folder / "notes/Dockerfile").write_text("FROM other\n")
    assert content_hash(folder, dockerfile="notes/Dockerfile") != before


def test_a_renamed_file_changes_it(folder: Path) -> None:
    before = content_hash(folder)
    (folder / "app.py").rename(folder / "main.py")
    assert content_hash(folder) != before


def test_a_new_file_and_a_missing_one_change_it(folder: Path) -> None:
    before = content_hash(folder)
    (folder / "new.py").touch()
    with_new = content_hash(folder)
    (folder / "new.py").unlink()
    (folder / "app.py").unlink()
    assert len({before, with_new, content_hash(folder)}) == 3


def test_a_files_mode_changes_it_as_it_does_docker_builds(folder: Path) -> None:
    before = content_hash(folder)
    (folder / "app.py").chmod((folder / "app.py").stat().st_mode ^ stat.S_IXUSR)
    assert content_hash(folder) != before


def test_contents_that_move_between_files_change_it(folder: Path) -> None:
    before = content_hash(folder)
    (folder / "app.py").write_text("tokens")
    (folder / "auth/tokens.py").write_text("app")
    assert content_hash(folder) != before


def test_ignored_files_do_not_change_it(folder: Path) -> None:
    before = content_hash(folder)
    (folder / "notes.txt").write_text("other notes")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/app.cpython-311.pyc").touch()
    assert content_hash(folder) == before


def test_arguments_change_it_each_in_its_place(folder: Path) -> None:
    given = [(), ("a",), ("b",), ("a", "b"), ("b", "a"), ("ab",), ("a\0001\0b",)]
    assert len({content_hash(folder, *arguments) for arguments in given}) == len(given)


def test_in_the_project_itself_the_folder_is_found_from_there() -> None:
    found: list[str] = []
    record(lambda: found.append(location(PROXY)))
    assert found == ["proxy_app"]


def test_the_project_itself_is_found_where_it_is() -> None:
    found: list[str] = []
    record(lambda: found.append(location(ROOT)))
    assert found == ["."]


def test_another_program_finds_the_folder_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    monkeypatch.chdir(tmp_path)
    record(lambda: found.append(location(PROXY)))
    assert found == [str(PROXY)]


def test_a_program_that_no_cli_started_finds_it_by_its_whole_path(monkeypatch: pytest.MonkeyPatch) -> None:
    # docker-build then starts in a folder of its own (Pulumi's automation API).
    monkeypatch.setattr(pulumi, "get_root_directory", lambda: None)
    assert location(PROXY) == str(PROXY)
