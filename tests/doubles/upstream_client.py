"""Short ways to ask through the upstream's client."""

from collections.abc import AsyncIterator, Callable

import psutil

from proxy_app.upstream.connection import Body
from proxy_app.upstream.pool import Answer, Headers, Pool

from .toy_upstreams import Toy


async def get(
    pool: Pool, path: str = "/", *, method: str = "GET", headers: Headers = (), replay: bool = True
) -> Answer:
    """A request without a body."""
    return await pool.send(method, path, headers, bytes, length=0, replay=replay)


async def put(pool: Pool, body: Callable[[], Body], length: int | None, *, replay: bool = True) -> Answer:
    """A request whose body can be given once."""
    return await pool.send("PUT", "/", (), body, length=length, replay=replay, once=True)


async def content(answer: Answer) -> bytes:
    return await answer.response.read()


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def connections_to(toy: Toy) -> int:
    """How many sockets of this process still have the toy at their other end."""
    ends = psutil.Process().net_connections("tcp")
    return sum(end.raddr != () and end.raddr.port == toy.port for end in ends)
