"""Shorthands for requests of the upstream client."""

from collections.abc import AsyncIterator, Callable

import psutil

from proxy_app.http_client import Body, Headers
from proxy_app.upstream import UpstreamResponse
from proxy_app.upstream.client import UpstreamClient

from .fake_upstreams import FakeUpstream


async def get(
    client: UpstreamClient, path: str = "/", *, method: str = "GET", headers: Headers = (), idempotent: bool = True
) -> UpstreamResponse:
    """Send a request without a body."""
    return await client.send(method, path, headers, bytes, length=0, idempotent=idempotent)


async def put(
    client: UpstreamClient, body: Callable[[], Body], length: int | None, *, idempotent: bool = True
) -> UpstreamResponse:
    """Send a request with a body that cannot be replayed."""
    return await client.send("PUT", "/", (), body, length=length, idempotent=idempotent, body_replayable=False)


async def content(response: UpstreamResponse) -> bytes:
    """Read the response body."""
    return await response.response.read()


async def chunks_of(*chunks: bytes) -> AsyncIterator[bytes]:
    """A streamed body."""
    for chunk in chunks:
        yield chunk


def open_connections(fake_upstream: FakeUpstream) -> int:
    """Count the sockets of this process that are connected to the upstream."""
    sockets = psutil.Process().net_connections("tcp")
    return sum(socket.raddr != () and socket.raddr.port == fake_upstream.port for socket in sockets)
