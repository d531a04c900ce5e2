"""A container's build context: the files that .dockerignore does not exclude, a hash of them, and its location.

.dockerignore is evaluated here since pulumi-docker-build exposes no hash of the context before a build.
"""

import hashlib
import os
import posixpath
import re
import stat
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pulumi


class _Rule(NamedTuple):
    """A pattern of .dockerignore."""

    ignores: bool
    pattern: re.Pattern[str]
    parts: list[str]

    def may_match_below(self, path: str) -> bool:
        """Whether the pattern may match a file in a folder; may be wrong only if True."""
        for own, segment in zip_longest(self.parts, path.split("/")):
            if segment is None or (own is not None and ("**" in own or "[" in own)):
                return True
            if own is None or not _pattern(own).fullmatch(segment):
                return False
        return False


def content_hash(folder: Path, *further: str, dockerfile: str = "Dockerfile") -> str:
    """SHA-256 in hex of the Dockerfile, the files' names, modes and contents, and ``further`` arguments.

    ``dockerfile`` is its path relative to ``folder``. The hash changes at least whenever docker-build's own hash does,
    which includes modes, so that each build has its own tag.
    """
    digest = hashlib.sha256()
    for path in [dockerfile, *files(folder)]:
        mode = stat.filemode((folder / path).lstat().st_mode)
        content = hashlib.sha256((folder / path).read_bytes()).hexdigest()
        digest.update(f"{path}\0{mode}\0{content}\n".encode())
    for argument in further:
        digest.update(f"\0{len(argument)}\0{argument}".encode())
    return digest.hexdigest()


def files(folder: Path) -> list[str]:
    """The files of the build context, sorted, with slashes."""
    rules = list(_rules((folder / ".dockerignore").read_text(encoding="utf-8")))
    found: list[str] = []
    for inside, folders, names in os.walk(folder):
        here = PurePosixPath(Path(inside).relative_to(folder).as_posix())
        found.extend(str(here / name) for name in names)
        # Skip excluded folders, which may be large: packages, caches, .git.
        folders[:] = [name for name in folders if _may_contain(str(here / name), rules)]
    return sorted(path for path in found if not _ignored(path, rules))


def location(folder: Path) -> str:
    """The location for docker-build: relative within the project, so that it is the same on every machine.

    A changed location causes a build. docker-build runs in the project's folder.
    """
    here = Path.cwd()
    project = pulumi.get_root_directory()
    if project and Path(project).resolve() == here and folder.is_relative_to(here):
        return folder.relative_to(here).as_posix()
    return str(folder)


def _rules(text: str) -> Iterator[_Rule]:
    """One rule per line; https://docs.docker.com/build/concepts/context/#dockerignore-files."""
    for line in text.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        path = posixpath.normpath(pattern.removeprefix("!").strip()).strip("/")
        yield _Rule(ignores=not pattern.startswith("!"), pattern=_pattern(path), parts=path.split("/"))


def _pattern(text: str) -> re.Pattern[str]:
    parts = re.findall(r"\*\*/?|\*|\?|\[[^]]*\]|\\.|.", text)
    return re.compile("".join(_part(part) for part in parts))


def _part(part: str) -> str:
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if part in known:
        return known[part]
    return part if part.startswith(("[", "\\")) else re.escape(part)


def _ignored(path: str, rules: list[_Rule]) -> bool:
    """Whether the last rule that matches the file or one of its folders excludes it."""
    places = [path, *(parent.as_posix() for parent in PurePosixPath(path).parents if parent.name)]
    ignored = False
    for rule in rules:
        if rule.ignores != ignored and any(rule.pattern.fullmatch(place) for place in places):
            ignored = rule.ignores
    return ignored


def _may_contain(path: str, rules: list[_Rule]) -> bool:
    """Whether a folder may contain a file that is not excluded."""
    return not _ignored(path, rules) or any(not rule.ignores and rule.may_match_below(path) for rule in rules)
