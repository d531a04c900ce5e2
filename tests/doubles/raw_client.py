"""A caller that sends exact bytes and reads answers strictly: what is cut short raises, and never looks whole."""

import asyncio
import contextlib
import dataclasses
import json
import socket
from collections.abc import AsyncGenerator
from typing import Any

from proxy_app.setting_values import Address

_BODILESS = frozenset({204, 304})


@dataclasses.dataclass(frozen=True, slots=True)
class RawResponse:
    """`headers` are (name in lower case, value), in order."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """(status, error_code) of an error in MLflow's form."""
        content = self.json()
        assert set(content) == {"error_code", "message"}, content
        assert self.header("content-type") == "application/json; charset=utf-8"
        assert self.header("x-request-id")
        return self.status, content["error_code"]

    @property
    def message(self) -> str:
        return self.json()["message"]


class RawClient:
    """One connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, address: Address, *, buffer: int = 0) -> AsyncGenerator["RawClient"]:
        """`buffer`: the size of the socket's receive buffer, in bytes."""
        sock = socket.socket()
        sock.setblocking(False)
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address)
        except OSError:
            sock.close()
            raise
        reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 17)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def round_trip(self, data: bytes, method: str = "") -> RawResponse:
        """Send a request and read its answer; `method` is that of the request line if not told."""
        await self.send(data)
        return await self.read_response(method or data.partition(b" ")[0].decode())

    async def head(self) -> tuple[int, list[tuple[str, str]]]:
        """The next head, an interim one too."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = text.split("\r\n")[:-2]
        pairs = [header.partition(": ") for header in rest]
        return int(line.split(" ")[1]), [(name.lower(), value) for name, _, value in pairs]

    async def read_response(self, method: str = "GET") -> RawResponse:
        """Raises IncompleteReadError or ConnectionError when it breaks off."""
        status, headers = await self.head()
        return RawResponse(status, headers, await self._body(method, status, dict(headers)))

    async def _body(self, method: str, status: int, headers: dict[str, str]) -> bytes:
        if method == "HEAD" or status < 200 or status in _BODILESS:
            return b""
        if headers.get("transfer-encoding") == "chunked":
            chunks: list[bytes] = []
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                chunks.append(await self.reader.readexactly(size))
                assert await self.reader.readexactly(2) == b"\r\n"
            assert await self.reader.readexactly(2) == b"\r\n"
            return b"".join(chunks)
        if (length := headers.get("content-length")) is not None:
            return await self.reader.readexactly(int(length))
        return await self.reader.read(-1)

    async def closed(self) -> bytes:
        """What still comes until the proxy ends the connection."""
        rest = b""
        with contextlib.suppress(ConnectionError):
            while chunk := await self.reader.read(65536):
                rest += chunk
        return rest


def request(method: str, target: str, *headers: str, body: bytes | None = None, token: str = "") -> bytes:
    """A request's bytes: Host, the token if given, these headers, a Content-Length if there is a body."""
    lines = [f"{method} {target} HTTP/1.1", "Host: proxy", *headers]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def chunked_body(*chunks: bytes) -> bytes:
    """These as chunks; an empty one is the end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
