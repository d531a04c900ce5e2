"""Parsers of the settings' values: each takes a variable's text, and raises ValueError with the expected form."""

import math
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

MIB = 1024 * 1024
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Address(NamedTuple):
    """A host (name or IP address without brackets) and a port to listen on; as text, host:port or [host]:port."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only clients on the same machine can connect."""
        return self.host in LOOPBACK

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(text: str) -> Address:
    """The address in ``host:port``, ``[host]:port`` or ``:port``, which is every IPv4 address."""
    host, colon, port = text.rpartition(":")
    if not (colon and port.isdecimal() and int(port) < 65536):
        raise ValueError("host:port, such as 127.0.0.1:8080")
    return Address(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - the usual meaning of `:8080`


def seconds(text: str) -> float:
    """A number of seconds, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError("a number of seconds, such as 2.5")
    return value


def positive_seconds(text: str) -> float:
    """A number of seconds above 0."""
    if (value := seconds(text)) == 0:
        raise ValueError("a number of seconds above 0, such as 2.5")
    return value


def count(text: str) -> int:
    """A whole number above 0."""
    if not (text.isdecimal() and int(text) > 0):
        raise ValueError("a whole number above 0")
    return int(text)


def mib(text: str) -> int:
    """A whole number of MiB above 0, in bytes."""
    return count(text) * MIB


def on_off(text: str) -> bool:
    """``on`` as True, ``off`` as False."""
    if text not in {"on", "off"}:
        raise ValueError("on or off")
    return text == "on"


def true_false(text: str) -> bool:
    """``true`` or ``false``."""
    if text not in {"true", "false"}:
        raise ValueError("true or false")
    return text == "true"


def path(text: str) -> Path | None:
    """A path; None for an empty text."""
    return Path(text) if text else None


_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?/?", re.ASCII | re.IGNORECASE)
_USUAL_PORTS = {"http": 80, "https": 443}


def origin(text: str) -> str:
    """scheme://host[:port] in the normal form of browsers and servers; empty stays empty."""
    if not text:
        return ""
    found = _ORIGIN.fullmatch(text)
    if found is None or (found[3] is not None and not 0 < int(found[3]) < 65536):
        raise ValueError("scheme://host[:port] without a path, such as https://mlflow.example.com")
    scheme, host = found[1].lower(), found[2].lower()
    port = int(found[3] or _USUAL_PORTS[scheme])
    return f"{scheme}://{host}" if port == _USUAL_PORTS[scheme] else f"{scheme}://{host}:{port}"


def loopback_origin(text: str) -> str:
    """An http:// origin on this host's loopback interface, in normal form; empty stays empty."""
    value = origin(text)
    if value and not (value.startswith("http://") and (urlsplit(value).hostname or "") in LOOPBACK):
        raise ValueError("an http:// origin on the loopback interface, such as http://127.0.0.1:5001")
    return value


_PATH_PREFIX = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+/?", re.ASCII)


def path_prefix(text: str) -> str:
    """A path without a slash at its end; empty stays empty, as does ``/``."""
    if text.strip("/") and not _PATH_PREFIX.fullmatch(text):
        raise ValueError("a path of letters, digits, - and _, such as /mlflow")
    return text.rstrip("/")


_HOST_NAME = re.compile(r"(\*[.-][a-z0-9_-]+\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.ASCII)


def host_names(text: str) -> tuple[str, ...]:
    """Host names separated by commas, in lower case; a name may begin with ``*.`` or ``*-``."""
    names = tuple(name.strip().lower() for name in text.split(",")) if text else ()
    if not all(_HOST_NAME.fullmatch(name) for name in names):
        raise ValueError("host names without ports, separated by commas, such as mlflow.example.com, *.example.com")
    return names


_KEYS_URL = re.compile(r"https://[a-z0-9.-]+(?::(\d{1,5}))?(/[a-z0-9._~-]+)*/?", re.ASCII | re.IGNORECASE)


def keys_url(text: str) -> str:
    """An https:// URL without a slash at its end; empty stays empty."""
    found = _KEYS_URL.fullmatch(text)
    if text and not (found and int(found[1] or 443) < 65536):
        raise ValueError("an https:// URL without a query, such as https://keys.example.com/public")
    return text.rstrip("/")
