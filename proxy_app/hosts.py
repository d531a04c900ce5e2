"""Under which names the proxy answers: a name of somebody else's that leads here makes any web page a caller.

That is DNS rebinding: the browser takes the page and the proxy for one site.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from aiohttp import web

from . import errors


def host_of(request: web.BaseRequest) -> str:
    """The name that is asked for, in lower case and without a port; empty if there is none."""
    try:
        return urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    except ValueError:
        return ""


def refuse_foreign_hosts(request: web.BaseRequest, names: Iterable[str]) -> None:
    """Refusal (403) for any name but these; a star at the start of one stands for anything without a dot."""
    host = host_of(request)
    if not any(_fits(host, name) for name in names):
        raise errors.forbidden(
            "This proxy does not answer under the name that was asked for (MLFLOW_PROXY_ALLOWED_HOSTS).",
            reason="foreign-host",
        )


def _fits(host: str, name: str) -> bool:
    if not name.startswith("*"):
        return host == name
    varied = host.removesuffix(name[1:])
    return varied not in {"", host} and "." not in varied
