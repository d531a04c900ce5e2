"""No authentication: everyone is an admin. The settings refuse this on anything but loopback."""

from aiohttp import web

from . import Caller, Role


class Anyone:
    """Recognises everybody as the same caller."""

    _caller = Caller("anyone", Role.ADMIN, "auth-off")

    def recognise(self, request: web.BaseRequest) -> Caller | None:
        return self._caller
