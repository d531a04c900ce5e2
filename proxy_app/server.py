"""Runs the gate: two listeners, a limit on connections, and an orderly end."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable

from aiohttp import web

from .app import GATE, HEALTH, OBSERVER, create_app, target_of
from .settings import Address, Settings

log = logging.getLogger(__name__)

_BACKLOG = 1024
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class ListenError(Exception):
    """An address cannot be listened on; the message says which and why."""


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises ListenError, TargetError, TokenError, StoreError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    listening = _bound(settings.listen, "GATE_LISTEN")
    metrics_listening = _bound(settings.metrics_listen, "GATE_METRICS_LISTEN")
    app = create_app(settings)
    runner = web.AppRunner(
        app,
        access_log=None,
        # A caller that leaves stops the work done for it.
        handler_cancellation=True,
        # Bodies pass as they are.
        auto_decompress=False,
        keepalive_timeout=settings.keepalive,
        max_line_size=settings.header_limit,
        max_field_size=settings.header_limit,
        shutdown_timeout=settings.grace - settings.drain,
    )
    metrics = web.AppRunner(app[OBSERVER].application(), access_log=None)
    await runner.setup()
    await metrics.setup()
    connections = _Connections(runner, settings.max_connections)
    app[OBSERVER].gauge("gate_connections", "Open connections of callers.", lambda: connections.count)
    server = await loop.create_server(connections, sock=listening, backlog=_BACKLOG)
    await web.SockSite(metrics, metrics_listening).start()
    log.info(
        "%s is served on http://%s; metrics on http://%s/metrics",
        target_of(settings).label,
        settings.listen,
        settings.metrics_listen,
        extra={"event": "start"},
    )
    try:
        await stop.wait()
        log.info("Stopping: not ready from now on", extra={"event": "stop"})
        app[HEALTH].draining = app[GATE].draining = True
        stop.clear()
        with contextlib.suppress(TimeoutError):
            # A second signal ends the wait.
            await asyncio.wait_for(stop.wait(), settings.drain)
    finally:
        server.close()
        await runner.cleanup()
        await metrics.cleanup()
        log.info("Stopped", extra={"event": "stop"})


class _Connections:
    """Makes aiohttp's protocol for each connection, up to a limit."""

    def __init__(self, runner: web.AppRunner, limit: int) -> None:
        self._runner = runner
        self._limit = limit

    @property
    def count(self) -> int:
        server = self._runner.server
        return len(server.connections) if server else 0

    def __call__(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is None or self.count >= self._limit:
            return _Full()
        return server()


class _Full(asyncio.Protocol):
    """Closes a connection at once, with a word for whoever reads it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            transport.close()


def _bound(address: Address, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise ListenError(f"{setting}: {address} cannot be listened on: {error.strerror or error}.") from error
    return sock


def run(settings: Settings, new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    """``serve`` on an event loop of its own, uvloop's where there is one."""
    if new_loop is None:
        with contextlib.suppress(ImportError):
            import uvloop

            new_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve(settings))
