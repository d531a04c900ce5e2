"""Callers' connections: how many there may be, what ends them, and what is said to bytes that are no request."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from . import errors
from .settings import Settings

log = logging.getLogger(__name__)

_LINGER = 10.0
_LOOK_AGAIN = 0.05
_READ_AHEAD = 16 * 1024
# Set in a request whose caller took nothing of the answer for too long.
SLOW = web.RequestKey("slow", bool)
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class RefuseGarbled(Protocol):
    """Makes the answer to bytes that are no request."""

    def __call__(self, *, too_long: bool) -> web.Response: ...


class Connections:
    """Makes aiohttp's protocol for each connection, up to a limit."""

    def __init__(self, settings: Settings, server: web.Server, refuse_garbled: RefuseGarbled) -> None:
        self._server = server
        self._limit = settings.max_connections
        self._refuse_garbled = refuse_garbled
        self._stall_limit = settings.body_timeout
        self._options: dict[str, Any] = {
            # Bodies pass as they are.
            "auto_decompress": False,
            "access_log": None,
            "keepalive_timeout": settings.keepalive,
            # The rest of a body whose request has been answered is read so long, or a reset would eat the answer.
            "lingering_time": min(_LINGER, settings.body_timeout),
            # What a caller may send ahead of its being read; many wait for the body budget.
            "read_bufsize": _READ_AHEAD,
            "max_line_size": settings.header_limit,
            "max_field_size": settings.header_limit,
        }
        self._open: set[_Connection] = set()

    @property
    def count(self) -> int:
        return len(self._open)

    def __call__(self) -> asyncio.Protocol:
        if self.count >= self._limit:
            return _Full()
        connection = _Connection(
            self._server,
            self._refuse_garbled,
            self._stall_limit,
            self._open.discard,
            asyncio.get_running_loop(),
            self._options,
        )
        self._open.add(connection)
        return connection

    async def finish(self) -> None:
        """End each connection once it carries no request; over when there is none any more."""
        while self._open:
            for connection in list(self._open):
                connection.close_if_idle()
            await asyncio.sleep(_LOOK_AGAIN)


class _Connection(web.RequestHandler):
    """aiohttp's side of a connection, with the gate's own words and limits."""

    __slots__ = ("_closed", "_refuse_garbled", "_stall_limit", "_stalled")

    def __init__(
        self,
        server: web.Server,
        refuse_garbled: RefuseGarbled,
        stall_limit: float,
        closed: "Callable[[_Connection], None]",
        loop: asyncio.AbstractEventLoop,
        options: dict[str, Any],
    ) -> None:
        super().__init__(server, loop=loop, **options)
        self._refuse_garbled = refuse_garbled
        self._stall_limit = stall_limit
        self._closed = closed
        self._stalled: asyncio.TimerHandle | None = None

    def close_if_idle(self) -> None:
        # It waits for a request: aiohttp's own way to know it, when it ends connections that are idle for too long.
        if self._waiter is not None and not self._waiter.done():
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._unwatch()
        super().connection_lost(exc)
        self._closed(self)

    # aiohttp waits without end for a caller to take the rest of an answer.

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self._loop.call_later(self._stall_limit, self._cut_off)

    def resume_writing(self) -> None:
        self._unwatch()
        super().resume_writing()

    def _unwatch(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _cut_off(self) -> None:
        if self._current_request is not None:
            self._current_request[SLOW] = True
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """In aiohttp's place, whose answer and log repeat what the caller sent: that may hold a secret."""
        if request.writer.output_size > 0:
            raise ConnectionError("A part of another answer has been sent")
        if status == 400:
            return self._refuse_garbled(too_long=isinstance(exc, LineTooLong))
        log.error("A fault in the gate", exc_info=exc, extra={"event": "fault"})
        return errors.fault().response()


class _Full(asyncio.Protocol):
    """Closes a connection at once, with a word for whoever reads it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        stream = cast("asyncio.Transport", transport)
        stream.write(_FULL)
        stream.close()
