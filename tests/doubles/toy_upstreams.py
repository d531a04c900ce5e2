"""Upstreams that do one thing each: real sockets, raw bytes, so that what they send and get is exactly seen.

    async with Toy.running(answering(OK)) as toy: ...

A behaviour is a coroutine function over one connection, a `Talk`; when it returns, the connection is closed.
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
class Asked:
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


class Talk:
    """One connection, as the upstream has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, toy: "Toy") -> None:
        self.reader = reader
        self.writer = writer
        self.toy = toy

    async def head(self) -> bytes:
        """The next request's head. Raises IncompleteReadError when there is none."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.toy.heads.append(head)
        return head

    async def ask(self) -> Asked:
        """The next request, whole."""
        head = await self.head()
        asked = Asked(head, await self.body(Asked(head, b"")))
        self.toy.asked.append(asked)
        return asked

    async def body(self, asked: Asked) -> bytes:
        if asked.header("transfer-encoding") == "chunked":
            return b"".join([piece async for piece in self.chunks()])
        return await self.reader.readexactly(int(asked.header("content-length") or 0))

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


Behaviour = Callable[[Talk], Awaitable[None]]


class Toy:
    """A listening socket with a behaviour, and what it has seen. `open` counts connections that have not ended."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._tasks: set[asyncio.Task[None]] = set()
        self.origin = ""
        self.port = 0
        self.connections = 0
        self.open = 0
        self.heads: list[bytes] = []
        self.asked: list[Asked] = []
        # How much of an endless answer the proxy has taken, or how much of a request has come.
        self.moved = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, behaviour: Behaviour, *, tls: ssl.SSLContext | None = None, buffer: int = 0
    ) -> AsyncGenerator["Toy"]:
        """`buffer`: the size of the sockets' buffers, in bytes; 0 leaves it to the system."""
        toy = cls(behaviour)
        door = socket.create_server(("127.0.0.1", 0))
        # asyncio sets it itself only where a socket names its protocol.
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        toy.port = door.getsockname()[1]
        toy.origin = f"{'https' if tls else 'http'}://localhost:{toy.port}"
        server = await asyncio.start_server(toy._talk, sock=door, ssl=tls, limit=1 << 20)
        try:
            yield toy
        finally:
            server.close()
            for task in list(toy._tasks):
                task.cancel()
            await asyncio.gather(*toy._tasks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open += 1
        # A proxy that goes away ends the talk, and so does the end of the test.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await self._behaviour(Talk(reader, writer, self))
        self.open -= 1
        writer.close()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()


# --- What they do


def answering(*answers: bytes) -> Behaviour:
    """Answers each request with the next of these, on any number of connections; the last one for ever."""
    left = list(answers)

    async def behave(talk: Talk) -> None:
        while True:
            await talk.ask()
            await talk.send(left.pop(0) if len(left) > 1 else left[0])

    return behave


def answering_then_silent(answer: bytes) -> Behaviour:
    """Answers one request on each connection, takes a second one, and waits until the proxy has gone."""

    async def behave(talk: Talk) -> None:
        await talk.ask()
        await talk.send(answer)
        await talk.ask()
        await talk.gone()

    return behave


def answering_by(answer: Callable[[Asked], bytes]) -> Behaviour:
    """Answers each request with what the function makes of it."""

    async def behave(talk: Talk) -> None:
        while True:
            await talk.send(answer(await talk.ask()))

    return behave


def in_pieces(pieces: Sequence[bytes]) -> Behaviour:
    """Answers each request with these pieces, so far apart that each comes alone."""

    async def behave(talk: Talk) -> None:
        while True:
            await talk.ask()
            for piece in tuple(pieces):
                await talk.send(piece)
                # The socket is on this very loop: in two turns of it the bytes have been read.
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    return behave


def answering_then_closing(answer: bytes) -> Behaviour:
    """Answers one request and ends the connection in order."""

    async def behave(talk: Talk) -> None:
        await talk.ask()
        await talk.send(answer)

    return behave


def breaking_off(part: bytes = b"", *, times: int = 1 << 30, reset: bool = False, then: bytes = OK) -> Behaviour:
    """Sends a part of an answer and ends the connection, so many times; after that it answers with `then`."""
    left = times

    async def behave(talk: Talk) -> None:
        nonlocal left
        while True:
            await talk.ask()
            if left == 0:
                await talk.send(then)
                continue
            left -= 1
            if part:
                await talk.send(part)
            if reset:
                talk.reset()
            return

    return behave


async def closing_at_once(_: Talk) -> None:
    """Ends each connection before a request has come."""


def silent(part: bytes = b"") -> Behaviour:
    """Takes a request, sends a part of an answer at most, and waits until the proxy has gone."""

    async def behave(talk: Talk) -> None:
        await talk.ask()
        if part:
            await talk.send(part)
        await talk.gone()

    return behave


async def deaf(talk: Talk) -> None:
    """Takes a request's head and nothing more, and waits."""
    await talk.head()
    talk.stop_reading()
    await asyncio.Event().wait()


def answering_before_the_body(answer: bytes, *, reads_on: bool) -> Behaviour:
    """Answers when it has the head; then it reads what comes, or never again."""

    async def behave(talk: Talk) -> None:
        await talk.head()
        await talk.send(answer)
        if reads_on:
            await talk.gone()
        else:
            talk.stop_reading()
            await asyncio.Event().wait()

    return behave


def counting_the_body(answer: bytes = OK) -> Behaviour:
    """Reads a body as it comes and counts it in `moved`; answers at its end."""

    async def behave(talk: Talk) -> None:
        asked = Asked(await talk.head(), b"")
        if asked.header("transfer-encoding") == "chunked":
            async for piece in talk.chunks():
                talk.toy.moved += len(piece)
        else:
            left = int(asked.header("content-length") or 0)
            while left and (piece := await talk.reader.read(min(left, 65536))):
                left -= len(piece)
                talk.toy.moved += len(piece)
        await talk.send(answer)

    return behave


def pouring(length: int = ENDLESS, *, chunked: bool = False) -> Behaviour:
    """Answers with so many bytes, as fast as they are taken; `moved` counts them."""
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % length

    async def behave(talk: Talk) -> None:
        await talk.ask()
        await talk.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        left = length
        while left:
            piece = _PIECE[:left]
            await talk.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            left -= len(piece)
            talk.toy.moved += len(piece)
        await talk.send(b"0\r\n\r\n" if chunked else b"")

    return behave


def speaking_unasked(words: bytes) -> Behaviour:
    """Answers a request, and a moment later says something that nobody asked for."""

    async def behave(talk: Talk) -> None:
        while True:
            await talk.ask()
            await talk.send(OK)
            await asyncio.sleep(0.05)
            await talk.send(words)

    return behave


def held(proxy: asyncio.Event, answer: bytes = OK) -> Behaviour:
    """Answers each request once the event is set."""

    async def behave(talk: Talk) -> None:
        while True:
            await talk.ask()
            await proxy.wait()
            await talk.send(answer)

    return behave


def echoing(asked: Asked) -> bytes:
    """For `answering_by`: the request's head and body, as they came, in the answer's body."""
    content = asked.head + asked.body
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


def with_length(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole answer with a Content-Length."""
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
