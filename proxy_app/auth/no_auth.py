"""No authentication: each request has the role admin. The settings allow this on loopback only."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from .. import errors
from ..allowed_hosts import parse_host
from ..setting_table import Problem, SettingTable, setting
from ..setting_values import LOOPBACK, on_off
from . import Authenticator, Principal, Role

if TYPE_CHECKING:
    from ..context import RequestContext
    from ..settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuthSettings(SettingTable):
    """The setting that disables authentication."""

    title = "Authentication"

    auth: bool = setting(
        "MLFLOW_PROXY_AUTH",
        "on",
        "off: no authentication, every client is an admin; on loopback only.",
        on_off,
    )


class NoAuth(Authenticator):
    """Assigns the same principal, an admin, to every request."""

    label = "MLFLOW_PROXY_AUTH=off"
    settings_table = AuthSettings
    exclusive = "without authentication there is nothing to check"
    _principal = Principal("anonymous", Role.ADMIN, "none")

    @classmethod
    def enabled(cls, settings: "Settings") -> bool:
        """Whether MLFLOW_PROXY_AUTH is off."""
        return not settings.section(AuthSettings).auth

    @classmethod
    def conflicts(cls, settings: "Settings") -> Iterator[Problem]:
        """A listen address other than loopback."""
        if cls.enabled(settings) and not settings.listen.loopback:
            yield (
                ("MLFLOW_PROXY_LISTEN",),
                f"MLFLOW_PROXY_AUTH=off would make every client that reaches {settings.listen} an admin: "
                "listen on 127.0.0.1, or leave authentication on.",
            )

    @classmethod
    def create(cls, settings: "Settings") -> Self:
        """The authenticator; it has no settings of its own."""
        return cls()

    async def authenticate(self, context: "RequestContext") -> Principal:
        """The principal ``anonymous``. ApiError 403 for a Host other than loopback names (DNS rebinding)."""
        if parse_host(context.request.headers.get("Host", "")).host not in LOOPBACK:
            raise errors.forbidden(
                "Without authentication the proxy accepts the host names 127.0.0.1, ::1 and localhost only.",
                reason="host-not-allowed",
            )
        return self._principal
