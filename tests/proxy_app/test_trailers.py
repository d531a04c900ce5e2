"""What comes behind a chunked body belongs to that request, and to nobody's next one."""

import pytest

from tests.doubles import toy_upstreams as toys
from tests.doubles.raw_client import in_chunks, request
from tests.doubles.running_proxy import READ, SEARCH
from tests.doubles.toy_upstreams import OK, Toy

from .conftest import StartProxy, StartToy

CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture
async def toy(start_toy: StartToy) -> Toy:
    return await start_toy(toys.answering(OK))


def with_trailer(head: bytes, trailer: bytes, *pieces: bytes) -> bytes:
    body = in_chunks(*pieces) if pieces else b""
    return head + body + b"0\r\n" + trailer + b"\r\n\r\n"


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("name", ["Authorization", "X-MLFLOW-WORKSPACE", "Origin", "Cookie"])
async def test_a_trailer_is_no_header_of_the_next_request(
    toy: Toy, start_proxy: StartProxy, name: str, known: bool, pipelined: bool
) -> None:
    proxy = await start_proxy(toy.origin)
    value = f"Bearer {proxy.tokens.admin}" if name == "Authorization" else "attackers"
    first = (
        request("POST", SEARCH, CHUNKED, token=proxy.tokens.viewer) if known else request("POST", "/healthz", CHUNKED)
    )
    sent = with_trailer(first, f"{name}: {value}".encode(), *([b"{}"] if known else []))
    # Whoever comes next shows nothing, or is a viewer: neither becomes an admin, nor speaks with others' headers.
    nobody = request("POST", "/api/2.0/mlflow/runs/delete", body=b"{}")
    viewer = request("GET", READ, token=proxy.tokens.viewer)
    async with proxy.caller() as caller:
        await caller.send(sent + nobody + viewer if pipelined else sent)
        assert (await caller.answer()).header("connection") == "close"
        assert await caller.closed() == b"", "nothing that comes behind it is answered here"
    assert [asked.line.split()[1] for asked in toy.asked] == ([SEARCH] if known else [])
    assert {line["principal"] for line in proxy.lines} <= {"some-viewer", None}


async def test_a_body_of_known_length_leaves_the_connection_open(toy: Toy, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(toy.origin)
    async with proxy.caller() as caller:
        for _ in range(3):
            assert (await caller.ask(request("POST", SEARCH, body=b"{}", token=proxy.tokens.viewer))).status == 200
