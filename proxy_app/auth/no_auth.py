"""No authentication: each request has the role admin. The settings accept this on loopback only."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from .. import errors
from ..allowed_hosts import host_of
from ..setting_table import Problem, SettingTable, setting
from ..setting_values import LOOPBACK, on_off
from . import Authenticator, Principal, Role

if TYPE_CHECKING:
    from ..context import RequestContext
    from ..settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuthSettings(SettingTable):
    """Whether requests are authenticated."""

    title = "Authentication"

    auth: bool = setting(
        "MLFLOW_PROXY_AUTH",
        "on",
        "off: no authentication, every client is an admin; on loopback only.",
        on_off,
    )


class NoAuth(Authenticator):
    """Every request comes from the same principal."""

    label = "MLFLOW_PROXY_AUTH=off"
    settings_table = AuthSettings
    exclusive = "without authentication there is nothing to check"
    _principal = Principal("anonymous", Role.ADMIN, "none")

    @classmethod
    def enabled(cls, settings: "Settings") -> bool:
        return not settings.section(AuthSettings).auth

    @classmethod
    def conflicts(cls, settings: "Settings") -> Iterator[Problem]:
        if cls.enabled(settings) and not settings.listen.loopback:
            yield (
                ("MLFLOW_PROXY_LISTEN",),
                f"MLFLOW_PROXY_AUTH=off would make every client that reaches {settings.listen} an admin: "
                "listen on 127.0.0.1, or leave authentication on.",
            )

    @classmethod
    def create(cls, settings: "Settings") -> Self:
        return cls()

    async def authenticate(self, context: "RequestContext") -> Principal:
        """The one principal. ApiError 403 for a Host other than this machine's names (DNS rebinding)."""
        if host_of(context.request) not in LOOPBACK:
            raise errors.forbidden(
                "Without authentication the proxy accepts the host names 127.0.0.1, ::1 and localhost only.",
                reason="host-not-allowed",
            )
        return self._principal
