"""The upstream's client: every way to get no answer, and what is sent again then."""

import asyncio

import pytest

from proxy_app import errors
from proxy_app.http_client.connection import Body, ReadError, ReadTimeout
from proxy_app.http_client.pool import RetryBudget
from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import OK, FakeUpstream, UpstreamConnection
from tests.doubles.running_proxy import wait_until
from tests.doubles.upstream_client import chunks_of, content, get, put

from .conftest import StartClient, StartUpstream

# --- No answer


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
@pytest.mark.parametrize("reset", [False, True])
async def test_a_break_before_the_head_leaves_the_outcome_of_a_write_unknown(
    start_upstream: StartUpstream, start_client: StartClient, part: bytes, reset: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection(part, reset=reset))
    client = await start_client(fake_upstream.origin)
    with pytest.raises(errors.ApiError) as refused:
        await get(client, idempotent=False)
    assert (refused.value.status, refused.value.error_code) == (409, "ABORTED")
    assert len(fake_upstream.requests) == 1


@pytest.mark.parametrize(
    "part",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
    ],
)
async def test_a_break_in_the_body_is_an_error_and_never_the_end(
    start_upstream: StartUpstream, start_client: StartClient, part: bytes
) -> None:
    go_on = asyncio.Event()

    async def behave(talk: UpstreamConnection) -> None:
        await talk.read_request()
        await talk.send(part)
        await go_on.wait()

    fake_upstream = await start_upstream(behave)
    response = await get(await start_client(fake_upstream.origin))
    go_on.set()
    with pytest.raises(ReadError):
        await content(response)


async def test_a_silent_upstream_is_given_up(start_upstream: StartUpstream, start_client: StartClient) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall())
    client = await start_client(fake_upstream.origin, upstream_timeout=0.2)
    for replay, status in ((True, 504), (False, 409)):
        with pytest.raises(errors.ApiError, match=r"within 0\.2 seconds") as refused:
            await get(client, idempotent=replay)
        assert refused.value.status == status
    await wait_until(lambda: fake_upstream.open == 0)
    # Whoever waited that long does not wait again.
    assert len(fake_upstream.requests) == 2


async def test_an_upstream_that_falls_silent_in_the_body_is_given_up(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart"))
    response = await get(await start_client(fake_upstream.origin, upstream_timeout=0.2))
    with pytest.raises(ReadTimeout):
        await content(response)
    await wait_until(lambda: fake_upstream.open == 0)


async def test_a_port_where_nobody_listens_is_unreachable(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    async with FakeUpstream.running(fake_upstreams.close_at_once) as fake_upstream:
        origin = fake_upstream.origin
    client = await start_client(origin)
    with pytest.raises(errors.ApiError) as refused:
        await get(client, idempotent=False)
    assert (refused.value.status, refused.value.reason) == (502, "upstream-connect-error")


async def test_a_connection_takes_no_longer_than_its_timeout(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    async def mute(talk: UpstreamConnection) -> None:
        await talk.gone()  # no TLS handshake

    fake_upstream = await start_upstream(mute)
    started = asyncio.get_running_loop().time()
    client = await start_client(fake_upstream.origin.replace("http:", "https:"), connect_timeout=0.1)
    with pytest.raises(errors.ApiError) as refused:
        await get(client, idempotent=False)
    assert refused.value.reason == "upstream-connect-error"
    assert asyncio.get_running_loop().time() - started < 2
    await wait_until(lambda: fake_upstream.open == 0)


# --- Trying again


async def test_a_read_is_sent_again_after_a_break(start_upstream: StartUpstream, start_client: StartClient) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection(times=2))
    response = await get(await start_client(fake_upstream.origin))
    assert (response.attempts, await content(response), len(fake_upstream.requests)) == (3, b"{}", 3)


async def test_a_third_break_is_the_last(start_upstream: StartUpstream, start_client: StartClient) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection())
    with pytest.raises(errors.ApiError) as refused:
        await get(await start_client(fake_upstream.origin))
    assert (refused.value.status, refused.value.reason, len(fake_upstream.requests)) == (502, "upstream-read-error", 3)


async def test_a_streamed_body_is_never_sent_twice(start_upstream: StartUpstream, start_client: StartClient) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection(times=1))
    client = await start_client(fake_upstream.origin)
    with pytest.raises(errors.ApiError) as refused:
        await put(client, lambda: chunks_of(b"body"), 4)
    assert (refused.value.status, len(fake_upstream.requests)) == (502, 1)


async def test_a_streamed_body_of_which_nothing_was_sent_goes_again(
    start_client: StartClient, unused_tcp_port: int
) -> None:
    given = 0

    def body() -> Body:
        nonlocal given
        given += 1
        return chunks_of(b"body")

    async def response(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"body")
        writer.write(OK)
        await reader.read()
        writer.close()

    async def listen_late() -> asyncio.Server:
        # After the first attempt, and before the third.
        await asyncio.sleep(0.02)
        return await asyncio.start_server(response, "127.0.0.1", unused_tcp_port)

    client = await start_client(f"http://localhost:{unused_tcp_port}")
    late = asyncio.create_task(listen_late())
    result = await put(client, body, 4, idempotent=False)
    async with await late:
        assert (given, await content(result)) == (1, b"{}")
        assert result.attempts > 1


async def test_a_dead_upstream_uses_up_the_retries(start_upstream: StartUpstream, start_client: StartClient) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection())
    client = await start_client(fake_upstream.origin)
    requests = 40
    for _ in range(requests):
        with pytest.raises(errors.ApiError):
            await get(client)
    # The reserve of 10, and a tenth of the requests.
    assert requests + 10 <= len(fake_upstream.requests) <= requests + 10 + requests // 10


def test_retries_are_a_tenth_of_the_requests_beyond_the_reserve() -> None:
    budget = RetryBudget()
    assert sum(budget.spend() for _ in range(100)) == 10
    for _ in range(1000):
        budget.earn()
    assert sum(budget.spend() for _ in range(100)) == 10
    spent = 0
    for _ in range(1000):
        budget.earn()
        spent += budget.spend()
    assert 98 <= spent <= 101
