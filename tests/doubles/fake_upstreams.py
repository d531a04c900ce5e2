"""Upstreams with one behaviour each, over real sockets and raw bytes, so that a test sees exactly what is sent.

    async with FakeUpstream.running(respond_with(OK)) as upstream: ...

A behaviour is a coroutine function of one UpstreamConnection; the connection is closed when it returns.
"""

import asyncio
import contextlib
import dataclasses
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import cast

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
# More than the buffers of the sockets and of the proxy can hold.
ENDLESS = 1 << 40
_CHUNK = b"x" * 65536


@dataclasses.dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as received: `head` includes the empty line, `body` is without its framing."""

    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode()

    @property
    def headers(self) -> list[tuple[str, str]]:
        """(lower-case name, value) pairs, in order."""
        pairs = [line.partition(": ") for line in self.head.decode("latin-1").split("\r\n")[1:-2]]
        return [(name.lower(), value) for name, _, value in pairs]

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)


class UpstreamConnection:
    """The upstream's end of a connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fake_upstream: "FakeUpstream"
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.fake_upstream = fake_upstream

    async def head(self) -> bytes:
        """Read the head of the next request. Raises IncompleteReadError if the connection ends first."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.fake_upstream.heads.append(head)
        return head

    async def read_request(self) -> ReceivedRequest:
        """Read the next request, with its body."""
        head = await self.head()
        received = ReceivedRequest(head, await self.body(ReceivedRequest(head, b"")))
        self.fake_upstream.requests.append(received)
        return received

    async def body(self, received: ReceivedRequest) -> bytes:
        if received.header("transfer-encoding") == "chunked":
            return b"".join([chunk async for chunk in self.chunks()])
        return await self.reader.readexactly(int(received.header("content-length") or 0))

    async def chunks(self) -> AsyncGenerator[bytes]:
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the proxy closes the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def stop_reading(self) -> None:
        """Stop reading, so that the sockets' buffers fill."""
        cast("asyncio.Transport", self.writer.transport).pause_reading()

    def reset(self) -> None:
        """Close the connection with RST, as after a crash."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour = Callable[[UpstreamConnection], Awaitable[None]]


class FakeUpstream:
    """A server with a behaviour. `requests` and `heads` are those received; `open` counts the open connections."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._tasks: set[asyncio.Task[None]] = set()
        self.origin = ""
        self.port = 0
        self.connections = 0
        self.open = 0
        self.heads: list[bytes] = []
        self.requests: list[ReceivedRequest] = []
        # Body bytes of an endless response that were sent, or of a request that were received.
        self.moved = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, behaviour: Behaviour, *, tls: ssl.SSLContext | None = None, buffer: int = 0
    ) -> AsyncGenerator["FakeUpstream"]:
        """Serve on a free loopback port. `buffer`: the size of the sockets' buffers in bytes; 0: the default."""
        fake_upstream = cls(behaviour)
        listener = socket.create_server(("127.0.0.1", 0))
        # asyncio sets it only on sockets with an explicit protocol.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        fake_upstream.port = listener.getsockname()[1]
        fake_upstream.origin = f"{'https' if tls else 'http'}://localhost:{fake_upstream.port}"
        server = await asyncio.start_server(fake_upstream._handle, sock=listener, ssl=tls, limit=1 << 20)
        try:
            yield fake_upstream
        finally:
            server.close()
            for task in list(fake_upstream._tasks):
                task.cancel()
            await asyncio.gather(*fake_upstream._tasks, return_exceptions=True)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open += 1
        # The proxy may close the connection at any time, and the end of the test cancels this task.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await self._behaviour(UpstreamConnection(reader, writer, self))
        self.open -= 1
        writer.close()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()


# --- Behaviours


def respond_with(*responses: bytes) -> Behaviour:
    """Send the responses in order, one per request, across all connections; repeat the last one."""
    left = list(responses)

    async def behave(connection: UpstreamConnection) -> None:
        while True:
            await connection.read_request()
            await connection.send(left.pop(0) if len(left) > 1 else left[0])

    return behave


def respond_then_stall(response: bytes) -> Behaviour:
    """Respond to the first request of each connection; read the second and wait until the proxy closes it."""

    async def behave(connection: UpstreamConnection) -> None:
        await connection.read_request()
        await connection.send(response)
        await connection.read_request()
        await connection.gone()

    return behave


