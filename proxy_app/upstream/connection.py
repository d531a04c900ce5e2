"""One HTTP/1.1 connection to the upstream, as its client.

aiohttp's own client does far more than a proxy's hop wants (redirects, cookies, encodings, sessions) and takes 40 % of
the proxy's time for it; see `make bench`. This does the hop alone: the head is sent as it was signed, the answer comes
in pieces, and a failure says whether anything can have reached the upstream. The parsing is httptools' (llhttp).
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

# How much of an answer may wait here for a slow caller before the upstream is made to wait.
_HIGH_WATER = 256 * 1024
# The longest head of an answer, interim ones included: the parser itself has no limit.
_HEAD_LIMIT = 1024 * 1024

Body = bytes | AsyncIterator[bytes]


class UpstreamError(Exception):
    """A request without an answer."""


class Unreachable(UpstreamError):
    """There was no connection: nothing was sent."""


class Broken(UpstreamError):
    """The connection ended, or what came was not HTTP, before the answer was whole."""


class Silent(UpstreamError):
    """Nothing came, or nothing more was taken, for too long."""


class Response:
    """An answer whose head has come. ``headers`` are as sent, in order; ``content_length`` is None if not told."""

    __slots__ = (
        "_connection",
        "_pieces",
        "complete",
        "content_length",
        "headers",
        "held",
        "reason",
        "started",
        "status",
        "to_eof",
    )

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._pieces: deque[bytes] = deque()
        self.status = 0
        self.reason = ""
        self.headers: list[tuple[bytes, bytes]] = []
        self.content_length: int | None = None
        self.to_eof = True
        self.held = 0
        self.started = False
        self.complete = False

    def header(self, name: bytes) -> str:
        """The first value of a header given in lower case; empty if there is none."""
        for key, value in self.headers:
            if key.lower() == name:
                return value.decode("utf-8", "replace")
        return ""

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.held += len(piece)

    def take(self) -> bytes:
        """What has come of the body since the last call."""
        taken = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self.held = 0
        return taken

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Broken or Silent when it stops short."""
        while True:
            if self._pieces:
                piece = self.take()
                self._connection.resume(self)
                yield piece
            elif self.complete:
                return
            else:
                await self._connection.progress(self)

    async def read(self) -> bytes:
        """The whole body."""
        try:
            return b"".join([piece async for piece in self.pieces()])
        finally:
            self.close()

    def close(self) -> None:
        """No more of it is wanted."""
        if not self.complete:
            self._connection.abort()


class Connection(asyncio.Protocol):
    """Carries one exchange at a time.

    ``done`` is called with it when it can carry the next, ``lost`` when it never will.
    """

    def __init__(
        self, timeout: float, done: "Callable[[Connection], None]", lost: "Callable[[Connection], None]"
    ) -> None:
        self._timeout = timeout
        self._done = done
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        self._response: Response | None = None
        self._failure: UpstreamError | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._may_write = True
        self._reading = True
        # Of the exchange under way
        self._head_only = False
        self._head_left = 0
        self._sent = False
        self._sent_whole = False
        self._reusable = False
        # When to give up waiting, in the loop's time; the pool looks at it now and then.
        self.deadline: float | None = None
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        return self._failure is None and self._transport is not None and not self._transport.is_closing()

    async def exchange(self, head: bytes, body: Body, *, head_only: bool = False, chunked: bool = False) -> Response:
        """Send a request; its answer, once the head of it has come. Raises Broken or Silent.

        ``head`` ends with the empty line. ``head_only``: the answer to a HEAD, which has no body. ``chunked``: frame
        the body's pieces as chunks.
        """
        response = self._response = Response(self)
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
        """False if the answer came before all was sent, such as a refusal: the rest is not wanted then."""
        async for piece in body:
            if response.started:
                return False
            self._write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            while not self._may_write and not response.started:
                await self.progress(response)
        if chunked:
            self._write(b"0\r\n\r\n")
        return True

    def _write(self, data: bytes) -> None:
        if self._failure is not None or self._transport is None:
            raise self._failure or Broken("there is no connection any more")
        self._transport.write(data)

    async def progress(self, response: Response) -> None:
        """Wait until something has happened to the exchange. Raises its failure."""
        if self._failure is None:
            waiting = self._waiting = self._loop.create_future()
            self.deadline = self._loop.time() + self._timeout
            try:
                await waiting
            finally:
                # The last byte that has come gives the connection on: somebody else may be waiting on it by now.
                if self._waiting is waiting:
                    self._waiting = self.deadline = None
        if self._failure is not None and not response.complete:
            raise self._failure

    def resume(self, response: Response) -> None:
        """The caller has taken what was held: the upstream may go on."""
        if not self._reading and response is self._response and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    def abort(self) -> None:
        """End the connection at once."""
        self._fail(Broken("the connection was given up"))
        if self._transport is not None:
            self._transport.abort()

    def expire(self) -> None:
        """End it because its deadline has passed."""
        self._fail(Silent("nothing came for too long"))
        self.abort()

    def _fail(self, failure: UpstreamError) -> None:
        self._failure = self._failure or failure
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _finish(self) -> None:
        """The exchange is over in both directions."""
        self._response = None
        if self._reusable and self._sent_whole and self._reading and self.usable:
            self._done(self)
        elif self._transport is not None:
            # Not in order: what is still to be sent is not wanted, and may never be taken.
            self._transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # pyright: ignore[reportAttributeAccessIssue] - TCP and TLS give a Transport

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._wake()

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            self.abort()  # nobody asked
            return
        try:
            self._parser.feed_data(data)
            if not response.started:
                self._head_left -= len(data)
                if self._head_left < 0:
                    raise HttpParserError("a head without end")
        except (HttpParserError, HttpParserUpgrade) as error:
            self._fail(Broken(f"not HTTP: {error}"))
            self.abort()
            return
        if response.held > _HIGH_WATER and self._reading and not response.complete and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        self._wake()
        if response.complete and self._sent:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        response = self._response
        if response is not None and response.started and response.to_eof and exc is None:
            response.complete = True
        self._fail(Broken("the upstream closed the connection"))
        self._lost(self)

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._response is not None and self._response.complete:
            raise HttpParserError("more than one answer")

    def on_status(self, status: bytes) -> None:
        if self._response is not None:
            # It may come in parts.
            self._response.reason += status.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        # Behind a chunked body come trailers, which are no headers.
        if self._response is not None and not self._response.started:
            self._response.headers.append((name, value))

    def on_headers_complete(self) -> None:
        response = self._response
        if response is None:
            return
        response.status = status = self._parser.get_status_code()
        if status < 200:
            return  # interim: the answer is still to come
        response.started = True
        for name, value in response.headers:
            lower = name.lower()
            if lower == b"content-length":
                response.content_length = int(value)
                response.to_eof = False
            elif lower == b"transfer-encoding":
                response.to_eof = False
        if self._head_only:
            response.complete = True  # the parser cannot be told, so this connection ends here

    def on_body(self, body: bytes) -> None:
        if self._response is not None and not self._head_only:
            self._response.add(body)

    def on_message_complete(self) -> None:
        response = self._response
        if response is None:
            return
        if response.status < 200:
            response.headers.clear()
            response.reason = ""
            return
        response.complete = True
        self._reusable = self._parser.should_keep_alive() and not self._head_only
