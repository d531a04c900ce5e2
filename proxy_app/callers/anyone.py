"""No authentication: everyone is an admin. The settings refuse this on anything but loopback."""

from urllib.parse import urlsplit

from aiohttp import web

from .. import errors
from ..settings import LOOPBACK
from . import Caller, Role


class Anyone:
    """Recognises everybody as the same caller."""

    _caller = Caller("anyone", Role.ADMIN, "auth-off")

    async def recognise(self, request: web.BaseRequest) -> Caller | None:
        # A name of somebody else's that leads to 127.0.0.1 makes any web page a caller (DNS rebinding).
        try:
            host = urlsplit(f"//{request.headers.get('Host', '')}").hostname
        except ValueError:
            host = None
        if host not in LOOPBACK:
            raise errors.forbidden(
                "Without authentication this gate answers under the names of this machine only, "
                "127.0.0.1, ::1 and localhost.",
                reason="foreign-host",
            )
        return self._caller
