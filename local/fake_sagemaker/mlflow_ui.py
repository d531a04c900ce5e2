"""MLflow's UI behind a single-use presigned URL that sets a session cookie."""

import secrets
from collections.abc import Callable

from aiohttp import web

from local.fake_sagemaker.errors import AwsError, mlflow_api_error
from local.fake_sagemaker.forward import MlflowUpstream
from local.fake_sagemaker.mlflow_api import receive

COOKIE = "fake-sagemaker-ui-session"
_STRIP = frozenset({"cookie", "origin", "referer"})


class PresignedUrls:
    """Presigned URLs and the sessions that they open; all durations are in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._unused_tokens: dict[str, tuple[float, int]] = {}
        self._sessions: dict[str, float] = {}
        self.origin = ""
        """The origin of the UI; set once it listens."""

    def create(self, *, valid: int, session: int) -> str:
        """A URL that works once, within `valid` seconds, and opens a session of `session` seconds."""
        token = secrets.token_urlsafe(48)
        self._unused_tokens[token] = (self._clock() + valid, session)
        return f"{self.origin}/auth?authToken={token}"

    def redeem(self, token: str) -> tuple[str, int] | None:
        """(session id, seconds) of a new session; None when the token is unknown, used or expired."""
        expires, seconds = self._unused_tokens.pop(token, (0.0, 0))
        if expires <= self._clock():
            return None
        session = secrets.token_urlsafe(32)
        self._sessions[session] = self._clock() + seconds
        return session, seconds

    def has_session(self, session: str) -> bool:
        """Whether the session exists and has not expired."""
        return self._sessions.get(session, 0.0) > self._clock()


class MlflowUi:
    """Serves MLflow's UI to browsers with a session."""

    def __init__(self, presigned_urls: PresignedUrls, mlflow: MlflowUpstream) -> None:
        self._presigned_urls = presigned_urls
        self._mlflow = mlflow

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Redeem a presigned URL, or forward the request of a session to MLflow."""
        if request.path == "/auth":
            return self._open_session(request)
        if not self._presigned_urls.has_session(request.cookies.get(COOKIE, "")):
            return web.Response(status=403, text="The session is missing or has expired. Open a new presigned URL.\n")
        try:
            received = await receive(request)
            return await self._mlflow.forward(request, received.body, strip=_STRIP, extra={})
        except AwsError as error:
            return mlflow_api_error(error)

    def _open_session(self, request: web.BaseRequest) -> web.Response:
        redeemed = self._presigned_urls.redeem(request.query.get("authToken", ""))
        if redeemed is None:
            return web.Response(
                status=403, text="The presigned URL was used before or has expired. Request a new one.\n"
            )
        session, seconds = redeemed
        response = web.Response(status=302, headers={"Location": "/", "Cache-Control": "no-store"})
        response.set_cookie(COOKIE, session, max_age=seconds, httponly=True, samesite="Lax", path="/")
        return response
