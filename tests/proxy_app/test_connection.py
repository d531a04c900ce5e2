"""The upstream's client: what it makes of every kind of answer."""

import asyncio

import pytest

from proxy_app import errors
from proxy_app.http_client.connection import ReadError
from proxy_app.settings import Settings
from proxy_app.upstream.client import UpstreamClient
from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import OK, UpstreamConnection, response_with_length
from tests.doubles.running_proxy import wait_until
from tests.doubles.upstream_client import content, get, open_connections

from .conftest import StartClient, StartUpstream

CHUNKED = (
    b"HTTP/1.1 200 Very Well\r\nX-One: first\r\nX-One: second\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n1;extension=1\r\nd\r\nA\r\n0123456789\r\n0\r\n\r\n"
)


async def test_a_connection_is_used_again_after_a_whole_answer(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(OK, CHUNKED, response_with_length(b"", status=b"204 No Content"), OK)
    )
    client = await start_client(fake_upstream.origin)
    assert [await content(await get(client)) for _ in range(5)] == [b"{}", b"abcd0123456789", b"", b"{}", b"{}"]
    assert fake_upstream.connections == 1


async def test_exchanges_at_the_same_time_have_connections_of_their_own(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_by(fake_upstreams.echo))
    client = await start_client(fake_upstream.origin)
    for _ in range(3):
        responses = await asyncio.gather(*(get(client, f"/{number}") for number in range(8)))
        for number, answer in enumerate(responses):
            assert (await content(answer)).startswith(b"GET /%d HTTP/1.1\r\n" % number)
    assert fake_upstream.connections == 8


