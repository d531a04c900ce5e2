"""``/healthz``: the process runs. ``/readyz``: it could answer a request now."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

_KEPT_FOR = 5.0


class Health:
    """Asks ``problem`` (empty when all is well) at most every few seconds, however many ask here."""

    def __init__(self, problem: Callable[[], Awaitable[str]]) -> None:
        self._problem = problem
        self._known = ""
        self._known_until = 0.0
        self._asking = asyncio.Lock()
        self.draining = False

    async def healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(self, _: web.Request) -> web.Response:
        problem = "The gate is stopping." if self.draining else await self._current()
        if problem:
            return web.json_response({"status": "not ready", "reason": problem}, status=503)
        return web.json_response({"status": "ready"})

    async def _current(self) -> str:
        async with self._asking:
            if time.monotonic() >= self._known_until:
                self._known = await self._problem()
                self._known_until = time.monotonic() + _KEPT_FOR
            return self._known
