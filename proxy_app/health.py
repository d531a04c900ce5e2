"""``/healthz``: the process runs. ``/readyz``: it could answer a request now."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from . import errors

log = logging.getLogger(__name__)

_KEPT_FOR = 5.0
# A load balancer's own patience is about this.
_PROBE_TIMEOUT = 4.0


class Health:
    """Calls the probes (which raise Refusal when all is not well) at most every few seconds, however many ask here.

    Whoever asks learns one word; the log has the sentence, which may name accounts and hosts.
    """

    def __init__(self, *probes: Callable[[], Awaitable[None]]) -> None:
        self._probes = probes
        self._known = ""
        self._known_until = 0.0
        self._asking = asyncio.Lock()
        self.draining = False

    async def healthz(self) -> web.Response:
        return _answer({"status": "ok"})

    async def in_mlflows_words(self) -> web.Response:
        """What ``healthz`` says, as MLflow's own ``/health`` says it."""
        return web.Response(text="OK", headers={"Server": "mlflow-proxy"})

    async def readyz(self) -> web.Response:
        problem = "stopping" if self.draining else await self._current()
        if problem:
            return _answer({"status": "not ready", "reason": problem}, 503)
        return _answer({"status": "ready"})

    async def _current(self) -> str:
        async with self._asking:
            if time.monotonic() >= self._known_until:
                self._known = await self._ask()
                self._known_until = time.monotonic() + _KEPT_FOR
            return self._known

    async def _ask(self) -> str:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                for probe in self._probes:
                    await probe()
        except (errors.Refusal, TimeoutError) as error:
            silent = errors.bad_gateway("MLflow does not answer.", reason="upstream-silent")
            refusal = silent if isinstance(error, TimeoutError) else error
            if refusal.reason != self._known:
                log.warning("Not ready: %s", refusal.message, extra={"event": "ready"})
            return refusal.reason
        if self._known:
            log.info("Ready again", extra={"event": "ready"})
        return ""


def _answer(said: dict[str, str], status: int = 200) -> web.Response:
    return web.json_response(said, status=status, headers={"Server": "mlflow-proxy"})