def respond_by(response: Callable[[ReceivedRequest], bytes]) -> Behaviour:
    """Respond to each request with the function's result."""

    async def behave(connection: UpstreamConnection) -> None:
        while True:
            await connection.send(response(await connection.read_request()))

    return behave


def respond_in_chunks(chunks: Sequence[bytes]) -> Behaviour:
    """Send the response in these chunks, far enough apart for the proxy to read each one separately."""

    async def behave(connection: UpstreamConnection) -> None:
        while True:
            await connection.read_request()
            for chunk in tuple(chunks):
                await connection.send(chunk)
                # The proxy runs in the same event loop, and reads the chunk within two iterations.
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    return behave


def respond_then_close(response: bytes) -> Behaviour:
    """Respond to one request, then close the connection with FIN."""

    async def behave(connection: UpstreamConnection) -> None:
        await connection.read_request()
        await connection.send(response)

    return behave


def break_connection(part: bytes = b"", *, times: int = 1 << 30, reset: bool = False, then: bytes = OK) -> Behaviour:
    """Send a part of a response and close the connection, `times` times; respond with `then` after that."""
    left = times

    async def behave(connection: UpstreamConnection) -> None:
        nonlocal left
        while True:
            await connection.read_request()
            if left == 0:
                await connection.send(then)
                continue
            left -= 1
            if part:
                await connection.send(part)
            if reset:
                connection.reset()
            return

    return behave


async def close_at_once(_: UpstreamConnection) -> None:
    """Close each connection before reading a request."""


def stall(part: bytes = b"") -> Behaviour:
    """Read a request, send a part of a response or nothing, and wait until the proxy closes the connection."""

    async def behave(connection: UpstreamConnection) -> None:
        await connection.read_request()
        if part:
            await connection.send(part)
        await connection.gone()

    return behave


async def read_nothing(connection: UpstreamConnection) -> None:
    """Read the head of a request and nothing more; never respond."""
    await connection.head()
    connection.stop_reading()
    await asyncio.Event().wait()


def respond_before_body(response: bytes, *, reads_on: bool) -> Behaviour:
    """Respond as soon as the head is read. `reads_on`: keep reading until the proxy closes the connection."""

    async def behave(connection: UpstreamConnection) -> None:
        await connection.head()
        await connection.send(response)
        if reads_on:
            await connection.gone()
        else:
            connection.stop_reading()
            await asyncio.Event().wait()

    return behave


def count_body(response: bytes = OK) -> Behaviour:
    """Count the body's bytes in `moved` as they are received; respond at the end of the body."""

    async def behave(connection: UpstreamConnection) -> None:
        received = ReceivedRequest(await connection.head(), b"")
        if received.header("transfer-encoding") == "chunked":
            async for chunk in connection.chunks():
                connection.fake_upstream.moved += len(chunk)
        else:
            left = int(received.header("content-length") or 0)
            while left and (chunk := await connection.reader.read(min(left, 65536))):
                left -= len(chunk)
                connection.fake_upstream.moved += len(chunk)
        await connection.send(response)

    return behave


def stream_body(length: int = ENDLESS, *, chunked: bool = False) -> Behaviour:
    """Respond with a body of `length` bytes, as fast as the proxy reads it; `moved` counts them."""
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % length

    async def behave(connection: UpstreamConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        left = length
        while left:
            chunk = _CHUNK[:left]
            await connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            left -= len(chunk)
            connection.fake_upstream.moved += len(chunk)
        await connection.send(b"0\r\n\r\n" if chunked else b"")

    return behave


def send_unsolicited(data: bytes) -> Behaviour:
    """Respond to a request, and send unsolicited data shortly afterwards."""

    async def behave(connection: UpstreamConnection) -> None:
        while True:
            await connection.read_request()
            await connection.send(OK)
            await asyncio.sleep(0.05)
            await connection.send(data)

    return behave


def respond_when_set(event: asyncio.Event, response: bytes = OK) -> Behaviour:
    """Respond to each request once the event is set."""

    async def behave(connection: UpstreamConnection) -> None:
        while True:
            await connection.read_request()
            await event.wait()
            await connection.send(response)

    return behave


def echo(received: ReceivedRequest) -> bytes:
    """For `respond_by`: a response whose body is the request's head and body as received."""
    content = received.head + received.body
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


def response_with_length(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A response with this body and its Content-Length."""
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
