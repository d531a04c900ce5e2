"""Allowed host names: protection against DNS rebinding.

An attacker's host name that resolves to the proxy would give the attacker's page the same origin as the proxy.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from aiohttp import web

from . import errors

# RFC 9110, 7.2: the host of a URI, and a port. A user name or a path in it is an error. A name may end with the dot of
# the DNS root.
_HOST = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]*[A-Za-z0-9_-])\.?)(?::(?P<port>[0-9]*))?"
)


class HostPort(NamedTuple):
    """A name or IP address in lower case, without the dot of the DNS root, and the port's digits; empty if absent."""

    host: str
    port: str


def parse_host(text: str) -> HostPort:
    """Parse the value of a Host header; both parts are empty if it has another form."""
    found = _HOST.fullmatch(text)
    return HostPort((found["address"] or found["name"]).lower(), found["port"] or "") if found else HostPort("", "")


def check_host(request: web.BaseRequest, names: Iterable[str]) -> None:
    """Raise ApiError 403 if the Host header matches none of ``names``.

    A leading ``*`` in a name matches one or more characters other than a dot.
    """
    host = parse_host(request.headers.get("Host", "")).host
    if not any(_matches(host, name) for name in names):
        raise errors.forbidden("This host name is not allowed (MLFLOW_PROXY_ALLOWED_HOSTS).", reason="host-not-allowed")


def _matches(host: str, name: str) -> bool:
    if not name.startswith("*"):
        return host == name
    variable = host.removesuffix(name[1:])
    return variable not in {"", host} and "." not in variable
