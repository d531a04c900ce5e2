"""A plain MLflow server: requests are forwarded unsigned, bodies of any size are streamed."""

import contextlib
from collections.abc import AsyncGenerator

from ..settings import Settings
from ..target import PlainTarget
from . import UpstreamRequest, UpstreamResponse
from .client import UpstreamClient, check_success

# MLflow runs its assistant, an agent with a shell, for clients on its own host. The proxy may be on that host, its
# clients are not. "unknown" is the identifier of RFC 7239 for an undisclosed address.
_NOT_LOCAL = (b"x-forwarded-for", b"unknown")


class PlainUpstream:
    """Streams requests to a plain MLflow server, and its responses back."""

    def __init__(self, settings: Settings, target: PlainTarget) -> None:
        self.origin = target.origin
        self._client = UpstreamClient(settings, target.origin)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Open connections when they are needed, and close them at the end of the block."""
        async with self._client.running():
            yield

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Forward the request. Raises ApiError as ``UpstreamClient.send`` does."""
        body = request.body
        small = body.small() if body.exists else b""
        return await self._client.send(
            request.method,
            request.target,
            [*request.headers, _NOT_LOCAL],
            body.stream if small is None else lambda: small,
            length=body.length,
            idempotent=request.idempotent,
            long_running=request.long_running,
            body_replayable=small is not None,
            sending=request.sending,
        )

    async def probe(self) -> None:
        """Request MLflow's ``/health``. Raises ApiError 502 or 504."""
        await check_success(await self._client.send("GET", "/health", (), bytes, length=0, idempotent=True))
