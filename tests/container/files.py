"""The files of an image."""

import hashlib
import subprocess
import tarfile
from dataclasses import dataclass
from typing import IO, cast

from tests.container.engine import Engine

# The engine adds these to every container.
_ENGINE_FILES = ("dev", "proc", "sys", ".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or link without its times. ``content`` is a digest, or a link's target."""

    kind: str
    mode: int
    owner: tuple[int, int]
    content: str


def files_of(engine: Engine, image: str) -> dict[str, Entry]:
    """The image's files by path, without a leading slash."""
    with engine.unstarted(image) as name:
        export = subprocess.Popen([engine.cli, "export", name], stdout=subprocess.PIPE)
        with export, tarfile.open(fileobj=cast("IO[bytes]", export.stdout), mode="r|") as tar:
            found = {
                member.name.rstrip("/").removeprefix("./"): _entry(tar, member)
                for member in tar
                if not member.name.startswith(_ENGINE_FILES)
            }
    assert export.returncode == 0
    return found


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    content = member.linkname
    if member.isreg():
        # Hard links are compared by their target, linkname.
        file = cast("IO[bytes]", tar.extractfile(member))
        content = hashlib.file_digest(file, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]
    return Entry(member.type.decode(), member.mode, (member.uid, member.gid), content)
