"""`make release`: what it checks before it tags, and that it pushes nothing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.3] - 2026-12-01

### Added

- Something new.

## [1.2.2] - 2026-11-01

- Something old.
"""


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=True
    )
    return done.stdout


def environment() -> dict[str, str]:
    """No configuration of git but this: signing or a template of the user's would change what a test sees."""
    identity = {
        f"GIT_{role}_{field}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")
    }
    return {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, **identity}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "release", folder / ".ci" / "release")
    (folder / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1.2.3"\n')
    (folder / "client").mkdir()
    (folder / "client" / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    (folder / "CHANGELOG.md").write_text(CHANGELOG)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "x")


def release(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / ".ci" / "release"], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_release_tags_the_commit_with_the_changelog_entry(repository: Path) -> None:
    done = release(repository)
    assert done.returncode == 0, done.stderr
    assert git(repository, "rev-parse", "v1.2.3^{commit}") == git(repository, "rev-parse", "HEAD")
    message = git(repository, "tag", "--list", "--format", "%(contents)", "v1.2.3")
    assert "### Added" in message
    assert "Something new" in message
    assert "Something old" not in message


def test_release_prints_the_push_commands_and_pushes_nothing(repository: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    git(tmp_path, "init", "--quiet", "--bare", str(remote))
    git(repository, "remote", "add", "origin", str(remote))
    done = release(repository)
    assert "git push origin main\n" in done.stdout
    assert "git push origin v1.2.3\n" in done.stdout
    assert git(remote, "for-each-ref") == ""


def test_release_refuses_uncommitted_changes(repository: Path) -> None:
    (repository / "new.txt").write_text("x")
    done = release(repository)
    assert done.returncode == 1
    assert "uncommitted changes" in done.stderr


def test_release_refuses_different_versions(repository: Path) -> None:
    (repository / "client" / "__init__.py").write_text('__version__ = "1.2.2"\n')
    commit(repository)
    done = release(repository)
    assert done.returncode == 1
    assert 'client/__init__.py:__version__ = "1.2.2"' in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("## [1.2.3] - 2026-12-01", "## [1.2.3]", "expected a heading"),
        ("### Added\n\n- Something new.\n", "", "is empty"),
    ],
)
def test_release_refuses_a_missing_changelog_entry(repository: Path, old: str, new: str, message: str) -> None:
    edit(repository / "CHANGELOG.md", old, new)
    commit(repository)
    done = release(repository)
    assert done.returncode == 1
    assert message in done.stderr


def test_release_refuses_an_existing_tag(repository: Path) -> None:
    assert release(repository).returncode == 0
    done = release(repository)
    assert done.returncode == 1
    assert "v1.2.3 exists" in done.stderr


def test_changelog_of_this_repository_begins_with_unreleased() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings[0] == "## [Unreleased]"
    assert headings[1].startswith("## [0.1.0] - ")
