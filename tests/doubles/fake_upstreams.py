"""Upstreams with one behavior each, over real sockets and raw bytes, so that a test sees exactly what is sent.

    async with FakeUpstream.running(respond_with(OK)) as upstream: ...

A behavior is a coroutine function of one UpstreamConnection; the connection is closed when it returns.
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
# More than the sockets' buffers and the proxy's own can hold between two ends that do not move.
ENDLESS = 1 << 40
_PIECE = b"x" * 65536


@dataclasses.dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as it came: `head` with its empty line, `body` without its framing."""

    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode()

    @property
    def headers(self) -> list[tuple[str, str]]:
        """(name in lower case, value), in order."""
        pairs = [line.partition(": ") for line in self.head.decode("latin-1").split("\r\n")[1:-2]]
        return [(name.lower(), value) for name, _, value in pairs]

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)


class UpstreamConnection:
    """One connection, as the upstream has it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fake_upstream: "FakeUpstream"
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.fake_upstream = fake_upstream

    async def head(self) -> bytes:
        """The next request's head. Raises IncompleteReadError when there is none."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.fake_upstream.heads.append(head)
        return head

    async def read_request(self) -> ReceivedRequest:
        """The next request, whole."""
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
        """Until the proxy has ended the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def stop_reading(self) -> None:
        """Let what comes pile up where it is."""
        cast("asyncio.Transport", self.writer.transport).pause_reading()

    def reset(self) -> None:
        """End the connection with RST, as a crash does."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour = Callable[[UpstreamConnection], Awaitable[None]]


class FakeUpstream:
    """A listening socket with a behaviour, and what it has seen. `open` counts connections that have not ended."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._tasks: set[asyncio.Task[None]] = set()
        self.origin = ""
        self.port = 0
        self.connections = 0
        self.open = 0
        self.heads: list[bytes] = []
        self.requests: list[ReceivedRequest] = []
        # How much of an endless answer the proxy has taken, or how much of a request has come.
        self.moved = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, behaviour: Behaviour, *, tls: ssl.SSLContext | None = None, buffer: int = 0
    ) -> AsyncGenerator["FakeUpstream"]:
        """`buffer`: the size of the sockets' buffers, in bytes; 0 leaves it to the system."""
        fake_upstream = cls(behaviour)
        door = socket.create_server(("127.0.0.1", 0))
        # asyncio sets it itself only where a socket names its protocol.
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        fake_upstream.port = door.getsockname()[1]
        fake_upstream.origin = f"{'https' if tls else 'http'}://localhost:{fake_upstream.port}"
        server = await asyncio.start_server(fake_upstream._talk, sock=door, ssl=tls, limit=1 << 20)
        try:
            yield fake_upstream
        finally:
            server.close()
            for task in list(fake_upstream._tasks):
                task.cancel()
            await asyncio.gather(*fake_upstream._tasks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open += 1
        # A proxy that goes away ends the talk, and so does the end of the test.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await self._behaviour(UpstreamConnection(reader, writer, self))
        self.open -= 1
        writer.close()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()


# --- What they do


def respond_with(*responses: bytes) -> Behaviour:
    """Answers each request with the next of these, on any number of connections; the last one for ever."""
    left = list(responses)

    async def behave(connection: UpstreamConnection) -> None:
        while True:
            await connection.read_request()
            await connection.send(left.pop(0) if len(left) > 1 else left[0])

    return behave


def respond_then_stall(response: bytes) -> Behaviour:
    """Answers one request on each connection, takes a second one, and waits until the proxy has gone."""

    async def behave(connection: UpstreamConnection) -> None:
        await connection.read_request()
        await connection.send(response)
        await connection.read_request()
        await connection.gone()

    return behave


def respond_by(response: Callable[[ReceivedRequest], bytes]) -> Behaviour:
    """Answers each request with what the function makes of it."""

    async def behave(connection: UpstreamConnection) -> None:
        while True:
            await connection.send(response(await connection.read_request()))

    return behave


def respond_in_chunks(pieces: Sequence[bytes]) -> Behaviour:
    """Answers each request with these pieces, so far apart that each comes alone."""

    async def behave(connection: UpstreamConnection) -> None:
        while True:
            await connection.read_request()
            for chunk in tuple(pieces):
                await connection.send(chunk)
                # The socket is on this very loop: in two turns of it the bytes have been read.
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    return behave


def respond_then_close(response: bytes) -> Behaviour:
    """Answers one request and ends the connection in order."""

    async def behave(connection: UpstreamConnection) -> None:
        await connection.read_request()
        await connection.send(response)

    return behave


def break_connection(part: bytes = b"", *, times: int = 1 << 30, reset: bool = False, then: bytes = OK) -> Behaviour:
    """Sends a part of an answer and ends the connection, so many times; after that it answers with `then`."""
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
    """Ends each connection before a request has come."""


def stall(part: bytes = b"") -> Behaviour:
    """Takes a request, sends a part of an answer at most, and waits until the proxy has gone."""

    async def behave(connection: UpstreamConnection) -> None:
        await connection.read_request()
        if part:
            await connection.send(part)
        await connection.gone()

    return behave


async def read_nothing(connection: UpstreamConnection) -> None:
    """Takes a request's head and nothing more, and waits."""
    await connection.head()
    connection.stop_reading()
    await asyncio.Event().wait()


def respond_before_body(response: bytes, *, reads_on: bool) -> Behaviour:
    """Answers when it has the head; then it reads what comes, or never again."""

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
    """Reads a body as it comes and counts it in `moved`; answers at its end."""

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
    """Answers with so many bytes, as fast as they are taken; `moved` counts them."""
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % length

    async def behave(connection: UpstreamConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        left = length
        while left:
            chunk = _PIECE[:left]
            await connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            left -= len(chunk)
            connection.fake_upstream.moved += len(chunk)
        await connection.send(b"0\r\n\r\n" if chunked else b"")

    return behave


def send_unsolicited(words: bytes) -> Behaviour:
    """Answers a request, and a moment later says something that nobody asked for."""

    async def behave(connection: UpstreamConnection) -> None:
        while True:
            await connection.read_request()
            await connection.send(OK)
            await asyncio.sleep(0.05)
            await connection.send(words)

    return behave


def respond_when_set(proxy: asyncio.Event, response: bytes = OK) -> Behaviour:
    """Answers each request once the event is set."""

    async def behave(connection: UpstreamConnection) -> None:
        while True:
            await connection.read_request()
            await proxy.wait()
            await connection.send(response)

    return behave


def echo(received: ReceivedRequest) -> bytes:
    """For `respond_by`: the request's head and body, as they came, in the answer's body."""
    content = received.head + received.body
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


def response_with_length(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole answer with a Content-Length."""
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
