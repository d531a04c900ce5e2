"""A plain MLflow server: requests go to it as they are, bodies of any size as they come."""

import contextlib
from collections.abc import AsyncGenerator

from aiohttp import web

from .. import headers
from ..bodies import Bodies
from ..routes import Route
from ..settings import Settings
from ..target import PlainTarget
from .pool import Answer, Pool, refuse_failing

# Whoever comes through the proxy is not on the server's host, even where the proxy is: MLflow runs its assistant, an
# agent with a shell, for clients that it takes for local. "unknown" is RFC 7239's word for an address not told.
_NOT_LOCAL = (b"x-forwarded-for", b"unknown")


class PlainUpstream:
    """Streams requests to the server and back."""

    def __init__(self, settings: Settings, target: PlainTarget, bodies: Bodies) -> None:
        self.origin = target.origin
        self._pool = Pool(settings, target.origin)
        self._bodies = bodies

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with self._pool.running():
            yield

    async def send(self, request: web.BaseRequest, route: Route) -> Answer:
        has_body = request.body_exists
        short = self._bodies.short(request) if has_body else b""
        return await self._pool.send(
            request.method,
            request.raw_path,
            [*headers.to_upstream(request), _NOT_LOCAL],
            lambda: self._bodies.stream(request) if short is None else short,
            length=request.content_length if has_body else 0,
            replay=route.replay,
            once=short is None,
        )

    async def probe(self) -> None:
        answer = await self._pool.send("GET", "/health", (), bytes, length=0, replay=True)
        await refuse_failing(answer)
