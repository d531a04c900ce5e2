"""Clients that read a response slowly: the body time-out limits a pause, not the duration of a download."""

import asyncio

from tests.doubles import fake_upstreams
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARTIFACT

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
