"""A base image for where no image registry is reached: Debian with Python, made by debootstrap.

It stands in for python:slim. What pip needs on this machine (an index, its authorities) goes into it, so that the
proxy's Dockerfile has to know nothing of that; such an image is for tests on the machine that made it.
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

PACKAGES = "python3,python3-venv,ca-certificates"
CACHE = Path(__file__).parents[2] / ".local" / "container"
NAME = "proxy-test-base"
_CA = "etc/ssl/certs/ca-certificates.crt"
_LEFT_OUT = ("dev/*", "proc/*", "sys/*", "var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale")
_PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")


class CannotMakeBase(Exception):
    """The machine lacks something; the message says what."""


def make_base(engine: Engine) -> str:
    """The name of the base image, made when it is not there yet. Raises CannotMakeBase."""
    if name := os.environ.get("TEST_BASE_IMAGE"):
        return name
    tar = _debian()
    engine.run("import", str(tar), f"{NAME}:debian", timeout=120)
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        shutil.copy(_authorities(), context / "ca.crt")
        (context / "pip.conf").write_text(_pip_settings(), encoding="utf-8")
        (context / "Dockerfile").write_text(
            f"FROM {NAME}:debian\nCOPY ca.crt /{_CA}\nCOPY pip.conf /etc/pip.conf\n", encoding="utf-8"
        )
        return engine.build(f"{NAME}:latest", context, {})


def _debian() -> Path:
    """A tar of the root file system; the first time this takes a minute or two."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise CannotMakeBase(
            "a base image with Python: name one in TEST_BASE_IMAGE, or as root: apt-get install debootstrap"
        )
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    mirror = _mirror(release)
    key = hashlib.sha256(f"{release} {mirror} {PACKAGES} {_LEFT_OUT}".encode()).hexdigest()[:12]
    tar = CACHE / f"{release}-{key}.tar"
    if tar.exists():
        return tar
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root, unfinished = Path(folder, "root"), Path(folder, "tar")
        _command("debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, str(root), mirror)
        excluded = [f"--exclude=./{path}" for path in _LEFT_OUT]
        _command("tar", "--directory", str(root), *excluded, "--create", "--file", str(unfinished), ".")
        unfinished.rename(tar)
    return tar


def _mirror(release: str) -> str:
    """Where this machine's apt gets the Debian release from."""
    targets = _command("apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(ORIGIN) $(REPO_URI)")
    for line in targets.splitlines():
        codename, component, origin, uri = line.split(maxsplit=3)
        if (codename, component, origin) == (release, "main", "Debian"):
            return uri
    raise CannotMakeBase(
        "a base image with Python: name one in TEST_BASE_IMAGE, or apt-get update on a Debian 12 or newer"
    )


def _authorities() -> str:
    """The PEM file that this machine's pip trusts."""
    named = [os.environ.get(name, "") for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")]
    usual = ssl.get_default_verify_paths()
    candidates = [*named, _pip_files().get("cert", ""), usual.cafile or "", f"/{_CA}"]
    return next(path for path in candidates if path and Path(path).is_file())


def _pip_settings() -> str:
    """This machine's pip.conf, with what only holds here left out."""
    found = _pip_files()
    for name in _PIP_SETTINGS:
        if value := os.environ.get("PIP_" + name.upper().replace("-", "_")):
            found[name] = value
    lines = [f"{name} = {' '.join(found[name].split())}" for name in _PIP_SETTINGS if name in found]
    return "\n".join(["[global]", f"cert = /{_CA}", *lines, ""])


def _pip_files() -> dict[str, str]:
    """The files' global settings, as pip reads them: the later one wins."""
    parser = configparser.RawConfigParser()
    home = Path.home()
    own = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf")
    parser.read(["/etc/pip.conf", home / ".pip" / "pip.conf", own, os.environ.get("PIP_CONFIG_FILE", os.devnull)])
    return dict(parser["global"]) if parser.has_section("global") else {}


def _command(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        # debootstrap says on standard output why it failed.
        raise RuntimeError(f"{' '.join(arguments)}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
