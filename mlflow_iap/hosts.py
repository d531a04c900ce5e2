"""Which requests get a token: those to the hosts that were named, over TLS or on this machine."""

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import NamedTuple

# The parser that decides where `requests` connects to: no other could be told a different host by the same text.
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from .errors import SettingsError

_PORTS = {"http": 80, "https": 443}
_ENTRY = re.compile(r"(?:([a-z0-9][a-z0-9._-]*)|\[([0-9a-f:.]+)\])(?::(\d{1,5}))?", re.ASCII)


class Host(NamedTuple):
    name: str
    port: int

    @property
    def loopback(self) -> bool:
        if self.name == "localhost":
            return True
        try:
            return ip_address(self.name).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port == _PORTS["https"] else f"{name}:{self.port}"


def parse_hosts(text: str) -> frozenset[Host]:
    """`mlflow.example.com, other.example.com:8443`; without a port it is 443.

    Raises ValueError with what is expected.
    """
    hosts: set[Host] = set()
    for entry in filter(None, (part.strip().lower() for part in text.split(","))):
        found = _ENTRY.fullmatch(entry)
        if not found or int(found[3] or 1) > 65535:
            raise ValueError("hosts without https:// or a path, such as mlflow.example.com, other.example.com:8443")
        hosts.add(Host(found[1] or found[2], int(found[3] or _PORTS["https"])))
    return frozenset(hosts)


def host_of(url: str) -> Host | None:
    """The host that a request to this URL goes to; None for what is not http or https."""
    found = _parts(url)
    return found[1] if found else None


def gets_token(url: str, hosts: Collection[Host]) -> bool:
    """Whether a request to this URL may carry the token.

    Raises SettingsError for a host that may, but over plain http, where anyone on the way could read it.
    """
    found = _parts(url)
    if found is None:
        return False
    scheme, host = found
    if scheme == "https" or (host.loopback and host in hosts):
        return host in hosts
    if host in hosts or (host.port == _PORTS["http"] and host._replace(port=_PORTS["https"]) in hosts):
        raise SettingsError(f"No token goes to {host.name} over plain http://: use https:// in MLFLOW_TRACKING_URI.")
    return False


def _parts(url: str) -> tuple[str, Host] | None:
    try:
        parts = parse_url(url)
    except LocationParseError:
        return None
    if parts.scheme not in _PORTS or not parts.host:
        return None
    return parts.scheme, Host(parts.host.strip("[]").lower(), parts.port or _PORTS[parts.scheme])
