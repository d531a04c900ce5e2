"""The upstream's client: what it makes of every kind of answer."""

import asyncio

import pytest

from proxy_app import errors
from proxy_app.http_client.connection import ReadError
from proxy_app.settings import Settings
from proxy_app.upstream.client import UpstreamClient
from tests.doubles import toy_upstreams as toys
from tests.doubles.running_proxy import until
from tests.doubles.toy_upstreams import OK, Talk, with_length
from tests.doubles.upstream_client import connections_to, content, get

from .conftest import StartClient, StartToy

CHUNKED = (
    b"HTTP/1.1 200 Very Well\r\nX-One: first\r\nX-One: second\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n1;extension=1\r\nd\r\nA\r\n0123456789\r\n0\r\n\r\n"
)


async def test_a_connection_is_used_again_after_a_whole_answer(start_toy: StartToy, start_client: StartClient) -> None:
    toy = await start_toy(toys.answering(OK, CHUNKED, with_length(b"", status=b"204 No Content"), OK))
    client = await start_client(toy.origin)
    assert [await content(await get(client)) for _ in range(5)] == [b"{}", b"abcd0123456789", b"", b"{}", b"{}"]
    assert toy.connections == 1


async def test_exchanges_at_the_same_time_have_connections_of_their_own(
    start_toy: StartToy, start_client: StartClient
) -> None:
    toy = await start_toy(toys.answering_by(toys.echoing))
    client = await start_client(toy.origin)
    for _ in range(3):
        answers = await asyncio.gather(*(get(client, f"/{number}") for number in range(8)))
        for number, answer in enumerate(answers):
            assert (await content(answer)).startswith(b"GET /%d HTTP/1.1\r\n" % number)
    assert toy.connections == 8


async def test_a_connection_serves_its_next_request_whenever_that_comes(
    start_toy: StartToy, start_client: StartClient
) -> None:
    """The next may take it between the last byte of an answer and the moment in which its reader hears of that."""

    async def in_two_parts(talk: Talk) -> None:
        while True:
            asked = await talk.ask()
            echo = toys.echoing(asked)
            await talk.send(echo[:-5])
            await asyncio.sleep(0.001)
            await talk.send(echo[-5:])

    toy = await start_toy(in_two_parts)
    client = await start_client(toy.origin)
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
    start_toy: StartToy, start_client: StartClient
) -> None:
    pieces: list[bytes] = []
    toy = await start_toy(toys.in_pieces(pieces))
    client = await start_client(toy.origin)
    with_interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + CHUNKED
    cuts = [[whole[:at], whole[at:]] for whole in (CHUNKED, with_interim) for at in range(1, len(whole))]
    by_byte = [with_interim[at : at + 1] for at in range(len(with_interim))]
    for cut in [*cuts, by_byte]:
        pieces[:] = cut
        answer = await get(client)
        assert await content(answer) == b"abcd0123456789", cut
        response = answer.response
        assert (response.status, response.reason, response.headers) == (
            200,
            "Very Well",
            [(b"X-One", b"first"), (b"X-One", b"second"), (b"Transfer-Encoding", b"chunked")],
        ), cut
    assert toy.connections == 1


async def test_an_answer_without_a_length_lasts_until_the_end(start_toy: StartToy, start_client: StartClient) -> None:
    body = bytes(range(256)) * 4096
    toy = await start_toy(toys.answering_then_closing(b"HTTP/1.1 200 OK\r\n\r\n" + body))
    client = await start_client(toy.origin)
    assert await content(await get(client)) == body
    assert await content(await get(client)) == body
    assert toy.connections == 2


async def test_an_answer_without_a_length_that_ends_with_a_reset_is_broken(
    start_toy: StartToy, start_client: StartClient
) -> None:
    async def reset_later(talk: Talk) -> None:
        await talk.ask()
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        await asyncio.sleep(0.05)
        talk.reset()

    toy = await start_toy(reset_later)
    answer = await get(await start_client(toy.origin))
    with pytest.raises(ReadError):
        await content(answer)


