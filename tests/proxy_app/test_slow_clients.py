"""Slow clients: the time-out of bodies limits a pause, not a download's duration; a request head must arrive soon."""

import asyncio
import contextlib

import pytest

from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARTIFACT, READ

from .conftest import StartProxy, StartUpstream

SIZE = 6 << 20
TIMEOUT = 0.3


async def test_client_that_reads_slowly_without_a_pause_gets_the_whole_response(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    """The proxy's buffers hold more than this client reads within the time-out."""
    fake_upstream = await start_upstream(fake_upstreams.stream_body(SIZE))
    proxy = await start_proxy(fake_upstream.origin, body_timeout=TIMEOUT)
    loop = asyncio.get_running_loop()
    async with proxy.connect(buffer=4096) as client:
        await client.send(request("GET", ARTIFACT, token=proxy.tokens.viewer))
        await client.head()
        started, received = loop.time(), 0
        while received < SIZE:
            received += len(await client.reader.readexactly(min(65536, SIZE - received)))
            # By the clock, so that a busy machine does not slow the client down to a pause.
            await asyncio.sleep(max(0.0, started + received / SIZE * 8 * TIMEOUT - loop.time()))
    assert loop.time() - started > 4 * TIMEOUT
    assert (proxy.lines[-1]["status"], proxy.lines[-1].get("error")) == (200, None)


@pytest.mark.parametrize("after_a_request", [False, True])
@pytest.mark.parametrize(
    ("data", "trickle"),
    [(b"", False), (b"GET", False), (b"GET /", True), (b"GET / HTTP/1.1\r\n", False), (b"GET / HTTP/1.1\r\nX: ", True)],
)
async def test_connection_without_a_complete_request_head_is_closed_after_the_keep_alive_time(
    start_upstream: StartUpstream, start_proxy: StartProxy, data: bytes, trickle: bool, after_a_request: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, keepalive=0.5, body_timeout=30.0)

    async def send_byte_by_byte() -> None:
        with contextlib.suppress(ConnectionError):
            while trickle:
                await client.send(b"X")
                await asyncio.sleep(0.1)

    async with proxy.connect() as client:
        if after_a_request:
            assert (await client.round_trip(request("GET", READ, token=proxy.tokens.viewer))).status == 200
        await client.send(data)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            sending = group.create_task(send_byte_by_byte())
            assert await client.closed() == b""
            sending.cancel()
    assert proxy.metric("mlflow_proxy_connections") == 0
