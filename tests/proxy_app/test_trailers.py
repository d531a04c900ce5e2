"""Trailers of a chunked request body do not become headers of the next request on the connection."""

import asyncio

import pytest

from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, FakeUpstream
from tests.doubles.raw_client import chunked_body, request
from tests.doubles.running_proxy import READ, SEARCH

from .conftest import StartProxy, StartUpstream

CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture
async def fake_upstream(start_upstream: StartUpstream) -> FakeUpstream:
    return await start_upstream(fake_upstreams.respond_with(OK))


def with_trailer(head: bytes, trailer: bytes, *chunks: bytes) -> bytes:
    body = chunked_body(*chunks) if chunks else b""
    return head + body + b"0\r\n" + trailer + b"\r\n\r\n"


@pytest.mark.parametrize("pipelined", [False, True], ids=["alone", "pipelined"])
@pytest.mark.parametrize("authenticated", [False, True], ids=["anonymous", "authenticated"])
@pytest.mark.parametrize("name", ["Authorization", "X-MLFLOW-WORKSPACE", "Origin", "Cookie"])
async def test_trailer_does_not_become_a_header_of_the_next_request(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, name: str, authenticated: bool, pipelined: bool
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    value = f"Bearer {proxy.tokens.admin}" if name == "Authorization" else "forged"
    first = (
        request("POST", SEARCH, CHUNKED, token=proxy.tokens.viewer)
        if authenticated
        else request("POST", "/healthz", CHUNKED)
    )
    data = with_trailer(first, f"{name}: {value}".encode(), *([b"{}"] if authenticated else []))
    # The next requests are anonymous and of a viewer: neither may get the trailer as a header.
    anonymous = request("POST", "/api/2.0/mlflow/runs/delete", body=b"{}")
    viewer = request("GET", READ, token=proxy.tokens.viewer)
    async with proxy.connect() as client:
        await client.send(data + anonymous + viewer if pipelined else data)
        assert (await client.read_response()).header("connection") == "close"
        async with asyncio.timeout(5):
            assert await client.closed() == b"", "the next requests are answered"
    assert [received.line.split()[1] for received in fake_upstream.requests] == ([SEARCH] if authenticated else [])
    assert {line["principal"] for line in proxy.lines} <= {"some-viewer", None}


async def test_body_with_content_length_keeps_the_connection_open(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        for _ in range(3):
            assert (
                await client.round_trip(request("POST", SEARCH, body=b"{}", token=proxy.tokens.viewer))
            ).status == 200
