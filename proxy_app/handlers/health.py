"""Health checks. ``/healthz``: the process runs. ``/readyz``: the proxy can serve a request now."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from .. import errors
from ..auth import Role
from ..context import Lifecycle, RequestContext
from ..routing import Endpoint, Route

log = logging.getLogger(__name__)

_CACHED_SECONDS = 5.0
# Load balancers wait about this long.
_PROBE_TIMEOUT = 4.0


class Health:
    """The health checks; the probes, which raise ApiError, run at most every five seconds for all clients together.

    The response holds only the error code; the log has the message, which may contain names of accounts and hosts.
    """

    def __init__(self, lifecycle: Lifecycle, probes: Iterable[Callable[[], Awaitable[None]]]) -> None:
        self._lifecycle = lifecycle
        self._probes = tuple(probes)
        self._problem = ""
        self._cached_until = 0.0
        self._lock = asyncio.Lock()

    def endpoints(self) -> list[Endpoint]:
        """The routes of both checks."""
        return [
            Endpoint(_route("/healthz"), self.healthz, condition=lambda request: request.raw_path == "/healthz"),
            Endpoint(_route("/readyz"), self.readyz, condition=lambda request: request.raw_path == "/readyz"),
        ]

    async def healthz(self, _: RequestContext) -> web.Response:
        """200 while the process runs."""
        return _response({"status": "ok"})

    async def readyz(self, _: RequestContext) -> web.Response:
        """200 if a request could be served now, else 503 with the error code."""
        problem = "shutting-down" if self._lifecycle.draining else await self._current_problem()
        if problem:
            return _response({"status": "not ready", "reason": problem}, 503)
        return _response({"status": "ready"})

    async def _current_problem(self) -> str:
        async with self._lock:
            if time.monotonic() >= self._cached_until:
                self._problem = await self._probe()
                self._cached_until = time.monotonic() + _CACHED_SECONDS
            return self._problem

    async def _probe(self) -> str:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                for probe in self._probes:
                    await probe()
        except (errors.ApiError, TimeoutError) as error:
            timeout = errors.bad_gateway("MLflow does not respond.", reason="upstream-timeout")
            api_error = timeout if isinstance(error, TimeoutError) else error
            if api_error.reason != self._problem:
                log.warning("Not ready: %s", api_error.message, extra={"event": "not-ready"})
            return api_error.reason
        if self._problem:
            log.info("Ready again", extra={"event": "ready"})
        return ""


async def plain_health(_: RequestContext) -> web.Response:
    """200 with the text of MLflow's own ``/health``: OK."""
    return web.Response(text="OK", headers={"Server": "mlflow-proxy"})


def _route(path: str) -> Route:
    return Route("GET", path, "health", Role.PUBLIC, idempotent=True, health_check=True)


def _response(content: dict[str, str], status: int = 200) -> web.Response:
    return web.json_response(content, status=status, headers={"Server": "mlflow-proxy"})
