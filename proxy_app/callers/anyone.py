"""No authentication: everyone is an admin. The settings refuse this on anything but loopback."""

from aiohttp import web

from .. import errors
from ..hosts import host_of
from ..setting_values import LOOPBACK
from . import Caller, Role


class Anyone:
    """Recognises everybody as the same caller."""

    _caller = Caller("anyone", Role.ADMIN, "auth-off")

    async def recognise(self, request: web.BaseRequest) -> Caller | None:
        if host_of(request) not in LOOPBACK:
            raise errors.forbidden(
                "Without authentication this proxy answers under the names of this machine only, "
                "127.0.0.1, ::1 and localhost.",
                reason="foreign-host",
            )
        return self._caller
