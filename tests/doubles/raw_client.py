"""An HTTP client that sends exact bytes and parses responses strictly: a truncated response raises an error."""

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
    """A response; `headers` are (lower-case name, value) pairs, in order."""

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
        """(status, error_code) of an error response in MLflow's format."""
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
        """Connect. `buffer`: the size of the socket's receive buffer in bytes; 0: the default."""
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
        """Send a request and read its response; `method` defaults to that of the request line."""
        await self.send(data)
        return await self.read_response(method or data.partition(b" ")[0].decode())

    async def head(self) -> tuple[int, list[tuple[str, str]]]:
        """Read the next status line and headers, including those of interim responses."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = text.split("\r\n")[:-2]
        pairs = [field.partition(": ") for field in fields]
        return int(line.split(" ")[1]), [(name.lower(), value) for name, _, value in pairs]

    async def read_response(self, method: str = "GET") -> RawResponse:
        """Read a response. Raises IncompleteReadError or ConnectionError if it is truncated."""
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
        """Read until the proxy closes the connection; returns the data."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while chunk := await self.reader.read(65536):
                data += chunk
        return data


def request(method: str, target: str, *headers: str, body: bytes | None = None, token: str = "") -> bytes:
    """The bytes of a request with Host, these headers, the bearer token if given, and Content-Length for a body."""
    lines = [f"{method} {target} HTTP/1.1", "Host: proxy", *headers]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def chunked_body(*chunks: bytes) -> bytes:
    """Data in chunked transfer coding; an empty chunk is the last one."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
