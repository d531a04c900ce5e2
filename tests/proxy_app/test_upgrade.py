"""A request with ``Upgrade`` is the last one on its connection: aiohttp may lose the head of the next one."""

import asyncio

import pytest

from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import IDEMPOTENT_WRITE, READ

from .conftest import StartProxy, StartUpstream

FORBIDDEN = "/api/2.0/mlflow/experiments/delete"


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0", "h2c, websocket"])
@pytest.mark.parametrize("pause", [False, True], ids=["one segment", "two segments"])
async def test_body_of_the_request_behind_an_upgrade_is_not_run_as_a_request(
    start_upstream: StartUpstream, start_proxy: StartProxy, protocol: str, pause: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    hidden = request("POST", FORBIDDEN, token=proxy.tokens.admin, body=b"{}")
    first = request("GET", READ, "Connection: Upgrade", f"Upgrade: {protocol}", token=proxy.tokens.viewer)
    second = request("POST", IDEMPOTENT_WRITE, token=proxy.tokens.editor, body=hidden)
    async with proxy.connect() as client:
        if pause:
            await client.send(first)
            await asyncio.sleep(0.05)
            await client.send(second)
        else:
            await client.send(first + second)
        response = await client.read_response()
        assert (response.status, response.header("connection")) == (200, "close")
        assert await client.closed() == b""
    assert [received.line.split()[1] for received in fake_upstream.requests] == [READ]


async def test_upgrade_that_is_not_asked_for_keeps_the_connection(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        for _ in range(2):
            response = await client.round_trip(request("GET", READ, "Upgrade: h2c", token=proxy.tokens.viewer))
            assert (response.status, response.header("connection")) == (200, None)
