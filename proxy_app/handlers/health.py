"""Health checks: whether the process runs, has started, and can serve a request now.

``/startupz`` is for load balancers: a proxy that has been ready once stays in service while MLflow is unavailable, and
answers with errors that clients understand. A new one with invalid settings never gets into service.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

from aiohttp import web

from .. import errors
from ..auth import Role
from ..background import background_task
from ..context import Lifecycle, RequestContext
from ..metrics import Metrics
from ..routing import Endpoint, Handler, Route

log = logging.getLogger(__name__)

_CACHED_SECONDS = 5.0
# Load balancers wait about this long.
_PROBE_TIMEOUT = 4.0
# Between two probes without a request, for the log and the metric, which alarms watch.
_PROBE_INTERVAL = 60.0
_SHUTTING_DOWN = "shutting-down"


class Health:
    """The health checks; the probes, which raise ApiError, run at most every five seconds for all clients together.

    The response holds only the error code; the log has the message, which may contain names of accounts and hosts.
    """

    def __init__(self, lifecycle: Lifecycle, probes: Iterable[Callable[[], Awaitable[None]]]) -> None:
        self._lifecycle = lifecycle
        self._probes = tuple(probes)
        self._problem = ""
        self._started = False
        self._cached_until = 0.0
        self._lock = asyncio.Lock()

    def endpoints(self) -> list[Endpoint]:
        """The routes of the checks."""
        return [
            _endpoint("/healthz", self.healthz),
            _endpoint("/startupz", self.startupz),
            _endpoint("/readyz", self.readyz),
        ]

    def add_metrics(self, metrics: Metrics) -> None:
        """Add the gauge of the readiness."""
        metrics.gauge(
            "mlflow_proxy_ready",
            "1 if the last check of the upstream succeeded.",
            lambda: float(self._started and not self._problem),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Check the readiness every minute during the block; while it fails, a log line each time says why."""
        async with background_task(self._check_periodically()):
            yield

    async def healthz(self, _: RequestContext) -> web.Response:
        """200 while the process runs."""
        return _response({"status": "ok"})

    async def startupz(self, _: RequestContext) -> web.Response:
        """200 from the first successful readiness check until SIGTERM, else 503 with the error code."""
        problem = "" if self._started else await self._current_problem()
        if self._lifecycle.draining:
            problem = _SHUTTING_DOWN
        if problem:
            return _response({"status": "not started", "reason": problem}, 503)
        return _response({"status": "started"})

    async def readyz(self, _: RequestContext) -> web.Response:
        """200 if a request could be served now, else 503 with the error code."""
        problem = _SHUTTING_DOWN if self._lifecycle.draining else await self._current_problem()
        if problem:
            return _response({"status": "not ready", "reason": problem}, 503)
        return _response({"status": "ready"})

    async def _current_problem(self) -> str:
        async with self._lock:
            if time.monotonic() >= self._cached_until:
                await self._check(repeat_log=False)
            return self._problem

    async def _check_periodically(self) -> None:
        while True:
            await asyncio.sleep(_PROBE_INTERVAL)
            try:
                async with self._lock:
                    await self._check(repeat_log=True)
            except Exception:
                log.exception("The readiness check failed", extra={"event": "error"})

    async def _check(self, *, repeat_log: bool) -> None:
        previous, error = self._problem, await self._probe()
        self._problem = error.reason if error else ""
        self._cached_until = time.monotonic() + _CACHED_SECONDS
        if error is not None:
            if repeat_log or error.reason != previous:
                log.warning("Not ready: %s", error.message, extra={"event": "not-ready"})
        elif not self._started:
            self._started = True
            log.info("Ready", extra={"event": "ready"})
        elif previous:
            log.info("Ready again", extra={"event": "ready"})

    async def _probe(self) -> errors.ApiError | None:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                for probe in self._probes:
                    await probe()
        except errors.ApiError as error:
            return error
        except TimeoutError:
            return errors.bad_gateway("MLflow does not respond.", reason="upstream-timeout")
        return None


async def plain_health(_: RequestContext) -> web.Response:
    """200 with the text of MLflow's own ``/health``: OK."""
    return web.Response(text="OK", headers={"Server": "mlflow-proxy"})


def _endpoint(path: str, handler: Handler) -> Endpoint:
    """For this exact path only: each other spelling requires authentication."""
    route = Route("GET", path, "health", Role.PUBLIC, idempotent=True, health_check=True)
    return Endpoint(route, handler, condition=lambda request: request.raw_path == path)


def _response(content: dict[str, str], status: int = 200) -> web.Response:
    return web.json_response(content, status=status, headers={"Server": "mlflow-proxy"})
