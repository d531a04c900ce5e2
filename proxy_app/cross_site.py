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
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    foreign = origin is not None and not _is_own(origin, public_url, request.headers.get("Host"))
    if foreign or (site is not None and site.lower() not in _OWN):
        raise errors.forbidden(
            f"A page of another origin ({origin or site}) may not change anything here.", reason="foreign-origin"
        )


def _is_own(origin: str, public_url: str, host: str | None) -> bool:
    try:
        of_page = urlsplit(origin).netloc
    except ValueError:
        return False
    # ``null`` has no host: a sandboxed page, a file.
    return bool(of_page) and (origin == public_url or of_page == host)
