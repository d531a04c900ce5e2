"""Cross-site request forgery: rejects writes that a browser sends for a page of another site.

A browser adds credentials to such requests by itself (Basic, cookies of a load balancer or of Identity-Aware Proxy).
"""

from urllib.parse import urlsplit

from aiohttp import web

from . import errors

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SAME_SITE = frozenset({"same-origin", "none"})


def check_csrf(request: web.BaseRequest, public_url: str) -> None:
    """Raise ApiError 403 for a write whose Origin or Sec-Fetch-Site header names another origin.

    ``public_url`` is an origin of the proxy in addition to that of the Host header; empty: none. Clients other than
    browsers send neither header. https://developer.mozilla.org/docs/Web/HTTP/Headers/Sec-Fetch-Site
    """
    if request.method in _SAFE_METHODS:
        return
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    cross_origin = origin is not None and not _same_origin(origin, public_url, request.headers.get("Host"))
    if cross_origin or (site is not None and site.lower() not in _SAME_SITE):
        raise errors.forbidden(f"Cross-origin request: a page of {origin or site} may not make changes.", reason="csrf")


def _same_origin(origin: str, public_url: str, host: str | None) -> bool:
    try:
        origin_host = urlsplit(origin).netloc
    except ValueError:
        return False
    # ``null`` has no host: a sandboxed page, a file.
    return bool(origin_host) and (origin == public_url or origin_host == host)
