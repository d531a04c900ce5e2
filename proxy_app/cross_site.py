"""Writes that a browser sends for another site's page are refused: callers may come with credentials it adds itself."""

from urllib.parse import urlsplit

from aiohttp import web

from . import errors

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN = frozenset({"same-origin", "none"})


def refuse_foreign_writes(request: web.BaseRequest, public_url: str) -> None:
    """Refusal (403) for a state-changing request of another origin; clients that are no browsers send neither header.

    https://developer.mozilla.org/docs/Web/HTTP/Headers/Sec-Fetch-Site
    """
    if request.method in _READS:
        return
    headers = request.headers
    origin = headers.get("Origin")
    site = headers.get("Sec-Fetch-Site")
    if origin is None and site is None:
        return
    own = origin is None or origin == public_url or urlsplit(origin).netloc == headers.get("Host", "")
    if not own or (site is not None and site.lower() not in _OWN):
        raise errors.forbidden(
            f"A page of another origin ({origin or site}) may not change anything here.", reason="foreign-origin"
        )
