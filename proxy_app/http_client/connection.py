"""One HTTP/1.1 connection.

The request head is sent byte for byte as passed (it may be signed), the response body arrives in chunks, and the class
of an error tells whether the server can have received a byte. httptools (llhttp) parses.
"""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

# Bytes of a response that are buffered for a slow reader before reading from the socket pauses. Small, since every
# client that does not read its response makes the proxy hold this, READ_SIZE and as much again on its way out.
_HIGH_WATER = 32 * 1024
READ_SIZE = 64 * 1024
"""Bytes that are read from the socket at once."""
# Of the system, per connection; it counts twice this for its own overhead.
_RECEIVE_BUFFER = 128 * 1024
# The largest response head, interim responses included: the parser itself has no limit.
_HEAD_LIMIT = 1024 * 1024

Body = bytes | AsyncIterator[bytes]


class ClientError(Exception):
    """A request without a complete response. ``attempts`` counts how often the request was sent."""

    attempts = 0


class ConnectError(ClientError):
    """No connection could be made: nothing was sent."""


class ReadError(ClientError):
    """The connection was closed, or the server sent something that is not HTTP, before the response was complete."""


class ReadTimeout(ClientError):
    """Nothing was received, or nothing more could be sent, within the timeout."""


class Response:
    """A response whose head has arrived.

    ``headers`` are (name, value) as sent, in order; ``content_length`` is None if unknown; ``buffered`` counts the
    bytes of the body that have arrived and were not taken; ``to_eof``: the end of the connection ends the body.
    """

    __slots__ = (
        "_chunks",
        "_connection",
        "buffered",
        "complete",
        "content_length",
        "headers",
        "reason",
        "started",
        "status",
        "to_eof",
    )

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self.status = 0
        self.reason = ""
        self.headers: list[tuple[bytes, bytes]] = []
        self.content_length: int | None = None
        self.to_eof = True
        self.buffered = 0
        self.started = False
        self.complete = False

    def header(self, name: bytes) -> str:
        """The first value of the header ``name`` (lower case); empty if there is none."""
        for key, value in self.headers:
            if key.lower() == name:
                return value.decode("utf-8", "replace")
        return ""

    def append(self, chunk: bytes) -> None:
        """Add a part of the body that has arrived."""
        self._chunks.append(chunk)
        self.buffered += len(chunk)

    def take(self) -> bytes:
        """The part of the body that has arrived since the last call; may be empty."""
        taken = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self.buffered = 0
        return taken

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises ReadError or ReadTimeout if it is incomplete."""
        while True:
            if self._chunks:
                chunk = self.take()
                self._connection.resume(self)
                yield chunk
            elif self.complete:
                return
            else:
                await self._connection.progress(self)

    async def read(self) -> bytes:
        """The whole body. Raises ReadError or ReadTimeout if it is incomplete."""
        try:
            return b"".join([chunk async for chunk in self.chunks()])
        finally:
            self.close()

    def close(self) -> None:
        """Discard the rest of the body, by closing the connection if the body is incomplete."""
        if not self.complete:
            self._connection.abort()


class _TlsTransport(Protocol):
    """What the TLS transports of asyncio and uvloop have, and the type of transports lacks."""

    def set_read_buffer_limits(self, high: int) -> None: ...


class Connection(asyncio.BufferedProtocol):
    """A connection for one request at a time.

    ``buffer`` of READ_SIZE bytes receives what is read, until it has been parsed: connections of one event loop share
    it. ``released`` is called with the connection when it can be used for the next request, ``closed`` when it has
    ended. ``deadline`` is when the current wait times out, in the event loop's time; None while nothing is awaited.
    """

    def __init__(
        self,
        buffer: memoryview,
        released: "Callable[[Connection], None]",
        closed: "Callable[[Connection], None]",
    ) -> None:
        self._buffer = buffer
        self._released = released
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        self._response: Response | None = None
        self._failure: ClientError | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._writable = True
        self._reading = True
        # State of the current exchange
        self._timeout = 0.0
        self._head_only = False
        self._head_left = 0
        self._sent = False
        self._sent_whole = False
        self._reusable = False
        # The pool checks it periodically.
        self.deadline: float | None = None
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        """Whether a request can be sent: the connection is open and has not failed."""
        return self._failure is None and self._transport is not None and not self._transport.is_closing()

    async def exchange(
        self, head: bytes, body: Body, *, read_timeout: float, head_only: bool = False, chunked: bool = False
    ) -> Response:
        """Send a request and return its response as soon as the response head has arrived.

        ``head`` ends with the empty line. ``read_timeout`` is the longest wait for the server, in seconds, also between
        two parts of the response body. ``head_only``: the response has no body (HEAD). ``chunked``: send the body with
        chunked transfer coding. Raises ReadError or ReadTimeout.
        """
        response = self._response = Response(self)
        self._timeout = read_timeout
        self._head_only = head_only
        self._head_left = _HEAD_LIMIT
        self._sent = self._reusable = False
        try:
            if isinstance(body, bytes):
                self._write(head + body)
                self._sent_whole = True
            else:
                self._write(head)
                self._sent_whole = await self._send(body, response, chunked=chunked)
            while not response.started:
                await self.progress(response)
        except BaseException:
            self.abort()
            raise
        self._sent = True
        if response.complete:
            self._finish()
        return response

    async def _send(self, body: AsyncIterator[bytes], response: Response, *, chunked: bool) -> bool:
        """Send the body; False if the response arrived first, such as an error: the rest is not sent."""
        async for chunk in body:
            if response.started:
                return False
            self._write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            while not self._writable and not response.started:
                await self.progress(response)
        if chunked:
            self._write(b"0\r\n\r\n")
        return True

    def _write(self, data: bytes) -> None:
        if self._failure is not None or self._transport is None:
            raise self._failure or ReadError("the connection is closed")
        self._transport.write(data)

    async def progress(self, response: Response) -> None:
        """Wait for the next event of the exchange. Raises ReadError or ReadTimeout."""
        if self._failure is None:
            waiting = self._waiting = self._loop.create_future()
            self.deadline = self._loop.time() + self._timeout
            try:
                await waiting
            finally:
                # The last byte releases the connection: by now, another request may be waiting on it.
                if self._waiting is waiting:
                    self._waiting = self.deadline = None
        if self._failure is not None and not response.complete:
            raise self._failure

    def resume(self, response: Response) -> None:
        """Continue reading from the socket after the buffered part of ``response`` has been taken."""
        if not self._reading and response is self._response and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close the connection at once; a pending exchange raises ReadError."""
        self._fail(ReadError("the connection was aborted"))
        if self._transport is not None:
            self._transport.abort()

    def expire(self) -> None:
        """Close the connection after its deadline; the pending exchange raises ReadTimeout."""
        self._fail(ReadTimeout("timed out"))
        self.abort()

    def _fail(self, failure: ClientError) -> None:
        self._failure = self._failure or failure
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _finish(self) -> None:
        """Release the connection: request and response are complete."""
        self._response = None
        if self._reusable and self._sent_whole and self._reading and self.usable:
            self._released(self)
        elif self._transport is not None:
            # Aborted, since the server may never read the rest of the request.
            self._transport.abort()

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport, and limit what is read ahead of the parser."""
        # TCP and TLS give a Transport; those of uvloop are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        # The system would let the buffer of a connection grow to megabytes.
        sock = transport.get_extra_info("socket")
        if transport.get_extra_info("ssl_object") is None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        else:
            # As much again may be in the buffers of TLS, twice.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER // 2)
            cast("_TlsTransport", transport).set_read_buffer_limits(_HIGH_WATER)

    def pause_writing(self) -> None:
        """Stop sending the body: the transport's buffer is full."""
        self._writable = False

    def resume_writing(self) -> None:
        """Continue to send the body."""
        self._writable = True
        self._wake()

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer into which the transport reads next."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse what was read; data without a request, invalid HTTP or a head above 1 MiB ends the connection."""
        data = self._buffer[:nbytes]
        response = self._response
        if response is None:
            self.abort()
            return
        try:
            self._parser.feed_data(data)
            if not response.started:
                self._head_left -= len(data)
                if self._head_left < 0:
                    raise HttpParserError("the response head is too large")
        except (HttpParserError, HttpParserUpgrade) as error:
            self._fail(ReadError(f"not HTTP: {error}"))
            self.abort()
            return
        if response.buffered > _HIGH_WATER and self._reading and not response.complete and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        self._wake()
        if response.complete and self._sent:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the pending exchange; without a length, an orderly close completes the response."""
        response = self._response
        if response is not None and response.started and response.to_eof and exc is None:
            response.complete = True
        self._fail(ReadError("the server closed the connection"))
        self._closed(self)

    # httptools.HttpResponseParser

    def on_message_begin(self) -> None:
        """Reject a second response: HttpParserError."""
        if self._response is not None and self._response.complete:
            raise HttpParserError("more than one response")

    def on_status(self, status: bytes) -> None:
        """Add a part of the reason phrase."""
        if self._response is not None:
            self._response.reason += status.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; trailers, which follow a chunked body, are dropped."""
        if self._response is not None and not self._response.started:
            self._response.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Take status and framing from the head, unless it is an interim response (1xx)."""
        response = self._response
        if response is None:
            return
        response.status = status = self._parser.get_status_code()
        if status < 200:
            return
        response.started = True
        for name, value in response.headers:
            lower = name.lower()
            if lower == b"content-length":
                response.content_length = int(value)
                response.to_eof = False
            elif lower == b"transfer-encoding":
                response.to_eof = False
        if self._head_only:
            response.complete = True  # the parser still expects a body, so the connection is not reused

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        if self._response is not None and not self._head_only:
            self._response.append(body)

    def on_message_complete(self) -> None:
        """Complete the response, or discard an interim one."""
        response = self._response
        if response is None:
            return
        if response.status < 200:
            response.headers.clear()
            response.reason = ""
            return
        response.complete = True
        self._reusable = self._parser.should_keep_alive() and not self._head_only
