"""A reverse proxy in front of an S3 server that makes chosen requests fail."""

import asyncio
import contextlib
import dataclasses
import io
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable

import aiohttp
from aiohttp import web
from yarl import URL


@dataclasses.dataclass(slots=True)
class Exchange:
    """A request that the proxy sent, and the status that it got; 0: none."""

    method: str
    target: str
    status: int = 0


Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]
ChooseFault = Callable[[web.Request, bytes], Fault | None]


class FaultyS3:
    """`fault(request, body)` returns what to do instead of forwarding the request; `exchanges` are all requests."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._target = url
        self._session = session
        self.url = ""
        self.fault: ChooseFault = lambda request, body: None
        self.exchanges: list[Exchange] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, url: str) -> AsyncGenerator["FaultyS3"]:
        """Forward to the S3 server at `url`, on a free port of 127.0.0.1."""
        session = aiohttp.ClientSession(auto_decompress=False)
        faulty = cls(url, session)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{tail:.*}", faulty._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        async with session:
            await site.start()
            faulty.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                yield faulty
            finally:
                await runner.cleanup()

    def sent(self, method: str, text: str = "") -> list[Exchange]:
        """The requests with this method whose target has this text."""
        return [exchange for exchange in self.exchanges if exchange.method == method and text in exchange.target]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        exchange = Exchange(request.method, request.raw_path)
        self.exchanges.append(exchange)
        body = await request.read()
        if (fault := self.fault(request, body)) is not None:
            response = await fault(request)
        else:
            response = await self.forward(request)
        exchange.status = response.status
        return response

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """The response of the S3 server."""
        body = await request.read()
        # The signature covers the host.
        url = URL(self._target + request.raw_path, encoded=True)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
        async with self._session.request(
            request.method,
            url,
            headers=headers,
            data=io.BytesIO(body),
            skip_auto_headers=["Content-Type", "User-Agent", "Accept"],
        ) as answer:
            content = await answer.read()
            dropped = {"content-length", "transfer-encoding", "connection", "date", "server"}
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in dropped]
            response = web.Response(status=answer.status, body=content)
            response.headers.clear()
            for name, value in kept:
                response.headers.add(name, value)
            if request.method == "HEAD":
                response.content_length = int(answer.headers.get("Content-Length", 0))
            return response


def respond(status: int, code: str, message: str = "It failed.") -> Fault:
    """Respond with an error of S3."""

    async def fault(_: web.Request) -> web.StreamResponse:
        xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
        return web.Response(status=status, text=xml, content_type="application/xml")

    return fault


async def reset(request: web.Request) -> web.StreamResponse:
    """Close the connection with RST."""
    transport = request.transport
    assert transport is not None
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return web.Response()


async def stall(_: web.Request) -> web.StreamResponse:
    """Never respond."""
    await asyncio.Event().wait()
    raise AssertionError
