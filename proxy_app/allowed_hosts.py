"""Allowed host names: protection against DNS rebinding.

With a name of their own that resolves to the proxy, an attacker's page would be of the same origin as the proxy.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from aiohttp import web

from . import errors


def host_of(request: web.BaseRequest) -> str:
    """The name in the Host header, in lower case and without a port; empty if there is none."""
    try:
        return urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    except ValueError:
        return ""


def check_host(request: web.BaseRequest, names: Iterable[str]) -> None:
    """ApiError 403 for a Host that is none of the names; ``*`` at the start of one matches anything without a dot."""
    host = host_of(request)
    if not any(_matches(host, name) for name in names):
        raise errors.forbidden("This host name is not allowed (MLFLOW_PROXY_ALLOWED_HOSTS).", reason="host-not-allowed")


def _matches(host: str, name: str) -> bool:
    if not name.startswith("*"):
        return host == name
    variable = host.removesuffix(name[1:])
    return variable not in {"", host} and "." not in variable
