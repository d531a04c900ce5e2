"""Cross-site request forgery: rejects writes that a browser sends for a page of another site.

A browser adds credentials to such requests by itself (Basic, cookies of a load balancer or of Identity-Aware Proxy).
"""

import re

from aiohttp import web

from . import errors
from .allowed_hosts import parse_host

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SAME_SITE = frozenset({"same-origin", "none"})
_ORIGIN = re.compile("(https?)://(.+)", re.IGNORECASE)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def check_csrf(request: web.BaseRequest, public_url: str) -> None:
    """Raise ApiError 403 for a write whose Origin or Sec-Fetch-Site header names another origin.

    ``public_url`` is an origin of the proxy in addition to that of the Host header; empty: none. Clients other than
    browsers send neither header. https://developer.mozilla.org/docs/Web/HTTP/Headers/Sec-Fetch-Site
    """
    if request.method in _SAFE_METHODS:
        return
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    cross_origin = origin is not None and not _same_origin(origin, public_url, request.headers.get("Host", ""))
    if cross_origin or (site is not None and site.lower() not in _SAME_SITE):
        raise errors.forbidden(f"Cross-origin request: a page of {origin or site} may not make changes.", reason="csrf")


def _same_origin(origin: str, public_url: str, host: str) -> bool:
    """Compare host and port. The scheme of ``host`` is unknown: a load balancer may receive the request over TLS."""
    found = _ORIGIN.fullmatch(origin)
    # ``null`` is the origin of a sandboxed page or a file.
    if found is None:
        return False
    scheme, (name, port) = found[1].lower(), parse_host(found[2])
    default = _DEFAULT_PORTS[scheme]
    public = _ORIGIN.fullmatch(public_url)
    if public is not None and public[1] == scheme:
        allowed = [parse_host(host), parse_host(public[2])]
    else:
        allowed = [parse_host(host)]
    return bool(name) and (name, port or default) in [(other.host, other.port or default) for other in allowed]
