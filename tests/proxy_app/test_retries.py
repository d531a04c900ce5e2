"""The upstream client: failures without a complete response, and which requests are retried."""

import asyncio

import pytest

from proxy_app import errors
from proxy_app.http_client.connection import Body, ReadError, ReadTimeout
from proxy_app.http_client.pool import RetryBudget
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, FakeUpstream, UpstreamConnection
from tests.doubles.running_proxy import wait_until
from tests.doubles.upstream_client import chunks_of, content, get, put

from .conftest import StartClient, StartUpstream

# --- Failures


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
@pytest.mark.parametrize("reset", [False, True])
async def test_write_is_aborted_with_409_when_the_connection_closes_before_the_head(
    start_upstream: StartUpstream, start_client: StartClient, part: bytes, reset: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection(part, reset=reset))
    client = await start_client(fake_upstream.origin)
    with pytest.raises(errors.ApiError) as error:
        await get(client, idempotent=False)
    assert (error.value.status, error.value.error_code) == (409, "ABORTED")
    assert len(fake_upstream.requests) == 1


@pytest.mark.parametrize(
    "part",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
    ],
)
async def test_connection_closed_in_the_body_raises_read_error(
    start_upstream: StartUpstream, start_client: StartClient, part: bytes
) -> None:
    close = asyncio.Event()

    async def behave(connection: UpstreamConnection) -> None:
        await connection.read_request()
        await connection.send(part)
        await close.wait()

    fake_upstream = await start_upstream(behave)
    response = await get(await start_client(fake_upstream.origin))
    close.set()
    with pytest.raises(ReadError):
        await content(response)


async def test_upstream_that_does_not_respond_times_out(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall())
    client = await start_client(fake_upstream.origin, upstream_timeout=0.2)
    for idempotent, status in ((True, 504), (False, 409)):
        with pytest.raises(errors.ApiError, match=r"within 0\.2 seconds") as error:
            await get(client, idempotent=idempotent)
        assert error.value.status == status
    await wait_until(lambda: fake_upstream.open == 0)
    # A request that timed out is not retried.
    assert len(fake_upstream.requests) == 2


async def test_upstream_that_stalls_in_the_body_times_out(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart"))
    response = await get(await start_client(fake_upstream.origin, upstream_timeout=0.2))
    with pytest.raises(ReadTimeout):
        await content(response)
    await wait_until(lambda: fake_upstream.open == 0)


async def test_closed_port_is_reported_as_connect_error(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    async with FakeUpstream.running(fake_upstreams.close_at_once) as fake_upstream:
        origin = fake_upstream.origin
    client = await start_client(origin)
    with pytest.raises(errors.ApiError) as error:
        await get(client, idempotent=False)
    assert (error.value.status, error.value.reason) == (502, "upstream-connect-error")


async def test_connect_timeout_includes_the_tls_handshake(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    async def no_handshake(connection: UpstreamConnection) -> None:
        await connection.gone()

    fake_upstream = await start_upstream(no_handshake)
    started = asyncio.get_running_loop().time()
    client = await start_client(fake_upstream.origin.replace("http:", "https:"), connect_timeout=0.1)
    with pytest.raises(errors.ApiError) as error:
        await get(client, idempotent=False)
    assert error.value.reason == "upstream-connect-error"
    assert asyncio.get_running_loop().time() - started < 2
    await wait_until(lambda: fake_upstream.open == 0)


# --- Retries


async def test_read_is_retried_after_closed_connections(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection(times=2))
    response = await get(await start_client(fake_upstream.origin))
    assert (response.attempts, await content(response), len(fake_upstream.requests)) == (3, b"{}", 3)


async def test_third_failed_attempt_is_the_last(start_upstream: StartUpstream, start_client: StartClient) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection())
    with pytest.raises(errors.ApiError) as error:
        await get(await start_client(fake_upstream.origin))
    assert (error.value.status, error.value.reason, len(fake_upstream.requests)) == (502, "upstream-read-error", 3)


async def test_streamed_body_is_not_sent_twice(start_upstream: StartUpstream, start_client: StartClient) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection(times=1))
    client = await start_client(fake_upstream.origin)
    with pytest.raises(errors.ApiError) as error:
        await put(client, lambda: chunks_of(b"body"), 4)
    assert (error.value.status, len(fake_upstream.requests)) == (502, 1)


async def test_streamed_body_is_sent_after_a_failed_connection_attempt(
    start_client: StartClient, unused_tcp_port: int
) -> None:
    bodies = 0

    def body() -> Body:
        nonlocal bodies
        bodies += 1
        return chunks_of(b"body")

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"body")
        writer.write(OK)
        await reader.read()
        writer.close()

    async def listen_late() -> asyncio.Server:
        # After the first attempt, and before the third.
        await asyncio.sleep(0.02)
        return await asyncio.start_server(respond, "127.0.0.1", unused_tcp_port)

    client = await start_client(f"http://localhost:{unused_tcp_port}")
    server = asyncio.create_task(listen_late())
    result = await put(client, body, 4, idempotent=False)
    async with await server:
        assert (bodies, await content(result)) == (1, b"{}")
        assert result.attempts > 1


async def test_retries_of_a_failing_upstream_are_limited(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection())
    client = await start_client(fake_upstream.origin)
    requests = 40
    for _ in range(requests):
        with pytest.raises(errors.ApiError):
            await get(client)
    # The reserve of 10, and a tenth of the number of requests.
    assert requests + 10 <= len(fake_upstream.requests) <= requests + 10 + requests // 10


def test_retry_budget_is_a_tenth_of_the_requests_beyond_the_reserve() -> None:
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
