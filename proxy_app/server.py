"""Runs the proxy: two listeners, a limit on connections, and an orderly end."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from .app import App, create_app, target_of
from .connections import Connections, new_request
from .credentials import Source
from .observe import Observer
from .setting_values import Address
from .settings import Settings

log = logging.getLogger(__name__)

_BACKLOG = 1024
# What is still under way when the grace period is over gets this long to notice that it has been cut off.
_CUT_OFF = 0.1


class ListenError(Exception):
    """An address cannot be listened on; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A proxy that answers. The addresses are the real ones, where the settings said port 0."""

    app: App
    address: Address
    metrics_address: Address
    connections: Connections
    _server: asyncio.Server

    def drain(self) -> None:
        """Not ready from now on, though requests are still taken; each answer ends its connection."""
        self.app.health.draining = self.app.proxy.draining = True

    async def finish(self) -> None:
        """Take no more connections, and wait for those that there are to end with their requests."""
        self._server.close()
        await self.connections.finish()


@contextlib.asynccontextmanager
async def listening(
    settings: Settings, *, source: Source | None = None, observer: Observer | None = None
) -> AsyncGenerator[Listening]:
    """The proxy answers in this block; at its end requests under way are cut off.

    ``source`` and ``observer`` are as for ``create_app``. Raises ListenError, TargetError, TokenError, StoreError.
    """
    with (
        _bound(settings.listen, "MLFLOW_PROXY_LISTEN") as door,
        _bound(settings.metrics_listen, "MLFLOW_PROXY_METRICS_LISTEN") as side,
    ):
        app = create_app(settings, source=source, observer=observer)
        # A caller that leaves stops the work done for it.
        requests = web.Server(app.handle, request_factory=new_request, handler_cancellation=True)
        metrics = web.AppRunner(app.observer.application(), access_log=None, shutdown_timeout=_CUT_OFF)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(app.observer.stop_waiting)
            await stack.enter_async_context(app.running())
            stack.push_async_callback(requests.shutdown, _CUT_OFF)
            stack.callback(setattr, app.proxy, "cutting_off", True)
            stack.push_async_callback(metrics.cleanup)
            await metrics.setup()
            connections = Connections(settings, requests, app.proxy.refuse_garbled, app.observer.turned_away)
            app.observer.gauge("mlflow_proxy_connections", "Open connections of callers.", lambda: connections.count)
            server = await asyncio.get_running_loop().create_server(connections, sock=door, backlog=_BACKLOG)
            stack.callback(server.close)
            await web.SockSite(metrics, side).start()
            yield Listening(app, _address(door), _address(side), connections, server)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain; another signal cuts each wait short. Raises as ``listening`` does."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with listening(settings) as proxy:
        log.info(
            "%s is served on http://%s; metrics on http://%s/metrics",
            target_of(settings).label,
            proxy.address,
            proxy.metrics_address,
            extra={"event": "start"},
        )
        # What the start made lives to the end: the garbage collector need not look at it again and again.
        gc.freeze()
        await stop.wait()
        log.info("Stopping: not ready from now on", extra={"event": "stop"})
        proxy.drain()
        stop.clear()
        await _first(stop.wait(), within=settings.drain)
        stop.clear()
        await _first(stop.wait(), proxy.finish(), within=settings.grace - settings.drain)
    log.info("Stopped", extra={"event": "stop"})


async def _first(*waits: Coroutine[Any, Any, object], within: float) -> None:
    """Until one of them is over, or for so many seconds."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _bound(address: Address, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        # Here, since uvloop would say nothing of an error: another socket may have the address meanwhile.
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(
            f"{setting}: {address} cannot be listened on: {error.strerror or error}. Give another one."
        ) from error
    return sock


def _address(sock: socket.socket) -> Address:
    host, port, *_ = sock.getsockname()
    return Address(host, port)


def run(settings: Settings, new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    """``serve`` on an event loop of its own, uvloop's where there is one."""
    if new_loop is None:
        with contextlib.suppress(ImportError):
            import uvloop

            new_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve(settings))
