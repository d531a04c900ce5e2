"""Which headers pass: a caller's to the upstream, the upstream's to the caller."""

import re
from collections.abc import Sequence
from functools import lru_cache

from aiohttp import web

# RFC 9110 7.6.1, and what frames a message on one connection only.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# What would lend a caller the proxy's voice, tell the upstream things that only the proxy may say, or be about the
# caller's connection to the proxy. MLflow answers 403 to writes with a foreign Origin, so that is checked here.
_NOT_UP = _HOP_BY_HOP | {
    "authorization",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "origin",
    "referer",
    "x-mlflow-guardrail-bypass",  # of MLflow's own servers among themselves
    "x-mlflow-sm-tracking-server-arn",
    "x-real-ip",
    "x-request-id",
    "x-sm-mlflow-app-arn",
}
_USUAL_LENGTH = 64
_NOT_UP_PREFIXES = ("proxy-", "sec-", "x-amz-", "x-amzn-", "x-forwarded-", "x-goog-")
# API clients keep cookies; the rest speaks of the upstream's host, not of the proxy's.
_NOT_DOWN = _HOP_BY_HOP | {
    "alt-svc",
    "date",
    "proxy-authenticate",
    "server",
    "set-cookie",
    "strict-transport-security",
    "www-authenticate",
    "x-request-id",
}


def _goes_up(name: bytes) -> bool:
    # Remembered only if it is short: callers choose the names, and long ones would be kept for good.
    return _judged(name) if len(name) <= _USUAL_LENGTH else _judged.__wrapped__(name)


@lru_cache(maxsize=1024)
def _judged(name: bytes) -> bool:
    lower = name.decode("latin-1").lower()
    # Servers behind CGI-like interfaces read x_amz_date as x-amz-date.
    return lower not in _NOT_UP and not lower.startswith(_NOT_UP_PREFIXES) and "_" not in lower


@lru_cache(maxsize=1024)
def _downward(name: bytes) -> str:
    """What becomes of such a header of the upstream's: "keep", "drop", or its name if its value decides."""
    lower = name.decode("latin-1").lower()
    if lower in {"connection", "location"}:
        return lower
    return "drop" if lower in _NOT_DOWN else "keep"


def to_upstream(request: web.BaseRequest) -> list[tuple[bytes, bytes]]:
    """The caller's headers that the upstream may see, as sent."""
    kept = [header for header in request.raw_headers if _goes_up(header[0])]
    for value in request.headers.getall("Connection", ()):
        if value.lower() not in _USUAL:
            named = _named(value)
            kept = [header for header in kept if header[0].decode("latin-1").lower() not in named]
    return kept


def to_caller(headers: Sequence[tuple[bytes, bytes]], upstream_origin: str) -> list[tuple[bytes, bytes]]:
    """The upstream's headers that the caller may see, as sent; a redirect within it stays within the proxy."""
    kept: list[tuple[bytes, bytes]] = []
    named: set[str] = set()
    for name, value in headers:
        match _downward(name):
            case "connection":
                if value.lower() not in _USUAL_BYTES:
                    named |= _named(value.decode("latin-1"))
            case "location":
                kept.append((name, _within(value, upstream_origin)))
            case "keep":
                kept.append((name, value))
            case _:
                pass
    if named:
        kept = [header for header in kept if header[0].decode("latin-1").lower() not in named]
    return kept


_USUAL = frozenset({"close", "keep-alive"})
_USUAL_BYTES = frozenset(value.encode() for value in _USUAL)
# To browsers // names a host, and so does what they read as that.
_PATH = re.compile(rb"/(?![/\\\t])")


def _within(location: bytes, origin: str) -> bytes:
    path = location.removeprefix(origin.encode())
    return path if path != location and _PATH.match(path) else location


def _named(connection: str) -> set[str]:
    """What a Connection header names: headers for this hop only."""
    return {name.strip().lower() for name in connection.split(",")}
