"""What settings may say: each function takes a variable's text, and raises ValueError with what it takes instead."""

import math
import re
from pathlib import Path
from typing import NamedTuple

MIB = 1024 * 1024
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        return self.host in LOOPBACK

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not (colon and port.isdecimal() and int(port) < 65536):
        raise ValueError("host:port, such as 127.0.0.1:8080")
    return Address(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - what `:8080` means everywhere


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError("a number of seconds, such as 2.5")
    return value


def some_seconds(text: str) -> float:
    if (value := seconds(text)) == 0:
        raise ValueError("a number of seconds above 0, such as 2.5")
    return value


def count(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise ValueError("a whole number above 0")
    return int(text)


def mib(text: str) -> int:
    return count(text) * MIB


def switch(text: str) -> bool:
    if text not in {"on", "off"}:
        raise ValueError("on or off")
    return text == "on"


def path(text: str) -> Path | None:
    return Path(text) if text else None


_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?/?", re.ASCII | re.IGNORECASE)
_USUAL_PORTS = {"http": 80, "https": 443}


def origin(text: str) -> str:
    """scheme://host[:port] in the one form that browsers and servers write; empty stays empty."""
    if not text:
        return ""
    found = _ORIGIN.fullmatch(text)
    if found is None or (found[3] is not None and not 0 < int(found[3]) < 65536):
        raise ValueError("scheme://host[:port] and nothing more, such as https://mlflow.example.com")
    scheme, host = found[1].lower(), found[2].lower()
    port = int(found[3] or _USUAL_PORTS[scheme])
    return f"{scheme}://{host}" if port == _USUAL_PORTS[scheme] else f"{scheme}://{host}:{port}"


_HOST_NAME = re.compile(r"(\*[.-][a-z0-9_-]+\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.ASCII)


def host_names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(",")) if text else ()
    if not all(_HOST_NAME.fullmatch(name) for name in names):
        raise ValueError("host names without ports, with commas between, such as mlflow.example.com, *.example.com")
    return names


# A project ID may begin with an organization's domain.
_IAP_AUDIENCE = re.compile(r"/projects/[1-9]\d*/apps/([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]", re.ASCII)


def iap_audience(text: str) -> str:
    if text and not _IAP_AUDIENCE.fullmatch(text):
        raise ValueError("/projects/NUMBER/apps/PROJECT_ID, such as /projects/123456789012/apps/my-project")
    return text


_KEYS_URL = re.compile(r"https://[a-z0-9.-]+(?::(\d{1,5}))?(/[a-z0-9._~-]+)*/?", re.ASCII | re.IGNORECASE)


def keys_url(text: str) -> str:
    found = _KEYS_URL.fullmatch(text)
    if text and not (found and int(found[1] or 443) < 65536):
        raise ValueError("an https:// URL without a query, such as https://keys.example.com/public")
    return text.rstrip("/")
