"""Client connections: their number, their limits, and the response to bytes that are not a request."""

import array
import asyncio
import contextlib
import fcntl
import logging
import termios
from collections.abc import Callable
from typing import Any, Protocol, cast

from aiohttp import HttpVersion10, HttpVersion11, StreamReader, web
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
# Bytes of a response that wait for a slow client before its request waits, too: a finished request holds no more.
_WRITE_AHEAD = 16 * 1024
# A request head may be this many times as long as its longest line.
_LONGEST_LINES = 2
# How often a client's progress is checked within its time-out.
_WRITE_CHECKS = 4
_VERSIONS = frozenset({HttpVersion10, HttpVersion11})
# Set on a request whose client stopped reading the response.
WRITE_TIMEOUT = web.RequestKey("write-timeout", bool)


class RejectRequest(Protocol):
    """Makes the response to bytes that are not a request; ``too_long``: a line or header exceeds the limit."""

    def __call__(self, *, too_long: bool) -> web.Response:
        """The response; it closes the connection."""
        ...


class Connections:
    """The protocol factory of the server: one aiohttp protocol for each connection, up to ``max_connections``.

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
            # Bodies are forwarded unchanged.
            "auto_decompress": False,
            "access_log": None,
            "keepalive_timeout": settings.keepalive,
            # After the response, the rest of a request body is read for this long: a reset would lose the response.
            "lingering_time": min(_LINGER, settings.body_timeout),
            # Bytes buffered for a request that is not read yet; many requests may wait for the body budget.
            "read_bufsize": _READ_AHEAD,
            "max_line_size": settings.header_limit,
            "max_field_size": settings.header_limit,
        }
        self._open: set[_Connection] = set()

    @property
    def count(self) -> int:
        """The number of open connections."""
        return len(self._open)

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
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
        """Close each connection as soon as it has no request; returns when all are closed."""
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
    """The factory of aiohttp's requests; one that is chunked, for another protocol or version is the connection's last.

    aiohttp's parser (3.14.5) takes the last trailer of a chunked body for the first header of the next request, which
    may be another client's: load balancers share their connections. After a request with ``Upgrade``, it may lose the
    head of the next one, whose body would then be read as a request.
    """
    if message.chunked or message.upgrade:
        message = message._replace(should_close=True)
    if message.version not in _VERSIONS:
        # aiohttp accepts HTTP/0.9 and HTTP/2.0 in a request line, and would repeat them in the response.
        message = message._replace(version=HttpVersion10, should_close=True)
    return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())


class _Connection(web.RequestHandler):
    """aiohttp's protocol of one connection, with the proxy's limits and error responses."""

    __slots__ = (
        "_body",
        "_checks",
        "_closed",
        "_head_left",
        "_head_limit",
        "_heads",
        "_reject",
        "_unread",
        "_write_timeout",
        "_write_timer",
    )

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
        self._unread = 0
        # How often in succession the client had read nothing.
        self._checks = 0
        # aiohttp limits each line of a head only, and accepts more than a hundred lines of that length.
        self._head_limit = self._head_left = _LONGEST_LINES * int(options["max_field_size"])
        self._body: StreamReader | None = None
        self._heads = 0

    def data_received(self, data: bytes) -> None:
        """Parse ``data``; reject and close the connection if a request head exceeds its limit."""
        super().data_received(data)
        heads = internals.request_count(self)
        if heads != self._heads:
            self._heads = heads
            if self._body is not None and not self._body.is_eof() and internals.newest_is_invalid(self):
                # aiohttp (3.14.5) queues the error behind this request, whose handler would wait for the body.
                self._body.set_exception(web.RequestPayloadError("its chunks are malformed"))
            self._head_left = self._head_limit
            self._body = internals.newest_body(self)
        elif self._body is None or self._body.is_eof():
            self._head_left -= len(data)
            if self._head_left < 0 and not internals.is_closing(self):
                # While another request is being handled, the client would read this as the response to it.
                if self.transport is not None and not internals.has_work(self):
                    self.transport.write(_serialized(self._reject(too_long=True)))
                self.force_close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Limit what is buffered for a client that does not read."""
        super().connection_made(transport)
        cast("asyncio.Transport", transport).set_write_buffer_limits(_WRITE_AHEAD)

    def close_if_idle(self) -> None:
        """Close the connection if it has no request."""
        if internals.waits_for_request(self):
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the write timer, and report the end of the connection to Connections."""
        self._stop_timer()
        super().connection_lost(exc)
        self._closed(self)

    def pause_writing(self) -> None:
        """Start the write timer: aiohttp waits without a limit for a client to read the rest of a response."""
        super().pause_writing()
        self._unread, self._checks = self._unread_bytes(), 0
        self._start_timer()

    def resume_writing(self) -> None:
        """Stop the write timer: the client has read enough of the response."""
        self._stop_timer()
        super().resume_writing()

    def _start_timer(self) -> None:
        interval = self._write_timeout / _WRITE_CHECKS
        self._write_timer = asyncio.get_running_loop().call_later(interval, self._check_progress)

    def _stop_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _check_progress(self) -> None:
        unread = self._unread_bytes()
        self._checks = 0 if unread < self._unread else self._checks + 1
        self._unread = unread
        if self._checks < _WRITE_CHECKS:
            self._start_timer()
        else:
            self._abort()

    def _unread_bytes(self) -> int:
        """Bytes that the client has not acknowledged: a slow client reads for minutes before the buffer resumes."""
        if self.transport is None:
            return 0
        queued = array.array("i", [0])
        with contextlib.suppress(OSError, ValueError):
            fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, queued)
        return self.transport.get_write_buffer_size() + queued[0]

    def _abort(self) -> None:
        if (request := internals.current_request(self)) is not None:
            request[WRITE_TIMEOUT] = True
        if self.transport is not None:
            self.transport.abort()

    def log_exception(self, *args: Any, **options: Any) -> None:
        """Log an exception, except that the rest of a body is malformed which a handler left unread."""
        if not isinstance(options.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **options)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Replace aiohttp's error response and log line, which repeat what the client sent and so may contain a secret.

        Raises ConnectionError if a part of another response has been sent.
        """
        if request.writer.output_size > 0:
            raise ConnectionError("A part of another response has been sent")
        if status == 400:
            return self._reject(too_long=isinstance(exc, LineTooLong))
        log.error("Internal error", exc_info=exc, extra={"event": "error"})
        return errors.internal_error().response()


def _serialized(response: web.Response) -> bytes:
    """The bytes of a response that closes its connection, for a client without a valid request."""
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
    """The protocol of a connection above the limit: sends an error response and closes it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send 503 and close the connection."""
        # uvloop's transports are no subclasses of asyncio's.
        stream = cast("asyncio.Transport", transport)
        stream.write(_LIMIT_REACHED)
        stream.close()
