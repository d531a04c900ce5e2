"""Which headers pass: a caller's to the upstream, the upstream's to the caller."""

import re
from collections.abc import Sequence
from functools import lru_cache

from aiohttp import web
from multidict import CIMultiDict

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
# What would lend a caller the gate's voice, tell the upstream things that only the gate may say, or be about the
# caller's connection to the gate. MLflow answers 403 to writes with a foreign Origin, so that is checked here.
_NOT_UP = _HOP_BY_HOP | {
    "authorization",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "origin",
    "referer",
    "x-mlflow-sm-tracking-server-arn",
    "x-real-ip",
    "x-request-id",
    "x-sm-mlflow-app-arn",
}
_NOT_UP_PREFIXES = ("proxy-", "sec-", "x-amz-", "x-amzn-", "x-forwarded-", "x-goog-")
# API clients keep cookies; the rest speaks of the upstream's host, not of the gate's.
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


@lru_cache(maxsize=1024)
def _goes_up(name: bytes) -> bool:
    lower = name.decode("latin-1").lower()
    # Servers behind CGI-like interfaces read x_amz_date as x-amz-date.
    return lower not in _NOT_UP and not lower.startswith(_NOT_UP_PREFIXES) and "_" not in lower


@lru_cache(maxsize=1024)
def _name_down(name: bytes) -> str:
    """The header's name; empty if it does not come down."""
    text = name.decode("latin-1")
    return "" if text.lower() in _NOT_DOWN else text


def to_upstream(request: web.BaseRequest) -> list[tuple[bytes, bytes]]:
    """The caller's headers that the upstream may see, as sent."""
    kept = [header for header in request.raw_headers if _goes_up(header[0])]
    for value in request.headers.getall("Connection", ()):
        if value.lower() not in _USUAL:
            named = _named(value)
            kept = [header for header in kept if header[0].decode("latin-1").lower() not in named]
    return kept


def to_caller(headers: Sequence[tuple[bytes, bytes]], upstream_origin: str) -> CIMultiDict[str]:
    """The upstream's headers that the caller may see; a redirect within the upstream stays within the gate."""
    pairs = [(name, value) for raw, value in headers if (name := _name_down(raw))]
    kept = CIMultiDict([(name, value.decode("utf-8", "replace")) for name, value in pairs])
    for raw, value in headers:
        if raw.lower() == b"connection" and value.lower() not in _USUAL_BYTES:
            for name in _named(value.decode("latin-1")):
                kept.popall(name, None)
    location = kept.get("Location", "")
    if location.startswith(upstream_origin) and _PATH.match(path := location[len(upstream_origin) :]):
        kept["Location"] = path
    return kept


_USUAL = frozenset({"close", "keep-alive"})
_USUAL_BYTES = frozenset(value.encode() for value in _USUAL)
# To browsers // names a host, and so does what they read as that.
_PATH = re.compile(r"/(?![/\\\t])")


def _named(connection: str) -> set[str]:
    """What a Connection header names: headers for this hop only."""
    return {name.strip().lower() for name in connection.split(",")}
