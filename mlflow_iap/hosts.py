"""Decides which requests carry the token: those to the configured hosts, over TLS or on this machine."""

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import NamedTuple

# `requests` uses this parser to decide where it connects: another parser could see a different host in the same URL.
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from .errors import SettingsError

_PORTS = {"http": 80, "https": 443}
_ENTRY = re.compile(r"(?:([a-z0-9][a-z0-9._-]*)|\[([0-9a-f:.]+)\])(?::(\d{1,5}))?", re.ASCII)


class Host(NamedTuple):
    """A host name or IP address, in lower case and without brackets, and a port."""

    name: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether the host is this machine."""
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
    """Parse `mlflow.example.com, other.example.com:8443`; the default port is 443.

    Raises ValueError with the expected form.
    """
    hosts: set[Host] = set()
    for entry in filter(None, (part.strip().lower() for part in text.split(","))):
        found = _ENTRY.fullmatch(entry)
        if not found or int(found[3] or 1) > 65535:
            raise ValueError("hosts without https:// or a path, such as mlflow.example.com, other.example.com:8443")
        hosts.add(Host(found[1] or found[2], int(found[3] or _PORTS["https"])))
    return frozenset(hosts)


def host_of(url: str) -> Host | None:
    """The host of an http or https URL; None for any other text."""
    found = _parts(url)
    return found[1] if found else None


def may_receive_token(url: str, hosts: Collection[Host]) -> bool:
    """Whether a request to this URL may carry the token.

    Raises SettingsError for a configured host over plain http, where the network could read the token.
    """
    found = _parts(url)
    if found is None:
        return False
    scheme, host = found
    if scheme == "https" or (host.loopback and host in hosts):
        return host in hosts
    if host in hosts or (host.port == _PORTS["http"] and host._replace(port=_PORTS["https"]) in hosts):
        raise SettingsError(f"No token is sent to {host.name} over http://: use https:// in MLFLOW_TRACKING_URI.")
    return False


def _parts(url: str) -> tuple[str, Host] | None:
    try:
        parts = parse_url(url)
    except LocationParseError:
        return None
    if parts.scheme not in _PORTS or not parts.host:
        return None
    return parts.scheme, Host(parts.host.strip("[]").lower(), parts.port or _PORTS[parts.scheme])
