"""Client connections: their number, their limits, and the response to bytes that are not a request."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong

from . import aiohttp_internals as internals
from . import errors
from .settings import Settings

log = logging.getLogger(__name__)

_LINGER = 10.0
_POLL_INTERVAL = 0.05
_READ_AHEAD = 16 * 1024
# A request head may be this many times as long as its longest line.
_LONGEST_LINES = 2
# Set on a request whose client stopped reading the response.
WRITE_TIMEOUT = web.RequestKey("write-timeout", bool)


class RejectRequest(Protocol):
    """Makes the response to bytes that are not a request; ``too_long``: a line or header exceeds the limit."""

    def __call__(self, *, too_long: bool) -> web.Response: ...


class Connections:
    """The protocol factory of the server: one aiohttp protocol a connection, up to a limit.

    ``reject`` makes the response to bytes that are not a request; ``limit_reached`` is called for each connection above
    the limit.
    """

    def __init__(
        self,
        settings: Settings,
        server: web.Server,
        reject: RejectRequest,
        limit_reached: Callable[[], None],
    ) -> None:
        self._server = server
        self._limit_reached = limit_reached
        self._limit = settings.max_connections
        self._reject = reject
        self._write_timeout = settings.body_timeout
        self._options: dict[str, Any] = {
            # Bodies are passed on as they are.
            "auto_decompress": False,
            "access_log": None,
            "keepalive_timeout": settings.keepalive,
            # The rest of a body whose request has been answered is read for this long: a reset would lose the response.
            "lingering_time": min(_LINGER, settings.body_timeout),
            # What a client may send before it is read; many wait for the body budget.
            "read_bufsize": _READ_AHEAD,
            "max_line_size": settings.header_limit,
            "max_field_size": settings.header_limit,
        }
        self._open: set[_Connection] = set()

    @property
    def count(self) -> int:
        """Open connections."""
        return len(self._open)

    def __call__(self) -> asyncio.Protocol:
        if self.count >= self._limit:
            self._limit_reached()
            return _LimitReached()
        connection = _Connection(
            self._server,
            self._reject,
            self._write_timeout,
            self._open.discard,
            asyncio.get_running_loop(),
            self._options,
        )
        self._open.add(connection)
        return connection

    async def close_idle(self) -> None:
        """Close each connection once it carries no request; returns when none is left."""
        while self._open:
            for connection in list(self._open):
                connection.close_if_idle()
            await asyncio.sleep(_POLL_INTERVAL)


def new_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """A request as aiohttp makes it; a chunked one is the last on its connection.

    aiohttp's parser (3.14.5) takes the last trailer of a chunked body for the first header of the next request, which
    may be another client's: load balancers share their connections.
    """
    if message.chunked:
        message = message._replace(should_close=True)
    return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())


class _Connection(web.RequestHandler):
    """aiohttp's protocol of a connection, with the proxy's limits and error responses."""

    __slots__ = ("_body", "_closed", "_head_left", "_head_limit", "_reject", "_write_timeout", "_write_timer")

    def __init__(
        self,
        server: web.Server,
        reject: RejectRequest,
        write_timeout: float,
        closed: "Callable[[_Connection], None]",
        loop: asyncio.AbstractEventLoop,
        options: dict[str, Any],
    ) -> None:
        super().__init__(server, loop=loop, **options)
        self._reject = reject
        self._write_timeout = write_timeout
        self._closed = closed
        self._write_timer: asyncio.TimerHandle | None = None
        # aiohttp limits each line of a head only, and would take more than a hundred of the longest.
        self._head_limit = self._head_left = _LONGEST_LINES * int(options["max_field_size"])
        self._body: StreamReader | None = None

    def data_received(self, data: bytes) -> None:
        heads = internals.request_count(self)
        super().data_received(data)
        if internals.request_count(self) != heads:
            self._head_left = self._head_limit
            self._body = internals.newest_body(self)
        elif self._body is None or self._body.is_eof():
            self._head_left -= len(data)
            if self._head_left < 0 and not internals.is_closing(self):
                # While another request is being handled, this would be read as its response.
                if self.transport is not None and not internals.has_work(self):
                    self.transport.write(_serialized(self._reject(too_long=True)))
                self.force_close()

    def close_if_idle(self) -> None:
        if internals.waits_for_request(self):
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)
        self._closed(self)

    # aiohttp waits without a limit for a client to read the rest of a response.

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = asyncio.get_running_loop().call_later(self._write_timeout, self._abort)

    def resume_writing(self) -> None:
        self._stop_timer()
        super().resume_writing()

    def _stop_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _abort(self) -> None:
        if (request := internals.current_request(self)) is not None:
            request[WRITE_TIMEOUT] = True
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Replaces aiohttp's, whose response and log repeat what the client sent: that may hold a secret."""
        if request.writer.output_size > 0:
            raise ConnectionError("A part of another response has been sent")
        if status == 400:
            return self._reject(too_long=isinstance(exc, LineTooLong))
        log.error("Internal error", exc_info=exc, extra={"event": "error"})
        return errors.internal_error().response()


def _serialized(response: web.Response) -> bytes:
    """The response to bytes that did not become a request; it is the last on its connection."""
    body = cast("bytes", response.body)
    lines = [f"HTTP/1.1 {response.status} {response.reason}", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name != "Connection"]
    return "\r\n".join([*lines, "", ""]).encode() + body


_LIMIT_REACHED = _serialized(
    errors.unavailable(
        "The proxy has reached its limit of connections (MLFLOW_PROXY_MAX_CONNECTIONS).",
        reason="too-many-connections",
        retry_after=1,
    ).response()
)


class _LimitReached(asyncio.Protocol):
    """Closes a connection at once, with an error response."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        stream = cast("asyncio.Transport", transport)
        stream.write(_LIMIT_REACHED)
        stream.close()
