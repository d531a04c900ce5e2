"""Runs the proxy: two listeners, a limit on connections, and graceful shutdown."""

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

from .access_log import AccessLog
from .app import NO_EXTENSIONS, App, Extensions, create_app, target_of
from .connections import Connections, new_request
from .credentials import Source
from .setting_values import Address
from .settings import Settings

log = logging.getLogger(__name__)

_BACKLOG = 1024
# Bytes of responses that the system takes for a connection beyond what is on the network.
_UNSENT = 64 * 1024
# Seconds that requests have to end after they are aborted at the end of the grace period.
_ABORT = 0.1


class ListenError(Exception):
    """The proxy cannot listen on an address; the message names the setting, the address and the reason."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running proxy. ``address`` and ``metrics_address`` hold the actual ports where the settings have port 0."""

    app: App
    address: Address
    metrics_address: Address
    connections: Connections
    _server: asyncio.Server

    def drain(self) -> None:
        """Fail the readiness check from now on. Requests are still accepted; each response closes its connection."""
        self.app.lifecycle.draining = True

    async def finish(self) -> None:
        """Accept no more connections, and return when the open ones have finished their requests and are closed."""
        self._server.close()
        await self.connections.close_idle()


@contextlib.asynccontextmanager
async def running_server(
    settings: Settings,
    *,
    source: Source | None = None,
    access_log: AccessLog | None = None,
    extensions: Extensions = NO_EXTENSIONS,
) -> AsyncGenerator[Server]:
    """Serve requests in this block; at its end, requests that still run are aborted.

    ``source``, ``access_log`` and ``extensions`` are as for ``create_app``. Raises ListenError, SettingsError,
    TargetError, TokenError or StoreError.
    """
    with (
        _bound(settings.listen, "MLFLOW_PROXY_LISTEN") as listener,
        _bound(settings.metrics_listen, "MLFLOW_PROXY_METRICS_LISTEN") as metrics_listener,
    ):
        app = create_app(settings, source=source, access_log=access_log, extensions=extensions)
        # A client that disconnects cancels its request.
        requests = web.Server(app.proxy.handle, request_factory=new_request, handler_cancellation=True)
        metrics = web.AppRunner(app.metrics.application(), access_log=None, shutdown_timeout=_ABORT)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(app.access_log.write_through)
            await stack.enter_async_context(app.running())
            stack.push_async_callback(requests.shutdown, _ABORT)
            stack.callback(setattr, app.lifecycle, "stopping", True)
            stack.push_async_callback(metrics.cleanup)
            await metrics.setup()
            connections = Connections(
                settings, requests, app.proxy.reject, lambda: app.metrics.count_error("too-many-connections")
            )
            app.metrics.gauge("mlflow_proxy_connections", "Open client connections.", lambda: connections.count)
            server = await asyncio.get_running_loop().create_server(connections, sock=listener, backlog=_BACKLOG)
            stack.callback(server.close)
            await web.SockSite(metrics, metrics_listener).start()
            yield Server(app, _address(listener), _address(metrics_listener), connections, server)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain; another signal skips a wait. Raises as ``running_server`` does."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running_server(settings) as proxy:
        log.info(
            "Serving %s on http://%s; metrics on http://%s/metrics",
            target_of(settings).label,
            proxy.address,
            proxy.metrics_address,
            extra={"event": "start"},
        )
        # The objects of the start exist until the end: the garbage collector need not scan them.
        gc.freeze()
        await stop.wait()
        log.info("Stopping: not ready, draining requests", extra={"event": "stop"})
        proxy.drain()
        stop.clear()
        await _first(stop.wait(), within=settings.drain)
        stop.clear()
        await _first(stop.wait(), proxy.finish(), within=settings.grace - settings.drain)
    log.info("Stopped", extra={"event": "stop"})


async def _first(*waits: Coroutine[Any, Any, object], within: float) -> None:
    """Wait until one of them returns, or for ``within`` seconds, and cancel the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _bound(address: Address, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. Without it, the system would take megabytes for each client that does not read.
    with contextlib.suppress(AttributeError):  # not on every system
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
    try:
        sock.bind(address)
        # Here, since uvloop reports no error: another socket may have taken the address meanwhile.
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(
            f"{setting}: cannot listen on {address}: {error.strerror or error}. Set another address."
        ) from error
    return sock


def _address(sock: socket.socket) -> Address:
    host, port, *_ = sock.getsockname()
    return Address(host, port)


def run(settings: Settings, new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    """Run ``serve`` on a new event loop: that of ``new_loop``, or uvloop's if uvloop is installed, or asyncio's."""
    if new_loop is None:
        with contextlib.suppress(ImportError):
            import uvloop

            new_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve(settings))
