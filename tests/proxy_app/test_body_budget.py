"""The body budget, which all signed requests in flight share: requests beyond it wait, and no part of it is lost."""

import asyncio
import contextlib

import pytest

from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, UpstreamConnection
from tests.doubles.raw_client import chunked_body, request
from tests.doubles.running_proxy import ARTIFACT, IDEMPOTENT_WRITE, READ, wait_until

from .conftest import StartProxy, StartUpstream

both_upstreams = pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])


async def test_bodies_beyond_the_budget_wait_first_come_first_served(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    respond = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(respond))
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=1_000_000, body_budget=1_000_000)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(proxy.connect()) for _ in range(4)]
        # The second does not fit beside the first. The third does, but waits behind the second.
        for number, (client, size) in enumerate(zip(clients, (700_000, 600_000, 100_000, 900_000), strict=True), 1):
            await client.send(request("POST", IDEMPOTENT_WRITE, body=b"%d" % number * size, token=proxy.tokens.editor))
            await wait_until(lambda number=number: proxy.in_flight == number)
        await wait_until(lambda: len(fake_upstream.requests) == 1)
        await asyncio.sleep(0.1)
        assert ([received.body[:1] for received in fake_upstream.requests], proxy.budget_free) == ([b"1"], 300_000)
        respond.set()
        assert [(await client.read_response("POST")).status for client in clients] == [200] * 4
    assert sorted(received.body[:1] for received in fake_upstream.requests) == [b"1", b"2", b"3", b"4"]
    assert proxy.budget_free == 1_000_000


async def test_concurrent_bodies_never_exceed_the_budget(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    current = highest = 0

    async def slow(connection: UpstreamConnection) -> None:
        nonlocal current, highest
        while True:
            received = await connection.read_request()
            current += len(received.body)
            highest = max(highest, current)
            await asyncio.sleep(0.01)
            current -= len(received.body)
            await connection.send(OK)

    fake_upstream = await start_upstream(slow)
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=100_000, body_budget=250_000)
    free: list[float] = []

    async def send(number: int) -> int:
        body = b"x" * (70_000 + number % 4 * 10_000)
        token = (proxy.tokens.editor, proxy.tokens.admin)[number % 2]
        response = await proxy.send(request("POST", IDEMPOTENT_WRITE, body=body, token=token))
        free.append(proxy.budget_free if proxy.budget_free is not None else -1)
        return response.status

    assert set(await asyncio.gather(*(send(number) for number in range(60)))) == {200}
    # Each of the two principals may hold a body of the largest size.
    assert 100_000 < highest <= 200_000
    assert min(free) >= 0
    assert proxy.budget_free == 250_000


async def test_body_of_unknown_length_takes_the_limit_from_64_kib_on_until_it_is_complete(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    respond = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(respond))
    limit = 200_000
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=limit, body_budget=3 * limit)
    async with proxy.connect() as client:
        await client.send(request("POST", IDEMPOTENT_WRITE, "Transfer-Encoding: chunked", token=proxy.tokens.editor))
        await client.send(chunked_body(b"x" * 65536))
        await wait_until(lambda: proxy.in_flight == 1)
        await asyncio.sleep(0.1)
        assert proxy.budget_free == 3 * limit
        await client.send(chunked_body(b"x"))
        await wait_until(lambda: proxy.budget_free == 2 * limit)
        await client.send(chunked_body(b""))
        await wait_until(lambda: proxy.budget_free == 3 * limit - 65537)
        respond.set()
        assert (await client.read_response()).status == 200
    assert proxy.budget_free == 3 * limit


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
async def test_principal_whose_bodies_do_not_end_leaves_budget_to_others(
    start_upstream: StartUpstream, start_proxy: StartProxy, chunked: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    limit = 200_000
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=limit, body_budget=4 * limit)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {limit}"
    begin = chunked_body(b"x" * 70_000) if chunked else b"x" * 70_000
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            client = await stack.enter_async_context(proxy.connect())
            await client.send(request("POST", IDEMPOTENT_WRITE, framing, token=proxy.tokens.editor) + begin)
        await wait_until(lambda: proxy.in_flight == 20 and proxy.budget_free == 3 * limit)
        response = await proxy.send(request("POST", IDEMPOTENT_WRITE, body=b"x" * limit, token=proxy.tokens.admin))
        assert response.status == 200
    await wait_until(lambda: proxy.budget_free == 4 * limit)


@both_upstreams
@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
async def test_body_that_sends_a_byte_before_each_timeout_ends(
    start_upstream: StartUpstream, start_proxy: StartProxy, chunked: bool, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=signed, body_timeout=0.5)
    framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 1000000"
    async with proxy.connect() as client:
        await client.send(request("PUT", ARTIFACT, framing, token=proxy.tokens.editor))
        started = asyncio.get_running_loop().time()
        while not client.reader.at_eof() and proxy.lines == []:
            client.writer.write(chunked_body(b"x") if chunked else b"x")
            await asyncio.sleep(0.05)
            assert asyncio.get_running_loop().time() - started < 5, "the body goes on for ever"
        assert (await client.read_response()).error == (408, "DEADLINE_EXCEEDED")
    await wait_until(lambda: proxy.in_flight == 0)
    assert proxy.budget_free == proxy.settings.body_budget


async def test_exhausted_budget_returns_503_with_retry_after(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall())
    proxy = await start_proxy(
        fake_upstream.origin, signed=True, body_limit=1_000_000, body_budget=1_000_000, body_timeout=0.2
    )
    async with proxy.connect() as first:
        await first.send(request("POST", IDEMPOTENT_WRITE, body=b"x" * 1_000_000, token=proxy.tokens.editor))
        await wait_until(lambda: len(fake_upstream.requests) == 1)
        response = await proxy.send(request("POST", IDEMPOTENT_WRITE, body=b"x" * 100_000, token=proxy.tokens.editor))
        assert response.error == (503, "TEMPORARILY_UNAVAILABLE")
        assert int(response.header("retry-after") or 0) > 0
        assert proxy.lines[-1]["error"] == "body-budget"
        # Requests with a small body or none need no budget.
        async with proxy.connect() as reader:
            await reader.send(request("GET", READ, token=proxy.tokens.viewer))
            await wait_until(lambda: len(fake_upstream.requests) == 2)
    await wait_until(lambda: proxy.budget_free == 1_000_000)


async def test_client_that_disconnects_while_waiting_does_not_block_others(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    respond = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(respond))
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=1_000_000, body_budget=1_000_000)
    async with proxy.connect() as first, proxy.connect() as third:
        await first.send(request("POST", IDEMPOTENT_WRITE, body=b"1" * 700_000, token=proxy.tokens.editor))
        await wait_until(lambda: len(fake_upstream.requests) == 1)
        async with proxy.connect() as second:
            # While unread bytes of a body are in its buffers, the proxy does not see that a client has disconnected.
            await second.send(request("POST", IDEMPOTENT_WRITE, "Content-Length: 600000", token=proxy.tokens.editor))
            await wait_until(lambda: proxy.in_flight == 2)
            await third.send(request("POST", IDEMPOTENT_WRITE, body=b"3" * 300_000, token=proxy.tokens.editor))
            await wait_until(lambda: proxy.in_flight == 3)
            assert len(fake_upstream.requests) == 1
        await wait_until(lambda: len(fake_upstream.requests) == 2)
        respond.set()
        assert [(await client.read_response("POST")).status for client in (first, third)] == [200, 200]
    assert proxy.budget_free == 1_000_000
