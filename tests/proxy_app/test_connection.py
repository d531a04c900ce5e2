"""The upstream client: responses of every form, and the connections that it reuses or closes."""

import asyncio

import pytest

from proxy_app import errors
from proxy_app.http_client.connection import ReadError
from proxy_app.settings import Settings
from proxy_app.upstream.client import UpstreamClient
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, UpstreamConnection, response_with_length
from tests.doubles.running_proxy import wait_until
from tests.doubles.upstream_client import content, get, open_connections

from .conftest import StartClient, StartUpstream

CHUNKED = (
    b"HTTP/1.1 200 Very Well\r\nX-One: first\r\nX-One: second\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n1;extension=1\r\nd\r\nA\r\n0123456789\r\n0\r\n\r\n"
)


async def test_connection_is_reused_after_a_complete_response(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(OK, CHUNKED, response_with_length(b"", status=b"204 No Content"), OK)
    )
    client = await start_client(fake_upstream.origin)
    assert [await content(await get(client)) for _ in range(5)] == [b"{}", b"abcd0123456789", b"", b"{}", b"{}"]
    assert fake_upstream.connections == 1


async def test_concurrent_requests_use_separate_connections(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_by(fake_upstreams.echo))
    client = await start_client(fake_upstream.origin)
    for _ in range(3):
        responses = await asyncio.gather(*(get(client, f"/{number}") for number in range(8)))
        for number, upstream in enumerate(responses):
            assert (await content(upstream)).startswith(b"GET /%d HTTP/1.1\r\n" % number)
    assert fake_upstream.connections == 8