async def test_a_connection_serves_its_next_request_whenever_that_comes(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    """The next may take it between the last byte of an answer and the moment in which its reader hears of that."""

    async def in_two_parts(talk: UpstreamConnection) -> None:
        while True:
            received = await talk.read_request()
            echo = fake_upstreams.echo(received)
            await talk.send(echo[:-5])
            await asyncio.sleep(0.001)
            await talk.send(echo[-5:])

    fake_upstream = await start_upstream(in_two_parts)
    client = await start_client(fake_upstream.origin)
    # No more than a few at once, so that each waits for the connection of another.
    places = asyncio.Semaphore(3)

    async def one(number: int) -> None:
        async with places:
            answer = await get(client, f"/{number}")
        # Read where nobody waits for it, while others take the place.
        assert (await content(answer)).startswith(b"GET /%d HTTP/1.1\r\n" % number)

    async with asyncio.timeout(5):
        await asyncio.gather(*(one(number) for number in range(300)))


async def test_an_answer_is_the_same_wherever_the_network_cuts_it(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    chunks: list[bytes] = []
    fake_upstream = await start_upstream(fake_upstreams.respond_in_chunks(chunks))
    client = await start_client(fake_upstream.origin)
    with_interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + CHUNKED
    cuts = [[whole[:at], whole[at:]] for whole in (CHUNKED, with_interim) for at in range(1, len(whole))]
    by_byte = [with_interim[at : at + 1] for at in range(len(with_interim))]
    for cut in [*cuts, by_byte]:
        chunks[:] = cut
        answer = await get(client)
        assert await content(answer) == b"abcd0123456789", cut
        response = answer.response
        assert (response.status, response.reason, response.headers) == (
            200,
            "Very Well",
            [(b"X-One", b"first"), (b"X-One", b"second"), (b"Transfer-Encoding", b"chunked")],
        ), cut
    assert fake_upstream.connections == 1


async def test_an_answer_without_a_length_lasts_until_the_end(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    body = bytes(range(256)) * 4096
    fake_upstream = await start_upstream(fake_upstreams.respond_then_close(b"HTTP/1.1 200 OK\r\n\r\n" + body))
    client = await start_client(fake_upstream.origin)
    assert await content(await get(client)) == body
    assert await content(await get(client)) == body
    assert fake_upstream.connections == 2


async def test_an_answer_without_a_length_that_ends_with_a_reset_is_broken(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    async def reset_later(talk: UpstreamConnection) -> None:
        await talk.read_request()
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        await asyncio.sleep(0.05)
        talk.reset()

    fake_upstream = await start_upstream(reset_later)
    answer = await get(await start_client(fake_upstream.origin))
    with pytest.raises(ReadError):
        await content(answer)


async def test_the_answer_to_a_head_has_a_length_and_no_body(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    )
    client = await start_client(fake_upstream.origin)
    for _ in range(3):
        answer = await get(client, method="HEAD")
        assert (answer.response.content_length, await content(answer)) == (5000, b"")


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_some_answers_never_have_a_body(
    start_upstream: StartUpstream, start_client: StartClient, status: bytes
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(b"HTTP/1.1 " + status + b'\r\nETag: "1"\r\n\r\n'))
    client = await start_client(fake_upstream.origin)
    assert [await content(await get(client)) for _ in range(2)] == [b"", b""]
    assert fake_upstream.connections == 1


async def test_interim_answers_are_passed_over(start_upstream: StartUpstream, start_client: StartClient) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    fake_upstream = await start_upstream(fake_upstreams.respond_with(interim + OK, interim + interim + OK))
    client = await start_client(fake_upstream.origin)
    for _ in range(2):
        answer = await get(client)
        assert [name for name, _ in answer.response.headers] == [b"Content-Type", b"Content-Length"]
        assert (answer.response.status, answer.response.reason, await content(answer)) == (200, "OK", b"{}")
    assert fake_upstream.connections == 1


async def test_trailers_do_not_become_headers(start_upstream: StartUpstream, start_client: StartClient) -> None:
    trailed = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nSet-Cookie: a=b\r\n\r\n"
    fake_upstream = await start_upstream(fake_upstreams.respond_with(trailed))
    client = await start_client(fake_upstream.origin)
    for _ in range(2):
        answer = await get(client)
        assert await content(answer) == b"{}"
        assert answer.response.headers == [(b"Transfer-Encoding", b"chunked")]


async def test_a_large_head_is_read(start_upstream: StartUpstream, start_client: StartClient) -> None:
    value = b"v" * 60_000
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(response_with_length(b"{}", b"X-Large: " + value, b"X-Other: " + value))
    )
    answer = await get(await start_client(fake_upstream.origin))
    assert (answer.response.header(b"x-large"), await content(answer)) == (value.decode(), b"{}")


async def test_a_head_without_end_is_not_held(start_upstream: StartUpstream, start_client: StartClient) -> None:
    async def endless(talk: UpstreamConnection) -> None:
        await talk.read_request()
        await talk.send(b"HTTP/1.1 200 OK\r\nX-Large: ")
        while True:
            await talk.send(b"v" * 65536)
            talk.fake_upstream.moved += 65536

    fake_upstream = await start_upstream(endless)
    client = await start_client(fake_upstream.origin)
    with pytest.raises(errors.ApiError, match="was lost"):
        await get(client, idempotent=False)
    # The sockets' own buffers take a few MiB.
    assert fake_upstream.moved < 16 << 20


@pytest.mark.parametrize(
    "garbage",
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
)
async def test_what_is_no_answer_is_an_error(
    start_upstream: StartUpstream, start_client: StartClient, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(garbage))
    client = await start_client(fake_upstream.origin)
    with pytest.raises(errors.ApiError) as refused:
        await get(client, idempotent=False)
    assert (refused.value.status, refused.value.reason) == (409, "outcome-unknown")
    await wait_until(lambda: fake_upstream.open == 0)
    assert not caplog.records


async def test_garbage_in_a_chunked_body_breaks_it(start_upstream: StartUpstream, start_client: StartClient) -> None:
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nnonsense\r\n")
    )
    client = await start_client(fake_upstream.origin)
    with pytest.raises((errors.ApiError, ReadError)):
        await content(await get(client, idempotent=False))
    await wait_until(lambda: fake_upstream.open == 0)


@pytest.mark.parametrize("second", [response_with_length(b"{}", b"X-Forged: 1"), b"garbage"])
async def test_what_comes_behind_an_answer_is_nobodys(
    start_upstream: StartUpstream, start_client: StartClient, second: bytes
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK + second, OK))
    client = await start_client(fake_upstream.origin)
    for _ in range(2):
        answer = await get(client)
        assert (answer.response.header(b"x-forged"), await content(answer)) == ("", b"{}")
    assert fake_upstream.connections == 2


async def test_what_an_idle_connection_says_ends_it(start_upstream: StartUpstream, start_client: StartClient) -> None:
    fake_upstream = await start_upstream(fake_upstreams.send_unsolicited(response_with_length(b"forged")))
    client = await start_client(fake_upstream.origin)
    assert await content(await get(client)) == b"{}"
    await wait_until(lambda: fake_upstream.open == 0)
    assert await content(await get(client)) == b"{}"
    assert fake_upstream.connections == 2


async def test_a_connection_that_the_upstream_closed_while_idle_is_replaced(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_then_close(OK))
    client = await start_client(fake_upstream.origin)
    for _ in range(3):
        answer = await get(client, idempotent=False)
        assert (answer.attempts, await content(answer)) == (1, b"{}")
        await wait_until(lambda: not open_connections(fake_upstream))
    assert fake_upstream.connections == 3


async def test_an_idle_connection_is_closed_after_its_time(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    client = await start_client(fake_upstream.origin, upstream_keepalive=0.1, upstream_timeout=0.4)
    assert await content(await get(client)) == b"{}"
    assert fake_upstream.open == 1
    await wait_until(lambda: fake_upstream.open == 0)


async def test_an_http_1_0_answer_is_not_followed_by_another_request(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
    client = await start_client(fake_upstream.origin)
    assert [await content(await get(client)) for _ in range(2)] == [b"{}", b"{}"]
    assert fake_upstream.connections == 2


async def test_at_the_end_every_connection_is_closed(start_upstream: StartUpstream) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_by(fake_upstreams.echo))
    client = UpstreamClient(Settings(upstream_url=fake_upstream.origin), fake_upstream.origin)
    async with client.running():
        await asyncio.gather(*(get(client) for _ in range(5)))
        assert fake_upstream.open == 5
    await wait_until(lambda: fake_upstream.open == 0)
