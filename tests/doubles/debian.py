"""Packages of Debian's unstable suite, unpacked under .local/: nothing is installed, and root is not needed.

The machine's own apt downloads them, from the mirror of the machine's sources and with the machine's proxy and
credentials, but with package lists of its own.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

_CACHE = Path(__file__).parents[2] / ".local" / "debian"
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_TIMEOUT_SECONDS = 600


class UnavailableError(Exception):
    """The machine's apt does not have Debian's packages; the message says what is missing."""


def mirror(release: str) -> str:
    """The URL of the mirror from which apt installs this Debian release. Raises UnavailableError."""
    if shutil.which("apt-get") is None:
        raise UnavailableError("apt-get of Debian 12 or newer")
    targets = _command("apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(ORIGIN) $(REPO_URI)")
    for line in targets.splitlines():
        codename, component, origin, uri = line.split(maxsplit=3)
        if (codename, component, origin) == (release, "main", "Debian"):
            return uri
    raise UnavailableError("package lists of Debian 12 or newer: apt-get update")


def unpacked(package: str, *, without: tuple[str, ...] = ()) -> Path:
    """A folder with the files of the package and of all that it depends on, libc included.

    Packages whose names begin with one of `without` are left out. The first call takes some ten seconds; other
    processes wait. Raises UnavailableError.
    """
    folder = _CACHE / package
    if folder.exists():
        return folder
    url = mirror(platform.freedesktop_os_release().get("VERSION_CODENAME", ""))
    if not Path(_KEYS).exists():
        raise UnavailableError("Debian's keys: apt-get install debian-archive-keyring")
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=_CACHE) as temporary:
                _unpack(package, without, url, Path(temporary)).rename(folder)
    return folder


def _unpack(package: str, without: tuple[str, ...], url: str, folder: Path) -> Path:
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources").write_text(f"deb [signed-by={_KEYS}] {url} sid main\n", encoding="utf-8")
    options = {
        "Dir::Etc::SourceList": folder / "sources",
        "Dir::State::Lists": folder / "lists",
        # No package is installed, so that every dependency is downloaded.
        "Dir::State::Status": folder / "status",
        "Dir::Cache": folder,
        **dict.fromkeys(("Dir::Etc::SourceParts", "Dir::Etc::Preferences", "Dir::Etc::PreferencesParts"), os.devnull),
        # apt's own user cannot write here.
        "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "false",
        "Debug::NoLocking": "true",
    }
    apt = ["apt-get", "-qq", *(f"--option={name}={value}" for name, value in options.items())]
    _command(*apt, "update")
    _command(*apt, "--yes", "--download-only", "install", package)
    for archive in (folder / "archives").glob("*.deb"):
        if not archive.name.startswith(without):
            _command("dpkg-deb", "--extract", str(archive), str(folder / "root"))
    return folder / "root"


def _command(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
