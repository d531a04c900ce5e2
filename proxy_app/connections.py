"""Callers' connections: how many there may be, what ends them, and what is said to bytes that are no request."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong

from . import errors
from .settings import Settings

log = logging.getLogger(__name__)

_LINGER = 10.0
_LOOK_AGAIN = 0.05
_READ_AHEAD = 16 * 1024
# As many lines of the greatest length may a head have.
_LONGEST_LINES = 2
# Set in a request whose caller took nothing of the answer for too long.
SLOW = web.RequestKey("slow", bool)


class RefuseGarbled(Protocol):
    """Makes the answer to bytes that are no request."""

    def __call__(self, *, too_long: bool) -> web.Response: ...


class Connections:
    """Makes aiohttp's protocol for each connection, up to a limit."""

    def __init__(
        self,
        settings: Settings,
        server: web.Server,
        refuse_garbled: RefuseGarbled,
        turned_away: Callable[[], None],
    ) -> None:
        self._server = server
        self._turned_away = turned_away
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
            self._turned_away()
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


def new_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """A request, as aiohttp makes it; a chunked one is its connection's last.

    aiohttp's parser (3.14.5) takes a chunked body's last trailer for the first header of the next request, which may be
    another caller's: load balancers share their connections.
    """
    if message.chunked:
        message = message._replace(should_close=True)
    return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())


class _Connection(web.RequestHandler):
    """aiohttp's side of a connection, with the proxy's own words and limits."""

    __slots__ = ("_body", "_closed", "_head_left", "_head_limit", "_refuse_garbled", "_stall_limit", "_stalled")

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
        # aiohttp limits each line of a head, and would take over a hundred of the longest.
        self._head_limit = self._head_left = _LONGEST_LINES * int(options["max_field_size"])
        self._body: StreamReader | None = None

    def data_received(self, data: bytes) -> None:
        heads = self._request_count
        super().data_received(data)
        if self._request_count != heads:
            self._head_left = self._head_limit
            self._body = self._messages[-1][1] if self._messages else None
        elif self._body is None or self._body.is_eof():
            self._head_left -= len(data)
            if self._head_left < 0 and not self._force_close:
                # While another request is under way, this would be read as its answer.
                if self.transport is not None and self._current_request is None and not self._messages:
                    self.transport.write(_spelt_out(self._refuse_garbled(too_long=True)))
                self.force_close()

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
        log.error("A fault in the proxy", exc_info=exc, extra={"event": "fault"})
        return errors.fault().response()


def _spelt_out(response: web.Response) -> bytes:
    """An answer to what never became a request, and the last on its connection."""
    body = cast("bytes", response.body)
    lines = [f"HTTP/1.1 {response.status} {response.reason}", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name != "Connection"]
    return "\r\n".join([*lines, "", ""]).encode() + body


_FULL = _spelt_out(
    errors.unavailable(
        "The proxy has as many connections as it takes (MLFLOW_PROXY_MAX_CONNECTIONS).",
        reason="too-many-connections",
        retry_after=1,
    ).response()
)


class _Full(asyncio.Protocol):
    """Closes a connection at once, with a word for whoever reads it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        stream = cast("asyncio.Transport", transport)
        stream.write(_FULL)
        stream.close()
