"""MLflow's UI behind a presigned link: single use, then a session cookie."""

import secrets
from collections.abc import Callable

from aiohttp import web

from local.fake_sagemaker.api import receive
from local.fake_sagemaker.forward import Mlflow
from local.fake_sagemaker.refusals import Refusal, api_error

COOKIE = "fake-sagemaker-ui-session"
_STRIP = frozenset({"cookie", "origin", "referer"})


class Tickets:
    """Presigned links and the sessions that they open; times are seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._links: dict[str, tuple[float, int]] = {}
        self._sessions: dict[str, float] = {}
        self.origin = ""
        """Where the UI is; set once it listens."""

    def new(self, *, valid: int, session: int) -> str:
        """A link that works once within `valid` seconds and opens a session of `session` seconds."""
        token = secrets.token_urlsafe(48)
        self._links[token] = (self._clock() + valid, session)
        return f"{self.origin}/auth?authToken={token}"

    def redeem(self, token: str) -> tuple[str, int] | None:
        """(session, its seconds), once; None when the link was used, has expired or never was."""
        expires, seconds = self._links.pop(token, (0.0, 0))
        if expires <= self._clock():
            return None
        session = secrets.token_urlsafe(32)
        self._sessions[session] = self._clock() + seconds
        return session, seconds

    def holds(self, session: str) -> bool:
        return self._sessions.get(session, 0.0) > self._clock()


class Ui:
    """The listener that a browser is sent to."""

    def __init__(self, tickets: Tickets, mlflow: Mlflow) -> None:
        self._tickets = tickets
        self._mlflow = mlflow

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/auth":
            return self._enter(request)
        if not self._tickets.holds(request.cookies.get(COOKIE, "")):
            return web.Response(status=403, text="No session, or it has expired: open a new presigned URL.\n")
        try:
            received = await receive(request)
            return await self._mlflow.answer(request, received.body, strip=_STRIP, extra={})
        except Refusal as refusal:
            return api_error(refusal)

    def _enter(self, request: web.BaseRequest) -> web.Response:
        entered = self._tickets.redeem(request.query.get("authToken", ""))
        if entered is None:
            return web.Response(status=403, text="This link was used before or has expired: ask for a new one.\n")
        session, seconds = entered
        response = web.Response(status=302, headers={"Location": "/", "Cache-Control": "no-store"})
        response.set_cookie(COOKIE, session, max_age=seconds, httponly=True, samesite="Lax", path="/")
        return response
