"""Which headers the proxy forwards: of requests to the upstream, and of responses to the client."""

import re
from collections.abc import Sequence
from functools import lru_cache

from aiohttp import web

# RFC 9110 7.6.1, and headers that frame a message on one connection.
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
# Credentials for the proxy, headers that only the proxy may set, and headers about the client's connection. MLflow
# responds with 403 to writes with an Origin of another host, so the proxy checks it instead (csrf.py).
_BLOCKED_REQUEST_HEADERS = _HOP_BY_HOP | {
    "authorization",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "origin",
    "referer",
    "x-mlflow-guardrail-bypass",  # internal to MLflow's servers
    "x-mlflow-sm-tracking-server-arn",
    "x-real-ip",
    "x-request-id",
    "x-sm-mlflow-app-arn",
}
_MAX_CACHED_NAME = 64
_BLOCKED_REQUEST_PREFIXES = ("proxy-", "sec-", "x-amz-", "x-amzn-", "x-forwarded-", "x-goog-")
# Cookies, which API clients would keep, and headers about the upstream's host.
_BLOCKED_RESPONSE_HEADERS = _HOP_BY_HOP | {
    "alt-svc",
    "date",
    "proxy-authenticate",
    "server",
    "set-cookie",
    "strict-transport-security",
    "www-authenticate",
    "x-request-id",
}


def _is_forwarded(name: bytes) -> bool:
    # Cached only if short: clients choose the names, and long ones would stay in memory.
    return _check_request_header(name) if len(name) <= _MAX_CACHED_NAME else _check_request_header.__wrapped__(name)


@lru_cache(maxsize=1024)
def _check_request_header(name: bytes) -> bool:
    lower = name.decode("latin-1").lower()
    # Servers behind CGI-like interfaces read x_amz_date as x-amz-date.
    return (
        lower not in _BLOCKED_REQUEST_HEADERS and not lower.startswith(_BLOCKED_REQUEST_PREFIXES) and "_" not in lower
    )


@lru_cache(maxsize=1024)
def _check_response_header(name: bytes) -> str:
    """``forward``, ``drop``, or the name of a header whose value decides."""
    lower = name.decode("latin-1").lower()
    if lower in {"connection", "location"}:
        return lower
    return "drop" if lower in _BLOCKED_RESPONSE_HEADERS else "forward"


def to_upstream(request: web.BaseRequest) -> list[tuple[bytes, bytes]]:
    """The (name, value) pairs of the request that are forwarded, unchanged and in order."""
    forwarded = [header for header in request.raw_headers if _is_forwarded(header[0])]
    for value in request.headers.getall("Connection", ()):
        if value.lower() not in _PLAIN_CONNECTION:
            named = _connection_headers(value)
            forwarded = [header for header in forwarded if header[0].decode("latin-1").lower() not in named]
    return forwarded


def to_client(
    headers: Sequence[tuple[bytes, bytes]], upstream_origin: str, path_prefix: str = ""
) -> list[tuple[bytes, bytes]]:
    """The (name, value) pairs of the upstream's response that are forwarded, unchanged and in order.

    A Location at ``upstream_origin`` becomes a path at the proxy, below ``path_prefix``.
    """
    forwarded: list[tuple[bytes, bytes]] = []
    named: set[str] = set()
    for name, value in headers:
        match _check_response_header(name):
            case "connection":
                if value.lower() not in _PLAIN_CONNECTION_BYTES:
                    named |= _connection_headers(value.decode("latin-1"))
            case "location":
                forwarded.append((name, _relative(value, upstream_origin, path_prefix)))
            case "forward":
                forwarded.append((name, value))
            case _:
                pass
    if named:
        forwarded = [header for header in forwarded if header[0].decode("latin-1").lower() not in named]
    return forwarded


_PLAIN_CONNECTION = frozenset({"close", "keep-alive"})
_PLAIN_CONNECTION_BYTES = frozenset(value.encode() for value in _PLAIN_CONNECTION)
# Browsers read // as the start of a host name, and treat a backslash and a tab like the second slash.
_PATH = re.compile(rb"/(?![/\\\t])")


def _relative(location: bytes, origin: str, prefix: str) -> bytes:
    path = location.removeprefix(origin.encode())
    return prefix.encode() + path if (prefix or path != location) and _PATH.match(path) else location


def _connection_headers(connection: str) -> set[str]:
    """The lower-case names in a Connection header; those headers are for this hop only."""
    return {name.strip().lower() for name in connection.split(",")}
