"""What an image holds, file by file."""

import hashlib
import subprocess
import tarfile
from dataclasses import dataclass
from typing import IO, cast

from tests.container.engine import Engine

# The engine puts these into every container.
_ENGINES_OWN = ("dev", "proc", "sys", ".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab")


@dataclass(frozen=True, slots=True)
class Entry:
    """``content`` is a digest, or where a link points; times are left out."""

    kind: str
    mode: int
    owner: tuple[int, int]
    content: str


def files_of(engine: Engine, image: str) -> dict[str, Entry]:
    """Every path of the image, without a leading slash."""
    with engine.unstarted(image) as name:
        export = subprocess.Popen([engine.cli, "export", name], stdout=subprocess.PIPE)
        with export, tarfile.open(fileobj=cast("IO[bytes]", export.stdout), mode="r|") as tar:
            found = {
                member.name.rstrip("/").removeprefix("./"): _entry(tar, member)
                for member in tar
                if not member.name.startswith(_ENGINES_OWN)
            }
    assert export.returncode == 0
    return found


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    content = member.linkname
    if member.isreg():
        # Links to the same file (hard links) count by their name, which is in linkname.
        file = cast("IO[bytes]", tar.extractfile(member))
        content = hashlib.file_digest(file, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]
    return Entry(member.type.decode(), member.mode, (member.uid, member.gid), content)
