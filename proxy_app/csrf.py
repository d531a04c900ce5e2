"""Cross-site request forgery: rejects what a browser sends for a page of another site, except that it opens a page.

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


def check_csrf(request: web.BaseRequest, public_url: str, *, changes_state: bool = False) -> None:
    """Raise ApiError 403 for a request that a page of another origin makes, by its Origin and Sec-Fetch-* headers.

    A GET that opens a page at the top level is allowed (a link, a return from a login page), except with
    ``changes_state``: the route's GET has an effect. ``public_url`` is an origin of the proxy in addition to that of
    the Host header; empty: none. Clients other than browsers send none of these headers.
    https://www.w3.org/TR/fetch-metadata/
    """
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    cross_site = site is not None and site.lower() not in _SAME_SITE
    if request.method in _SAFE_METHODS:
        rejected = cross_site and (changes_state or not _opens_a_page(request))
    else:
        cross_origin = origin is not None and not _same_origin(origin, public_url, request.headers.get("Host", ""))
        rejected = cross_site or cross_origin
    if rejected:
        raise errors.forbidden(f"Cross-origin request: a page of {origin or site} may not make it.", reason="csrf")


def _opens_a_page(request: web.BaseRequest) -> bool:
    # A frame is a navigation, too, with another destination.
    return (
        request.headers.get("Sec-Fetch-Mode", "").lower() == "navigate"
        and request.headers.get("Sec-Fetch-Dest", "").lower() == "document"
    )


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
