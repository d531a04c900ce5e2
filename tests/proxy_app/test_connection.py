"""The upstream's client: what it makes of every kind of answer, and of every way to get none."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import psutil
import pytest
import pytest_asyncio

from local.standin.tls import Authority
from proxy_app import errors
from proxy_app.settings import Settings
from proxy_app.upstream.connection import Body, Broken, Silent
from proxy_app.upstream.pool import Answer, Headers, Pool, RetryBudget
from tests.doubles import toy_upstreams as toys
from tests.doubles.running_gate import settled, until
from tests.doubles.toy_upstreams import OK, Talk, Toy, with_length

from .conftest import StartToy

StartPool = Callable[..., Awaitable[Pool]]

CHUNKED = (
    b"HTTP/1.1 200 Very Well\r\nX-One: first\r\nX-One: second\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n1;extension=1\r\nd\r\nA\r\n0123456789\r\n0\r\n\r\n"
)


@pytest_asyncio.fixture
async def start_pool() -> AsyncGenerator[StartPool]:
    async with contextlib.AsyncExitStack() as stack:

        async def start(origin: str, **changes: Any) -> Pool:
            told: dict[str, Any] = {"upstream_url": origin, "upstream_timeout": 5.0, "connect_timeout": 2.0, **changes}
            pool = Pool(Settings(**told), origin)
            await stack.enter_async_context(pool.running())
            return pool

        yield start


async def get(
    pool: Pool, path: str = "/", *, method: str = "GET", headers: Headers = (), replay: bool = True
) -> Answer:
    return await pool.send(method, path, headers, bytes, length=0, replay=replay)


async def content(answer: Answer) -> bytes:
    return await answer.response.read()


async def put(pool: Pool, body: Callable[[], Body], length: int | None, *, replay: bool = True) -> Answer:
    return await pool.send("PUT", "/", (), body, length=length, replay=replay, once=True)


def connections_to(toy: Toy) -> int:
    """How many sockets of this process still have the toy at their other end."""
    ends = psutil.Process().net_connections("tcp")
    return sum(end.raddr != () and end.raddr.port == toy.port for end in ends)


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


# --- Answers


async def test_a_connection_is_used_again_after_a_whole_answer(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(toys.answering(OK, CHUNKED, with_length(b"", status=b"204 No Content"), OK))
    pool = await start_pool(toy.origin)
    assert [await content(await get(pool)) for _ in range(5)] == [b"{}", b"abcd0123456789", b"", b"{}", b"{}"]
    assert toy.connections == 1


async def test_exchanges_at_the_same_time_have_connections_of_their_own(
    start_toy: StartToy, start_pool: StartPool
) -> None:
    toy = await start_toy(toys.answering_by(toys.echoing))
    pool = await start_pool(toy.origin)
    for _ in range(3):
        answers = await asyncio.gather(*(get(pool, f"/{number}") for number in range(8)))
        for number, answer in enumerate(answers):
            assert (await content(answer)).startswith(b"GET /%d HTTP/1.1\r\n" % number)
    assert toy.connections == 8


async def test_a_connection_serves_its_next_request_whenever_that_comes(
    start_toy: StartToy, start_pool: StartPool
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
    pool = await start_pool(toy.origin)
    # No more than a few at once, so that each waits for the connection of another.
    places = asyncio.Semaphore(3)

    async def one(number: int) -> None:
        async with places:
            answer = await get(pool, f"/{number}")
        # Read where nobody waits for it, while others take the place.
        assert (await content(answer)).startswith(b"GET /%d HTTP/1.1\r\n" % number)

    async with asyncio.timeout(5):
        await asyncio.gather(*(one(number) for number in range(300)))


async def test_an_answer_is_the_same_wherever_the_network_cuts_it(start_toy: StartToy, start_pool: StartPool) -> None:
    pieces: list[bytes] = []
    toy = await start_toy(toys.in_pieces(pieces))
    pool = await start_pool(toy.origin)
    with_interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + CHUNKED
    cuts = [[whole[:at], whole[at:]] for whole in (CHUNKED, with_interim) for at in range(1, len(whole))]
    by_byte = [with_interim[at : at + 1] for at in range(len(with_interim))]
    for cut in [*cuts, by_byte]:
        pieces[:] = cut
        answer = await get(pool)
        assert await content(answer) == b"abcd0123456789", cut
        response = answer.response
        assert (response.status, response.reason, response.headers) == (
            200,
            "Very Well",
            [(b"X-One", b"first"), (b"X-One", b"second"), (b"Transfer-Encoding", b"chunked")],
        ), cut
    assert toy.connections == 1


async def test_an_answer_without_a_length_lasts_until_the_end(start_toy: StartToy, start_pool: StartPool) -> None:
    body = bytes(range(256)) * 4096
    toy = await start_toy(toys.answering_then_closing(b"HTTP/1.1 200 OK\r\n\r\n" + body))
    pool = await start_pool(toy.origin)
    assert await content(await get(pool)) == body
    assert await content(await get(pool)) == body
    assert toy.connections == 2


async def test_an_answer_without_a_length_that_ends_with_a_reset_is_broken(
    start_toy: StartToy, start_pool: StartPool
) -> None:
    async def reset_later(talk: Talk) -> None:
        await talk.ask()
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        await asyncio.sleep(0.05)
        talk.reset()

    toy = await start_toy(reset_later)
    answer = await get(await start_pool(toy.origin))
    with pytest.raises(Broken):
        await content(answer)


async def test_the_answer_to_a_head_has_a_length_and_no_body(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(toys.answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"))
    pool = await start_pool(toy.origin)
    for _ in range(3):
        answer = await get(pool, method="HEAD")
        assert (answer.response.content_length, await content(answer)) == (5000, b"")


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_some_answers_never_have_a_body(start_toy: StartToy, start_pool: StartPool, status: bytes) -> None:
    toy = await start_toy(toys.answering(b"HTTP/1.1 " + status + b'\r\nETag: "1"\r\n\r\n'))
    pool = await start_pool(toy.origin)
    assert [await content(await get(pool)) for _ in range(2)] == [b"", b""]
    assert toy.connections == 1


async def test_interim_answers_are_passed_over(start_toy: StartToy, start_pool: StartPool) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    toy = await start_toy(toys.answering(interim + OK, interim + interim + OK))
    pool = await start_pool(toy.origin)
    for _ in range(2):
        answer = await get(pool)
        assert [name for name, _ in answer.response.headers] == [b"Content-Type", b"Content-Length"]
        assert (answer.response.status, answer.response.reason, await content(answer)) == (200, "OK", b"{}")
    assert toy.connections == 1


async def test_trailers_do_not_become_headers(start_toy: StartToy, start_pool: StartPool) -> None:
    trailed = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nSet-Cookie: a=b\r\n\r\n"
    toy = await start_toy(toys.answering(trailed))
    pool = await start_pool(toy.origin)
    for _ in range(2):
        answer = await get(pool)
        assert await content(answer) == b"{}"
        assert answer.response.headers == [(b"Transfer-Encoding", b"chunked")]


async def test_a_large_head_is_read(start_toy: StartToy, start_pool: StartPool) -> None:
    value = b"v" * 60_000
    toy = await start_toy(toys.answering(with_length(b"{}", b"X-Large: " + value, b"X-Other: " + value)))
    answer = await get(await start_pool(toy.origin))
    assert (answer.response.header(b"x-large"), await content(answer)) == (value.decode(), b"{}")


async def test_a_head_without_end_is_not_held(start_toy: StartToy, start_pool: StartPool) -> None:
    async def endless(talk: Talk) -> None:
        await talk.ask()
        await talk.send(b"HTTP/1.1 200 OK\r\nX-Large: ")
        while True:
            await talk.send(b"v" * 65536)
            talk.toy.moved += 65536

    toy = await start_toy(endless)
    pool = await start_pool(toy.origin)
    with pytest.raises(errors.Refusal, match="broke"):
        await get(pool, replay=False)
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
    start_toy: StartToy, start_pool: StartPool, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    toy = await start_toy(toys.answering(garbage))
    pool = await start_pool(toy.origin)
    with pytest.raises(errors.Refusal) as refused:
        await get(pool, replay=False)
    assert (refused.value.status, refused.value.reason) == (409, "outcome-unknown")
    await until(lambda: toy.open == 0)
    assert not caplog.records


async def test_garbage_in_a_chunked_body_breaks_it(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(
        toys.answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nnonsense\r\n")
    )
    pool = await start_pool(toy.origin)
    with pytest.raises((errors.Refusal, Broken)):
        await content(await get(pool, replay=False))
    await until(lambda: toy.open == 0)


@pytest.mark.parametrize("second", [with_length(b"{}", b"X-Forged: 1"), b"garbage"])
async def test_what_comes_behind_an_answer_is_nobodys(
    start_toy: StartToy, start_pool: StartPool, second: bytes
) -> None:
    toy = await start_toy(toys.answering(OK + second, OK))
    pool = await start_pool(toy.origin)
    for _ in range(2):
        answer = await get(pool)
        assert (answer.response.header(b"x-forged"), await content(answer)) == ("", b"{}")
    assert toy.connections == 2


async def test_what_an_idle_connection_says_ends_it(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(toys.speaking_unasked(with_length(b"forged")))
    pool = await start_pool(toy.origin)
    assert await content(await get(pool)) == b"{}"
    await until(lambda: toy.open == 0)
    assert await content(await get(pool)) == b"{}"
    assert toy.connections == 2


async def test_a_connection_that_the_upstream_closed_while_idle_is_replaced(
    start_toy: StartToy, start_pool: StartPool
) -> None:
    toy = await start_toy(toys.answering_then_closing(OK))
    pool = await start_pool(toy.origin)
    for _ in range(3):
        answer = await get(pool, replay=False)
        assert (answer.attempts, await content(answer)) == (1, b"{}")
        await until(lambda: not connections_to(toy))
    assert toy.connections == 3


async def test_an_idle_connection_is_closed_after_its_time(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(toys.answering(OK))
    pool = await start_pool(toy.origin, upstream_keepalive=0.1, upstream_timeout=0.4)
    assert await content(await get(pool)) == b"{}"
    assert toy.open == 1
    await until(lambda: toy.open == 0)


async def test_an_http_1_0_answer_is_not_followed_by_another_request(
    start_toy: StartToy, start_pool: StartPool
) -> None:
    toy = await start_toy(toys.answering(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
    pool = await start_pool(toy.origin)
    assert [await content(await get(pool)) for _ in range(2)] == [b"{}", b"{}"]
    assert toy.connections == 2


async def test_at_the_end_every_connection_is_closed(start_toy: StartToy) -> None:
    toy = await start_toy(toys.answering_by(toys.echoing))
    pool = Pool(Settings(upstream_url=toy.origin), toy.origin)
    async with pool.running():
        await asyncio.gather(*(get(pool) for _ in range(5)))
        assert toy.open == 5
    await until(lambda: toy.open == 0)


# --- No answer


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
@pytest.mark.parametrize("reset", [False, True])
async def test_a_break_before_the_head_leaves_the_outcome_of_a_write_unknown(
    start_toy: StartToy, start_pool: StartPool, part: bytes, reset: bool
) -> None:
    toy = await start_toy(toys.breaking_off(part, reset=reset))
    pool = await start_pool(toy.origin)
    with pytest.raises(errors.Refusal) as refused:
        await get(pool, replay=False)
    assert (refused.value.status, refused.value.error_code) == (409, "ABORTED")
    assert len(toy.asked) == 1


@pytest.mark.parametrize(
    "part",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
    ],
)
async def test_a_break_in_the_body_is_an_error_and_never_the_end(
    start_toy: StartToy, start_pool: StartPool, part: bytes
) -> None:
    go_on = asyncio.Event()

    async def behave(talk: Talk) -> None:
        await talk.ask()
        await talk.send(part)
        await go_on.wait()

    toy = await start_toy(behave)
    answer = await get(await start_pool(toy.origin))
    go_on.set()
    with pytest.raises(Broken):
        await content(answer)


async def test_a_silent_upstream_is_given_up(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(toys.silent())
    pool = await start_pool(toy.origin, upstream_timeout=0.2)
    for replay, status in ((True, 504), (False, 409)):
        with pytest.raises(errors.Refusal, match=r"within 0\.2 seconds") as refused:
            await get(pool, replay=replay)
        assert refused.value.status == status
    await until(lambda: toy.open == 0)
    # Whoever waited that long does not wait again.
    assert len(toy.asked) == 2


async def test_an_upstream_that_falls_silent_in_the_body_is_given_up(
    start_toy: StartToy, start_pool: StartPool
) -> None:
    toy = await start_toy(toys.silent(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart"))
    answer = await get(await start_pool(toy.origin, upstream_timeout=0.2))
    with pytest.raises(Silent):
        await content(answer)
    await until(lambda: toy.open == 0)


async def test_a_port_where_nobody_listens_is_unreachable(start_toy: StartToy, start_pool: StartPool) -> None:
    async with Toy.running(toys.closing_at_once) as toy:
        origin = toy.origin
    pool = await start_pool(origin)
    with pytest.raises(errors.Refusal) as refused:
        await get(pool, replay=False)
    assert (refused.value.status, refused.value.reason) == (502, "upstream-unreachable")


async def test_a_connection_takes_no_longer_than_its_timeout(start_toy: StartToy, start_pool: StartPool) -> None:
    async def mute(talk: Talk) -> None:
        await talk.gone()  # no TLS handshake

    toy = await start_toy(mute)
    started = asyncio.get_running_loop().time()
    pool = await start_pool(toy.origin.replace("http:", "https:"), connect_timeout=0.1)
    with pytest.raises(errors.Refusal) as refused:
        await get(pool, replay=False)
    assert refused.value.reason == "upstream-unreachable"
    assert asyncio.get_running_loop().time() - started < 2
    await until(lambda: toy.open == 0)


# --- Trying again


async def test_a_read_is_sent_again_after_a_break(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(toys.breaking_off(times=2))
    answer = await get(await start_pool(toy.origin))
    assert (answer.attempts, await content(answer), len(toy.asked)) == (3, b"{}", 3)


async def test_a_third_break_is_the_last(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(toys.breaking_off())
    with pytest.raises(errors.Refusal) as refused:
        await get(await start_pool(toy.origin))
    assert (refused.value.status, refused.value.reason, len(toy.asked)) == (502, "upstream-broke", 3)


async def test_a_streamed_body_is_never_sent_twice(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(toys.breaking_off(times=1))
    pool = await start_pool(toy.origin)
    with pytest.raises(errors.Refusal) as refused:
        await put(pool, lambda: pieces_of(b"body"), 4)
    assert (refused.value.status, len(toy.asked)) == (502, 1)


async def test_a_streamed_body_of_which_nothing_was_sent_goes_again(
    start_pool: StartPool, unused_tcp_port: int
) -> None:
    given = 0

    def body() -> Body:
        nonlocal given
        given += 1
        return pieces_of(b"body")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"body")
        writer.write(OK)
        await reader.read()
        writer.close()

    async def listen_late() -> asyncio.Server:
        # After the first attempt, and before the third.
        await asyncio.sleep(0.02)
        return await asyncio.start_server(answer, "127.0.0.1", unused_tcp_port)

    pool = await start_pool(f"http://localhost:{unused_tcp_port}")
    late = asyncio.create_task(listen_late())
    result = await put(pool, body, 4, replay=False)
    async with await late:
        assert (given, await content(result)) == (1, b"{}")
        assert result.attempts > 1


async def test_a_dead_upstream_uses_up_the_retries(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(toys.breaking_off())
    pool = await start_pool(toy.origin)
    requests = 40
    for _ in range(requests):
        with pytest.raises(errors.Refusal):
            await get(pool)
    # The reserve of 10, and a tenth of the requests.
    assert requests + 10 <= len(toy.asked) <= requests + 10 + requests // 10


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


# --- Bodies on their way up


async def test_a_body_of_known_length_is_sent_as_it_is(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(toys.answering(OK))
    await put(await start_pool(toy.origin), lambda: pieces_of(b"one", b"", b"two"), 6)
    (asked,) = toy.asked
    assert (asked.header("content-length"), asked.header("transfer-encoding"), asked.body) == ("6", None, b"onetwo")


async def test_a_body_of_unknown_length_is_sent_in_chunks(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(toys.answering(OK))
    await put(await start_pool(toy.origin), lambda: pieces_of(b"one", b"two" * 9), None)
    (asked,) = toy.asked
    assert (asked.header("content-length"), asked.header("transfer-encoding")) == (None, "chunked")
    assert asked.body == b"one" + b"two" * 9


async def test_an_answer_ends_the_body_that_is_still_being_sent(start_toy: StartToy, start_pool: StartPool) -> None:
    refusal = with_length(b"too large", status=b"413 Content Too Large")
    toy = await start_toy(toys.answering_before_the_body(refusal, reads_on=True))
    pool = await start_pool(toy.origin)
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            yield b"x" * 65536
            given += 1
            await asyncio.sleep(0)

    answer = await put(pool, endless, toys.ENDLESS)
    assert (answer.response.status, await content(answer)) == (413, b"too large")
    assert given < 1000
    # The upstream still waits for the rest: nothing else can go this way.
    await until(lambda: toy.open == 0)


async def test_an_answer_comes_through_while_the_upstream_reads_no_more(
    start_toy: StartToy, start_pool: StartPool
) -> None:
    refusal = with_length(b"no", status=b"403 Forbidden")
    toy = await start_toy(toys.answering_before_the_body(refusal, reads_on=False), buffer=4096)
    pool = await start_pool(toy.origin)
    body = [b"x" * 65536] * 200
    answer = await put(pool, lambda: pieces_of(*body), 200 * 65536)
    assert (answer.response.status, await content(answer)) == (403, b"no")
    await until(lambda: not connections_to(toy))


async def test_an_upstream_that_does_not_read_holds_the_body_back(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(toys.deaf, buffer=4096)
    pool = await start_pool(toy.origin, upstream_timeout=0.3)
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            yield b"x" * 65536
            given += 65536

    with pytest.raises(errors.Refusal) as refused:
        await put(pool, endless, toys.ENDLESS)
    assert refused.value.status == 504
    # What the sockets take, and the transport's 64 KiB.
    assert given < 8 << 20


async def test_a_caller_that_does_not_read_holds_the_upstream_back(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(toys.pouring(), buffer=4096)
    answer = await get(await start_pool(toy.origin))
    pieces = answer.response.pieces()
    await anext(pieces)
    moved = await settled(lambda: toy.moved)
    assert 0 < answer.response.held < 1 << 20
    # What the sockets take comes to it.
    assert moved < 16 << 20
    for _ in range(50):
        await anext(pieces)
    assert toy.moved > moved
    answer.response.close()
    await until(lambda: toy.open == 0)


# --- Heads on their way up


async def test_a_head_is_sent_as_given(start_toy: StartToy, start_pool: StartPool) -> None:
    toy = await start_toy(toys.answering(OK))
    pool = await start_pool(toy.origin)
    await get(pool, "/a%2Fb?c=%20d", headers=[(b"X-Case", b"Kept"), (b"x-empty", b"")])
    host = f"localhost:{toy.port}".encode()
    expected = b"GET /a%2Fb?c=%20d HTTP/1.1\r\nhost: " + host + b"\r\nX-Case: Kept\r\nx-empty: \r\n\r\n"
    assert toy.heads == [expected]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_write_without_a_body_says_so(start_toy: StartToy, start_pool: StartPool, method: str) -> None:
    toy = await start_toy(toys.answering(OK))
    await get(await start_pool(toy.origin), method=method)
    assert toy.asked[0].header("content-length") == "0"


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/", (b"x-a", b"b\r\nx-injected: 1")),
        ("/", (b"x-a", b"b\nx-injected: 1")),
        ("/", (b"x-a\r\nx-injected", b"1")),
        ("/ HTTP/1.1\r\nx-injected: 1\r\n\r\n", (b"x-a", b"b")),
        ("/\nx-injected: 1", (b"x-a", b"b")),
    ],
)
async def test_a_line_break_in_a_head_is_never_sent(
    start_toy: StartToy, start_pool: StartPool, path: str, header: tuple[bytes, bytes]
) -> None:
    toy = await start_toy(toys.answering(OK))
    with pytest.raises(errors.Refusal) as refused:
        await get(await start_pool(toy.origin), path, headers=[header])
    assert (refused.value.status, toy.heads) == (400, [])


# --- TLS


async def test_a_certificate_of_a_trusted_authority_is_taken(
    start_toy: StartToy, start_pool: StartPool, authority: Authority
) -> None:
    toy = await start_toy(toys.answering_by(toys.echoing), tls=authority.server_context())
    pool = await start_pool(toy.origin, ca_bundle=authority.ca_file)
    body = bytes(range(256)) * 4096
    for _ in range(2):
        answer = await put(pool, lambda: pieces_of(body), len(body))
        assert (await content(answer)).endswith(b"\r\n\r\n" + body)
    assert toy.connections == 1


async def test_a_certificate_of_another_authority_is_refused_with_the_reason(
    start_toy: StartToy, start_pool: StartPool, authority: Authority
) -> None:
    toy = await start_toy(toys.answering(OK), tls=authority.server_context())
    with pytest.raises(errors.Refusal, match=r"certificate is not trusted: .*certificate") as refused:
        await get(await start_pool(toy.origin))
    assert (refused.value.status, refused.value.reason, toy.asked) == (502, "upstream-certificate", [])


async def test_a_certificate_for_another_host_is_refused(
    start_toy: StartToy, start_pool: StartPool, authority: Authority
) -> None:
    toy = await start_toy(toys.answering(OK), tls=authority.server_context())
    pool = await start_pool(toy.origin.replace("localhost", "127.0.0.2"), ca_bundle=authority.ca_file)
    with pytest.raises(errors.Refusal, match=r"not trusted|cannot be reached") as refused:
        await get(pool)
    assert (refused.value.status, toy.asked) == (502, [])
