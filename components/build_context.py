"""A container's build context: the files that .dockerignore lets in, a hash of them, and how a provider finds it."""

import hashlib
import os
import posixpath
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pulumi


def content_hash(folder: Path, *further: str) -> str:
    """What an image is built from, as 64 hex digits: Dockerfile, names, modes and contents, and ``further`` arguments.

    It changes at least whenever docker-build's own does, which takes modes in, too: each build has a tag of its own.
    """
    whole = hashlib.sha256()
    for path in ["Dockerfile", *files(folder)]:
        mode = stat.filemode((folder / path).lstat().st_mode)
        content = hashlib.sha256((folder / path).read_bytes()).hexdigest()
        whole.update(f"{path}\0{mode}\0{content}\n".encode())
    for argument in further:
        whole.update(f"\0{len(argument)}\0{argument}".encode())
    return whole.hexdigest()


def files(folder: Path) -> list[str]:
    """The files that a build gets, in order, with slashes."""
    rules = list(_rules((folder / ".dockerignore").read_text(encoding="utf-8")))
    found: list[str] = []
    for inside, _, names in os.walk(folder):
        found.extend((Path(inside) / name).relative_to(folder).as_posix() for name in names)
    return sorted(path for path in found if not _ignored(path, rules))


def location(folder: Path) -> str:
    """The folder as docker-build takes it: in the project itself a relative path, the same on every machine.

    docker-build builds again when this changes. It starts in the project's folder, where the program runs, too, unless
    it is started by another program.
    """
    here = Path.cwd()
    project = pulumi.get_root_directory()
    if project and Path(project).resolve() == here and folder.is_relative_to(here):
        return folder.relative_to(here).as_posix()
    return str(folder)


def _rules(text: str) -> Iterator[tuple[bool, re.Pattern[str]]]:
    """(ignores, pattern) of each line; https://docs.docker.com/build/concepts/context/#dockerignore-files."""
    for line in text.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        ignores = not pattern.startswith("!")
        yield ignores, _pattern(posixpath.normpath(pattern.removeprefix("!").strip()).strip("/"))


def _pattern(text: str) -> re.Pattern[str]:
    parts = re.findall(r"\*\*/?|\*|\?|\[[^]]*\]|\\.|.", text)
    return re.compile("".join(_part(part) for part in parts))


def _part(part: str) -> str:
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if part in known:
        return known[part]
    return part if part.startswith(("[", "\\")) else re.escape(part)


def _ignored(path: str, rules: list[tuple[bool, re.Pattern[str]]]) -> bool:
    """The last rule that fits a file, or a folder that it is in, decides."""
    places = [path, *(parent.as_posix() for parent in PurePosixPath(path).parents if parent.name)]
    ignored = False
    for ignores, pattern in rules:
        if ignores != ignored and any(pattern.fullmatch(place) for place in places):
            ignored = ignores
    return ignored