async def test_the_answer_to_a_head_has_a_length_and_no_body(start_toy: StartToy, start_client: StartClient) -> None:
    toy = await start_toy(toys.answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"))
    client = await start_client(toy.origin)
    for _ in range(3):
        answer = await get(client, method="HEAD")
        assert (answer.response.content_length, await content(answer)) == (5000, b"")


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_some_answers_never_have_a_body(start_toy: StartToy, start_client: StartClient, status: bytes) -> None:
    toy = await start_toy(toys.answering(b"HTTP/1.1 " + status + b'\r\nETag: "1"\r\n\r\n'))
    client = await start_client(toy.origin)
    assert [await content(await get(client)) for _ in range(2)] == [b"", b""]
    assert toy.connections == 1


async def test_interim_answers_are_passed_over(start_toy: StartToy, start_client: StartClient) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    toy = await start_toy(toys.answering(interim + OK, interim + interim + OK))
    client = await start_client(toy.origin)
    for _ in range(2):
        answer = await get(client)
        assert [name for name, _ in answer.response.headers] == [b"Content-Type", b"Content-Length"]
        assert (answer.response.status, answer.response.reason, await content(answer)) == (200, "OK", b"{}")
    assert toy.connections == 1


async def test_trailers_do_not_become_headers(start_toy: StartToy, start_client: StartClient) -> None:
    trailed = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nSet-Cookie: a=b\r\n\r\n"
    toy = await start_toy(toys.answering(trailed))
    client = await start_client(toy.origin)
    for _ in range(2):
        answer = await get(client)
        assert await content(answer) == b"{}"
        assert answer.response.headers == [(b"Transfer-Encoding", b"chunked")]


async def test_a_large_head_is_read(start_toy: StartToy, start_client: StartClient) -> None:
    value = b"v" * 60_000
    toy = await start_toy(toys.answering(with_length(b"{}", b"X-Large: " + value, b"X-Other: " + value)))
    answer = await get(await start_client(toy.origin))
    assert (answer.response.header(b"x-large"), await content(answer)) == (value.decode(), b"{}")


async def test_a_head_without_end_is_not_held(start_toy: StartToy, start_client: StartClient) -> None:
    async def endless(talk: Talk) -> None:
        await talk.ask()
        await talk.send(b"HTTP/1.1 200 OK\r\nX-Large: ")
        while True:
            await talk.send(b"v" * 65536)
            talk.toy.moved += 65536

    toy = await start_toy(endless)
    client = await start_client(toy.origin)
    with pytest.raises(errors.ApiError, match="was lost"):
        await get(client, idempotent=False)
    # The sockets' own buffers take a few MiB.
    assert toy.moved < 16 << 20


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
    start_toy: StartToy, start_client: StartClient, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    toy = await start_toy(toys.answering(garbage))
    client = await start_client(toy.origin)
    with pytest.raises(errors.ApiError) as refused:
        await get(client, idempotent=False)
    assert (refused.value.status, refused.value.reason) == (409, "outcome-unknown")
    await until(lambda: toy.open == 0)
    assert not caplog.records


async def test_garbage_in_a_chunked_body_breaks_it(start_toy: StartToy, start_client: StartClient) -> None:
    toy = await start_toy(
        toys.answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nnonsense\r\n")
    )
    client = await start_client(toy.origin)
    with pytest.raises((errors.ApiError, ReadError)):
        await content(await get(client, idempotent=False))
    await until(lambda: toy.open == 0)


@pytest.mark.parametrize("second", [with_length(b"{}", b"X-Forged: 1"), b"garbage"])
async def test_what_comes_behind_an_answer_is_nobodys(
    start_toy: StartToy, start_client: StartClient, second: bytes
) -> None:
    toy = await start_toy(toys.answering(OK + second, OK))
    client = await start_client(toy.origin)
    for _ in range(2):
        answer = await get(client)
        assert (answer.response.header(b"x-forged"), await content(answer)) == ("", b"{}")
    assert toy.connections == 2


async def test_what_an_idle_connection_says_ends_it(start_toy: StartToy, start_client: StartClient) -> None:
    toy = await start_toy(toys.speaking_unasked(with_length(b"forged")))
    client = await start_client(toy.origin)
    assert await content(await get(client)) == b"{}"
    await until(lambda: toy.open == 0)
    assert await content(await get(client)) == b"{}"
    assert toy.connections == 2


async def test_a_connection_that_the_upstream_closed_while_idle_is_replaced(
    start_toy: StartToy, start_client: StartClient
) -> None:
    toy = await start_toy(toys.answering_then_closing(OK))
    client = await start_client(toy.origin)
    for _ in range(3):
        answer = await get(client, idempotent=False)
        assert (answer.attempts, await content(answer)) == (1, b"{}")
        await until(lambda: not connections_to(toy))
    assert toy.connections == 3


async def test_an_idle_connection_is_closed_after_its_time(start_toy: StartToy, start_client: StartClient) -> None:
    toy = await start_toy(toys.answering(OK))
    client = await start_client(toy.origin, upstream_keepalive=0.1, upstream_timeout=0.4)
    assert await content(await get(client)) == b"{}"
    assert toy.open == 1
    await until(lambda: toy.open == 0)


async def test_an_http_1_0_answer_is_not_followed_by_another_request(
    start_toy: StartToy, start_client: StartClient
) -> None:
    toy = await start_toy(toys.answering(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
    client = await start_client(toy.origin)
    assert [await content(await get(client)) for _ in range(2)] == [b"{}", b"{}"]
    assert toy.connections == 2


async def test_at_the_end_every_connection_is_closed(start_toy: StartToy) -> None:
    toy = await start_toy(toys.answering_by(toys.echoing))
    client = UpstreamClient(Settings(upstream_url=toy.origin), toy.origin)
    async with client.running():
        await asyncio.gather(*(get(client) for _ in range(5)))
        assert toy.open == 5
    await until(lambda: toy.open == 0)
