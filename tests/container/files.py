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
    """A file, folder or link without its times. ``content`` is a digest, or a link's target.

    ``machine`` is the CPU architecture of a binary, in the numbers of ELF; None for other files.
    """

    kind: str
    mode: int
    owner: tuple[int, int]
    content: str
    machine: int | None


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
    content, machine = member.linkname, None
    if member.isreg():
        # Hard links are compared by their target, linkname.
        file = cast("IO[bytes]", tar.extractfile(member))
        start = file.read(20)
        digest = hashlib.sha256(start)
        while part := file.read(1 << 20):
            digest.update(part)
        content = digest.hexdigest()
        if start.startswith(b"\x7fELF"):
            machine = int.from_bytes(start[18:20], "little")
    return Entry(member.type.decode(), member.mode, (member.uid, member.gid), content, machine)