async def test_connection_can_be_reused_before_its_last_response_is_consumed(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    """The next request may take it between the arrival of the last byte and the reader's next step."""

    async def respond_in_two_parts(connection: UpstreamConnection) -> None:
        while True:
            received = await connection.read_request()
            echo = fake_upstreams.echo(received)
            await connection.send(echo[:-5])
            await asyncio.sleep(0.001)
            await connection.send(echo[-5:])

    fake_upstream = await start_upstream(respond_in_two_parts)
    client = await start_client(fake_upstream.origin)
    # At most three requests at a time, so that they take over each other's connections.
    limit = asyncio.Semaphore(3)

    async def send(number: int) -> None:
        async with limit:
            upstream = await get(client, f"/{number}")
        # The body is read outside of the limit, while the next request starts.
        assert (await content(upstream)).startswith(b"GET /%d HTTP/1.1\r\n" % number)

    async with asyncio.timeout(5):
        await asyncio.gather(*(send(number) for number in range(300)))


async def test_response_is_parsed_equally_however_it_is_split(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    chunks: list[bytes] = []
    fake_upstream = await start_upstream(fake_upstreams.respond_in_chunks(chunks))
    client = await start_client(fake_upstream.origin)
    with_interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + CHUNKED
    in_two = [[data[:at], data[at:]] for data in (CHUNKED, with_interim) for at in range(1, len(data))]
    in_bytes = [with_interim[at : at + 1] for at in range(len(with_interim))]
    for split in [*in_two, in_bytes]:
        chunks[:] = split
        upstream = await get(client)
        assert await content(upstream) == b"abcd0123456789", split
        response = upstream.response
        assert (response.status, response.reason, response.headers) == (
            200,
            "Very Well",
            [(b"X-One", b"first"), (b"X-One", b"second"), (b"Transfer-Encoding", b"chunked")],
        ), split
    assert fake_upstream.connections == 1


async def test_response_without_a_length_ends_with_the_connection(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    body = bytes(range(256)) * 4096
    fake_upstream = await start_upstream(fake_upstreams.respond_then_close(b"HTTP/1.1 200 OK\r\n\r\n" + body))
    client = await start_client(fake_upstream.origin)
    assert await content(await get(client)) == body
    assert await content(await get(client)) == body
    assert fake_upstream.connections == 2


async def test_reset_of_a_response_without_a_length_is_an_error(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    async def reset_in_the_body(connection: UpstreamConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        await asyncio.sleep(0.05)
        connection.reset()

    fake_upstream = await start_upstream(reset_in_the_body)
    upstream = await get(await start_client(fake_upstream.origin))
    with pytest.raises(ReadError):
        await content(upstream)


async def test_response_to_head_has_a_length_and_no_body(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    )
    client = await start_client(fake_upstream.origin)
    for _ in range(3):
        upstream = await get(client, method="HEAD")
        assert (upstream.response.content_length, await content(upstream)) == (5000, b"")


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_response_with_status_204_or_304_has_no_body(
    start_upstream: StartUpstream, start_client: StartClient, status: bytes
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(b"HTTP/1.1 " + status + b'\r\nETag: "1"\r\n\r\n'))
    client = await start_client(fake_upstream.origin)
    assert [await content(await get(client)) for _ in range(2)] == [b"", b""]
    assert fake_upstream.connections == 1


async def test_interim_responses_are_skipped(start_upstream: StartUpstream, start_client: StartClient) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    fake_upstream = await start_upstream(fake_upstreams.respond_with(interim + OK, interim + interim + OK))
    client = await start_client(fake_upstream.origin)
    for _ in range(2):
        upstream = await get(client)
        assert [name for name, _ in upstream.response.headers] == [b"Content-Type", b"Content-Length"]
        assert (upstream.response.status, upstream.response.reason, await content(upstream)) == (200, "OK", b"{}")
    assert fake_upstream.connections == 1


async def test_trailers_are_not_added_to_the_headers(start_upstream: StartUpstream, start_client: StartClient) -> None:
    with_trailer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nSet-Cookie: a=b\r\n\r\n"
    fake_upstream = await start_upstream(fake_upstreams.respond_with(with_trailer))
    client = await start_client(fake_upstream.origin)
    for _ in range(2):
        upstream = await get(client)
        assert await content(upstream) == b"{}"
        assert upstream.response.headers == [(b"Transfer-Encoding", b"chunked")]


async def test_large_response_head_is_read(start_upstream: StartUpstream, start_client: StartClient) -> None:
    value = b"v" * 60_000
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(response_with_length(b"{}", b"X-Large: " + value, b"X-Other: " + value))
    )
    upstream = await get(await start_client(fake_upstream.origin))
    assert (upstream.response.header(b"x-large"), await content(upstream)) == (value.decode(), b"{}")


async def test_endless_response_head_is_an_error(start_upstream: StartUpstream, start_client: StartClient) -> None:
    async def send_endless_head(connection: UpstreamConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nX-Large: ")
        while True:
            await connection.send(b"v" * 65536)
            connection.fake_upstream.moved += 65536

    fake_upstream = await start_upstream(send_endless_head)
    client = await start_client(fake_upstream.origin)
    with pytest.raises(errors.ApiError, match="was lost"):
        await get(client, idempotent=False)
    # The sockets' buffers take a few MiB.
    assert fake_upstream.moved < 16 << 20


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
    ids=[
        "TLS",
        "SSH",
        "no status",
        "two lengths",
        "negative length",
        "length and chunked",
        "NUL in a header",
        "upgrade",
    ],
)
async def test_invalid_response_is_an_error(
    start_upstream: StartUpstream, start_client: StartClient, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(data))
    client = await start_client(fake_upstream.origin)
    with pytest.raises(errors.ApiError) as raised:
        await get(client, idempotent=False)
    assert (raised.value.status, raised.value.reason) == (409, "outcome-unknown")
    await wait_until(lambda: fake_upstream.open == 0)
    assert not caplog.records


async def test_invalid_chunk_is_an_error(start_upstream: StartUpstream, start_client: StartClient) -> None:
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nnonsense\r\n")
    )
    client = await start_client(fake_upstream.origin)
    with pytest.raises((errors.ApiError, ReadError)):
        await content(await get(client, idempotent=False))
    await wait_until(lambda: fake_upstream.open == 0)


@pytest.mark.parametrize(
    "second", [response_with_length(b"{}", b"X-Forged: 1"), b"invalid"], ids=["response", "invalid"]
)
async def test_data_after_a_response_is_discarded_with_the_connection(
    start_upstream: StartUpstream, start_client: StartClient, second: bytes
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK + second, OK))
    client = await start_client(fake_upstream.origin)
    for _ in range(2):
        upstream = await get(client)
        assert (upstream.response.header(b"x-forged"), await content(upstream)) == ("", b"{}")
    assert fake_upstream.connections == 2


async def test_unsolicited_response_closes_an_idle_connection(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.send_unsolicited(response_with_length(b"forged")))
    client = await start_client(fake_upstream.origin)
    assert await content(await get(client)) == b"{}"
    await wait_until(lambda: fake_upstream.open == 0)
    assert await content(await get(client)) == b"{}"
    assert fake_upstream.connections == 2


async def test_connection_that_the_upstream_closed_is_replaced(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_then_close(OK))
    client = await start_client(fake_upstream.origin)
    for _ in range(3):
        upstream = await get(client, idempotent=False)
        assert (upstream.attempts, await content(upstream)) == (1, b"{}")
        await wait_until(lambda: not open_connections(fake_upstream))
    assert fake_upstream.connections == 3


async def test_idle_connection_is_closed_after_keepalive(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    client = await start_client(fake_upstream.origin, upstream_keepalive=0.1, upstream_timeout=0.4)
    assert await content(await get(client)) == b"{}"
    assert fake_upstream.open == 1
    await wait_until(lambda: fake_upstream.open == 0)


async def test_connection_of_an_http_1_0_response_is_not_reused(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
    client = await start_client(fake_upstream.origin)
    assert [await content(await get(client)) for _ in range(2)] == [b"{}", b"{}"]
    assert fake_upstream.connections == 2


async def test_all_connections_are_closed_at_the_end(start_upstream: StartUpstream) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_by(fake_upstreams.echo))
    client = UpstreamClient(Settings(upstream_url=fake_upstream.origin), fake_upstream.origin)
    async with client.running():
        await asyncio.gather(*(get(client) for _ in range(5)))
        assert fake_upstream.open == 5
    await wait_until(lambda: fake_upstream.open == 0)
