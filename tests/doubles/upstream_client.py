"""Short ways to send requests through the upstream client."""

from collections.abc import AsyncIterator, Callable

import psutil

from proxy_app.http_client import Body, Headers
from proxy_app.upstream import UpstreamResponse
from proxy_app.upstream.client import UpstreamClient

from .fake_upstreams import FakeUpstream


async def get(
    client: UpstreamClient, path: str = "/", *, method: str = "GET", headers: Headers = (), idempotent: bool = True
) -> UpstreamResponse:
    """A request without a body."""
    return await client.send(method, path, headers, bytes, length=0, idempotent=idempotent)


async def put(
    client: UpstreamClient, body: Callable[[], Body], length: int | None, *, idempotent: bool = True
) -> UpstreamResponse:
    """A request whose body can be given once."""
    return await client.send("PUT", "/", (), body, length=length, idempotent=idempotent, body_replayable=False)


async def content(answer: UpstreamResponse) -> bytes:
    return await answer.response.read()


async def chunks_of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def open_connections(fake_upstream: FakeUpstream) -> int:
    """How many sockets of this process still have the toy at their other end."""
    ends = psutil.Process().net_connections("tcp")
    return sum(end.raddr != () and end.raddr.port == fake_upstream.port for end in ends)
