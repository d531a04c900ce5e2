"""A plain MLflow server: requests are forwarded unsigned, bodies of any size are streamed."""

import contextlib
from collections.abc import AsyncGenerator

from ..settings import Settings
from ..target import PlainTarget
from . import UpstreamRequest, UpstreamResponse
from .client import UpstreamClient, check_success

# No client of the proxy is local to the server, even where the proxy is: MLflow runs its assistant, an agent with a
# shell, for clients that it takes for local. "unknown" is RFC 7239's word for an undisclosed address.
_NOT_LOCAL = (b"x-forwarded-for", b"unknown")


class PlainUpstream:
    """Streams requests to the server and back."""

    def __init__(self, settings: Settings, target: PlainTarget) -> None:
        self.origin = target.origin
        self._client = UpstreamClient(settings, target.origin)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Keeps connections to the server."""
        async with self._client.running():
            yield

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Forward the request."""
        body = request.body
        small = body.small() if body.exists else b""
        return await self._client.send(
            request.method,
            request.target,
            [*request.headers, _NOT_LOCAL],
            body.stream if small is None else lambda: small,
            length=body.length,
            idempotent=request.idempotent,
            body_replayable=small is not None,
        )

    async def probe(self) -> None:
        """Ask for MLflow's health."""
        await check_success(await self._client.send("GET", "/health", (), bytes, length=0, idempotent=True))
