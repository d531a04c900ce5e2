"""What comes behind a chunked body belongs to that request, and to nobody's next one."""

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


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("name", ["Authorization", "X-MLFLOW-WORKSPACE", "Origin", "Cookie"])
async def test_a_trailer_is_no_header_of_the_next_request(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, name: str, known: bool, pipelined: bool
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    value = f"Bearer {proxy.tokens.admin}" if name == "Authorization" else "attackers"
    first = (
        request("POST", SEARCH, CHUNKED, token=proxy.tokens.viewer) if known else request("POST", "/healthz", CHUNKED)
    )
    sent = with_trailer(first, f"{name}: {value}".encode(), *([b"{}"] if known else []))
    # Whoever comes next shows nothing, or is a viewer: neither becomes an admin, nor speaks with others' headers.
    nobody = request("POST", "/api/2.0/mlflow/runs/delete", body=b"{}")
    viewer = request("GET", READ, token=proxy.tokens.viewer)
    async with proxy.connect() as client:
        await client.send(sent + nobody + viewer if pipelined else sent)
        assert (await client.read_response()).header("connection") == "close"
        assert await client.closed() == b"", "nothing that comes behind it is answered here"
    assert [received.line.split()[1] for received in fake_upstream.requests] == ([SEARCH] if known else [])
    assert {line["principal"] for line in proxy.lines} <= {"some-viewer", None}


async def test_a_body_of_known_length_leaves_the_connection_open(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        for _ in range(3):
            assert (
                await client.round_trip(request("POST", SEARCH, body=b"{}", token=proxy.tokens.viewer))
            ).status == 200
