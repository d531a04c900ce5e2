"""Builds a base image with debootstrap, Debian with Python, for machines without access to an image registry.

It replaces python:slim. It contains pip's configuration of this machine (index, CA certificates), so that the
Dockerfiles need none; the image is for tests on this machine only.
"""

import configparser
import hashlib
import os
import platform
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

from tests.container.engine import Engine
from tests.doubles import debian

PACKAGES = "python3,python3-venv,ca-certificates"
CACHE = Path(__file__).parents[2] / ".local" / "container"
NAME = "proxy-test-base"
_CA = "etc/ssl/certs/ca-certificates.crt"
_EXCLUDED = (
    *("dev/*", "proc/*", "sys/*", "debootstrap"),
    *("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"),
)
_PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")


class BaseImageError(Exception):
    """The base image cannot be built; the message says what is missing."""


def build_base(engine: Engine) -> str:
    """The name of the base image, which is built if necessary. Raises BaseImageError."""
    if name := os.environ.get("TEST_BASE_IMAGE"):
        return name
    tar = _debian()
    engine.run("import", str(tar), f"{NAME}:debian", timeout=120)
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        shutil.copy(_ca_file(), context / "ca.crt")
        (context / "pip.conf").write_text(_pip_settings(), encoding="utf-8")
        (context / "Dockerfile").write_text(
            f"FROM {NAME}:debian\nCOPY ca.crt /{_CA}\nCOPY pip.conf /etc/pip.conf\n", encoding="utf-8"
        )
        return engine.build(f"{NAME}:latest", context, {})


def unpack_base(engine: Engine, architecture: str) -> str:
    """The name of the same base image for another CPU architecture ("arm64"), on which nothing can run.

    Raises BaseImageError.
    """
    tar = _debian(architecture)
    # `docker import --platform` of Docker 20 sets no architecture.
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        context = Path(folder)
        (context / tar.name).hardlink_to(tar)
        (context / "Dockerfile").write_text(f"FROM scratch\nADD {tar.name} /\n", encoding="utf-8")
        return engine.build(f"{NAME}:{architecture}", context, {}, platform=f"linux/{architecture}")


def _debian(architecture: str | None = None) -> Path:
    """A tar of the root file system; the first call takes a minute or two.

    For an ``architecture``, the packages are unpacked and not configured, which would run their scripts.
    """
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise BaseImageError(
            "a base image with Python: name one in TEST_BASE_IMAGE, or as root: apt-get install debootstrap"
        )
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    try:
        mirror = debian.mirror(release)
    except debian.UnavailableError as error:
        raise BaseImageError(f"a base image with Python: name one in TEST_BASE_IMAGE, or {error}") from error
    key = hashlib.sha256(f"{release} {mirror} {PACKAGES} {_EXCLUDED}".encode()).hexdigest()[:12]
    tar = CACHE / f"{release}-{architecture or 'native'}-{key}.tar"
    if tar.exists():
        return tar
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root, partial = Path(folder, "root"), Path(folder, "tar")
        foreign = ("--foreign", f"--arch={architecture}") if architecture else ()
        _command("debootstrap", *foreign, "--variant=minbase", f"--include={PACKAGES}", release, str(root), mirror)
        if architecture:
            for package in root.glob("var/cache/apt/archives/*.deb"):
                _command("dpkg-deb", "--extract", str(package), str(root))
        excluded = [f"--exclude=./{path}" for path in _EXCLUDED]
        _command("tar", "--directory", str(root), *excluded, "--create", "--file", str(partial), ".")
        partial.rename(tar)
    return tar


def _ca_file() -> str:
    """The CA certificates that this machine's pip trusts, a PEM file."""
    named = [os.environ.get(name, "") for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")]
    usual = ssl.get_default_verify_paths()
    candidates = [*named, _pip_files().get("cert", ""), usual.cafile or "", f"/{_CA}"]
    return next(path for path in candidates if path and Path(path).is_file())


def _pip_settings() -> str:
    """This machine's pip.conf, reduced to the settings that apply in a container."""
    found = _pip_files()
    for name in _PIP_SETTINGS:
        if value := os.environ.get("PIP_" + name.upper().replace("-", "_")):
            found[name] = value
    lines = [f"{name} = {' '.join(found[name].split())}" for name in _PIP_SETTINGS if name in found]
    return "\n".join(["[global]", f"cert = /{_CA}", *lines, ""])


def _pip_files() -> dict[str, str]:
    """The global settings of pip's configuration files; later files override earlier ones."""
    parser = configparser.RawConfigParser()
    home = Path.home()
    own = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf")
    parser.read(["/etc/pip.conf", home / ".pip" / "pip.conf", own, os.environ.get("PIP_CONFIG_FILE", os.devnull)])
    return dict(parser["global"]) if parser.has_section("global") else {}


def _command(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        # debootstrap writes its errors to standard output.
        raise RuntimeError(f"{' '.join(arguments)}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
