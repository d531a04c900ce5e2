"""Answers on their way back: whole or visibly broken, at the caller's pace, and for nobody who has left."""

import asyncio
import hashlib
import http.client
from typing import Any

import pytest

from tests.doubles import toy_upstreams as toys
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARTIFACT, READ, SEARCH, RunningProxy, settled, until
from tests.doubles.toy_upstreams import OK, Talk, with_length

from .conftest import StartProxy, StartToy

both_upstreams = pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])

WITH_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\n\r\n"
A_PART = b"3E8\r\n" + b"x" * 1000 + b"\r\n"


def read(proxy: RunningProxy, target: str = READ, method: str = "GET") -> bytes:
    return request(method, target, token=proxy.tokens.viewer)


class Breaks:
    """Sends a head and a part of a body; ends the connection when it is told to."""

    def __init__(self, sends: bytes, *, reset: bool = False) -> None:
        self.now = asyncio.Event()
        self._sends = sends
        self._reset = reset

    async def __call__(self, talk: Talk) -> None:
        await talk.ask()
        await talk.send(self._sends)
        await self.now.wait()
        if self._reset:
            talk.reset()


# --- Whole


@both_upstreams
async def test_what_the_upstream_says_is_what_the_caller_hears(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool
) -> None:
    answers = [
        with_length(b"short", b"Content-Type: text/plain", b'ETag: W/"1"', b"X-Two: 1", b"X-Two: 2"),
        with_length(b"x" * 300_000, b"Content-Type: text/plain"),
        with_length(b"", b"Content-Type: text/plain"),
        b"HTTP/1.1 201 Made Just Now\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n\r\n",
        with_length(b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "m"}', status=b"404 Not Found"),
        with_length(b"<html>", b"Retry-After: 7", status=b"503 Service Unavailable"),
    ]
    toy = await start_toy(toys.answering(*answers))
    proxy = await start_proxy(toy.origin, signed=signed)
    async with proxy.caller() as caller:
        got = [await caller.ask(read(proxy)) for _ in answers]
    assert [answer.status for answer in got] == [200, 200, 200, 201, 404, 503]
    bodies = [b"short", b"x" * 300_000, b"", b"short", answers[4].partition(b"\r\n\r\n")[2], b"<html>"]
    assert [answer.body for answer in got] == bodies
    assert (got[0].header("content-type"), got[0].header("etag"), got[0].all("x-two")) == (
        "text/plain",
        'W/"1"',
        ["1", "2"],
    )
    assert got[5].header("retry-after") == "7"
    assert toy.connections == 1


@both_upstreams
async def test_answers_without_a_body_keep_their_heads(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool
) -> None:
    toy = await start_toy(
        toys.answering(
            b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
            b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n',
            b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nContent-Type: text/plain\r\n\r\n",
            OK,
        )
    )
    proxy = await start_proxy(toy.origin, signed=signed)
    async with proxy.caller() as caller:
        none = await caller.ask(read(proxy))
        same = await caller.ask(read(proxy))
        head = await caller.ask(read(proxy, method="HEAD"))
        # The connection holds nothing that belongs to them.
        assert (await caller.ask(read(proxy))).body == b"{}"
    assert (none.status, none.header("x-a"), none.header("transfer-encoding")) == (204, "1", None)
    assert (same.status, same.header("etag"), same.header("transfer-encoding")) == (304, '"1"', None)
    assert (head.status, head.header("content-length"), head.header("content-type")) == (200, "5000", "text/plain")
    assert [asked.line.split()[0] for asked in toy.asked] == ["GET", "GET", "HEAD", "GET"]


async def test_requests_sent_in_a_row_are_answered_in_order(start_toy: StartToy, start_proxy: StartProxy) -> None:
    toy = await start_toy(toys.answering_by(toys.echoing))
    proxy = await start_proxy(toy.origin)
    targets = [f"/get-artifact?path={number}" for number in range(20)]
    async with proxy.caller() as caller:
        await caller.send(b"".join(read(proxy, target) for target in targets))
        for target in targets:
            assert (await caller.answer()).body.startswith(f"GET {target} ".encode())


async def test_a_stream_of_events_comes_piece_by_piece(start_toy: StartToy, start_proxy: StartProxy) -> None:
    said = asyncio.Event()

    async def events(talk: Talk) -> None:
        await talk.ask()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await talk.send(b"8\r\ndata: 1\n\r\n")
        await said.wait()
        await talk.send(b"8\r\ndata: 2\n\r\n0\r\n\r\n")

    toy = await start_toy(events)
    proxy = await start_proxy(toy.origin)
    async with proxy.caller() as caller:
        await caller.send(read(proxy))
        assert (await caller.head())[0] == 200
        assert await caller.reader.readuntil(b"data: 1\n\r\n") == b"8\r\ndata: 1\n\r\n"
        said.set()
        assert await caller.reader.readuntil(b"0\r\n\r\n") == b"8\r\ndata: 2\n\r\n0\r\n\r\n"


# --- ReadError


@both_upstreams
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("sends", [WITH_LENGTH + b"x" * 1000, CHUNKED + A_PART, CHUNKED])
async def test_an_answer_that_breaks_off_is_seen_to_be_broken(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool, reset: bool, sends: bytes
) -> None:
    breaks = Breaks(sends, reset=reset)
    toy = await start_toy(breaks)
    proxy = await start_proxy(toy.origin, signed=signed)
    async with proxy.caller() as caller:
        await caller.send(read(proxy))
        assert (await caller.head())[0] == 200
        breaks.now.set()
        rest = await caller.closed()
    assert not rest.endswith(b"0\r\n\r\n")
    assert len(rest) < 400_000
    await until(lambda: proxy.in_flight == 0)
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (200, "upstream-read-error")


@pytest.mark.parametrize("sends", [WITH_LENGTH + b"x" * 1000, CHUNKED + A_PART])
async def test_an_answer_that_breaks_off_at_once_never_looks_whole(
    start_toy: StartToy, start_proxy: StartProxy, sends: bytes
) -> None:
    toy = await start_toy(toys.breaking_off(sends))
    proxy = await start_proxy(toy.origin)
    for _ in range(5):
        async with proxy.caller() as caller:
            try:
                answer = await caller.ask(read(proxy))
            except (asyncio.IncompleteReadError, ConnectionError):
                continue
            assert answer.error == (502, "TEMPORARILY_UNAVAILABLE")


async def test_an_old_caller_sees_the_break_too(start_toy: StartToy, start_proxy: StartProxy) -> None:
    """HTTP/1.0 knows no chunks: an end in order would look like the end of the body."""
    breaks = Breaks(CHUNKED + A_PART)
    toy = await start_toy(breaks)
    proxy = await start_proxy(toy.origin)
    async with proxy.caller() as caller:
        await caller.send(read(proxy).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await caller.head())[0] == 200
        breaks.now.set()
        with pytest.raises(ConnectionResetError):
            await caller.reader.read(-1)


async def test_an_answer_without_a_length_that_is_reset_is_broken(start_toy: StartToy, start_proxy: StartProxy) -> None:
    breaks = Breaks(TO_THE_END + b"part", reset=True)
    toy = await start_toy(breaks)
    proxy = await start_proxy(toy.origin)
    async with proxy.caller() as caller:
        await caller.send(read(proxy))
        await caller.head()
        breaks.now.set()
        assert not (await caller.closed()).endswith(b"0\r\n\r\n")


async def test_an_upstream_that_falls_silent_breaks_the_answer(start_toy: StartToy, start_proxy: StartProxy) -> None:
    toy = await start_toy(toys.silent(WITH_LENGTH + b"part"))
    proxy = await start_proxy(toy.origin, upstream_timeout=0.2)
    async with proxy.caller() as caller:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await caller.ask(read(proxy))
    await until(lambda: toy.open == 0)
    assert proxy.lines[-1]["error"] == "upstream-read-timeout"


@pytest.mark.parametrize("sends", [WITH_LENGTH + b"x" * 1000, CHUNKED + A_PART])
async def test_a_usual_http_client_raises_on_a_broken_answer(
    start_toy: StartToy, start_proxy: StartProxy, sends: bytes
) -> None:
    breaks = Breaks(sends)
    toy = await start_toy(breaks)
    proxy = await start_proxy(toy.origin)
    loop = asyncio.get_running_loop()

    def ask() -> Any:
        connection = http.client.HTTPConnection(*proxy.address, timeout=5)
        connection.request("GET", READ, headers={"Authorization": f"Bearer {proxy.tokens.viewer}"})
        answer = connection.getresponse()
        loop.call_soon_threadsafe(breaks.now.set)
        try:
            return answer.read()
        except (http.client.IncompleteRead, ConnectionError) as error:
            return type(error)
        finally:
            answer.close()
            connection.close()

    assert await asyncio.to_thread(ask) in {http.client.IncompleteRead, ConnectionResetError}


# --- Callers that leave


@both_upstreams
async def test_a_caller_who_leaves_before_the_answer_ends_the_work(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool
) -> None:
    toy = await start_toy(toys.silent())
    proxy = await start_proxy(toy.origin, signed=signed)
    async with proxy.caller() as caller:
        await caller.send(request("POST", SEARCH, body=b"{}", token=proxy.tokens.viewer))
        await until(lambda: len(toy.asked) == 1)
    assert await until(lambda: toy.open == 0) < 1
    await until(lambda: proxy.in_flight == 0)
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (499, "client-closed-request")


@both_upstreams
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_caller_who_leaves_in_the_answer_ends_the_work(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool, chunked: bool
) -> None:
    toy = await start_toy(toys.pouring(chunked=chunked))
    proxy = await start_proxy(toy.origin, signed=signed)
    async with proxy.caller() as caller:
        await caller.send(read(proxy, ARTIFACT))
        await caller.reader.readexactly(1 << 20)
    assert await until(lambda: toy.open == 0) < 1
    await until(lambda: proxy.in_flight == 0)
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (200, "client-closed-request")


async def test_a_caller_who_leaves_while_the_upstream_is_quiet_ends_the_work(
    start_toy: StartToy, start_proxy: StartProxy
) -> None:
    toy = await start_toy(toys.silent(CHUNKED + A_PART))
    proxy = await start_proxy(toy.origin)
    async with proxy.caller() as caller:
        await caller.send(read(proxy))
        await caller.head()
    assert await until(lambda: toy.open == 0) < 1


async def test_a_caller_who_leaves_in_an_upload_ends_the_work(start_toy: StartToy, start_proxy: StartProxy) -> None:
    toy = await start_toy(toys.counting_the_body())
    proxy = await start_proxy(toy.origin)
    async with proxy.caller() as caller:
        await caller.send(request("PUT", ARTIFACT, "Content-Length: 1000000", token=proxy.tokens.editor) + b"x" * 1000)
        await until(lambda: toy.moved == 1000)
    assert await until(lambda: toy.open == 0) < 1
    assert proxy.lines[-1]["error"] == "client-closed-request"


# --- Callers that are slow


@both_upstreams
async def test_an_answer_goes_no_faster_than_its_caller(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool
) -> None:
    toy = await start_toy(toys.pouring(), buffer=4096)
    proxy = await start_proxy(toy.origin, signed=signed)
    async with proxy.caller(buffer=4096) as caller:
        await caller.send(read(proxy, ARTIFACT))
        await caller.head()
        # What sockets and buffers take on the way.
        assert await settled(lambda: toy.moved) < 16 << 20


@both_upstreams
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "pieces"])
async def test_a_caller_who_asks_again_and_takes_no_answer_is_not_answered_for_ever(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool, whole: bool
) -> None:
    answer = with_length(b"x" * 50_000)
    cut = len(answer) - 1
    toy = await start_toy(toys.answering(answer) if whole else toys.in_pieces([answer[:cut], answer[cut:]]))
    proxy = await start_proxy(toy.origin, signed=signed)
    async with proxy.caller(buffer=4096) as caller:
        caller.writer.write(read(proxy, ARTIFACT) * 2000)
        # What sockets and buffers take on the way; all of it would be 100 MB.
        assert await settled(lambda: len(toy.asked)) < 400


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_caller_who_takes_nothing_is_cut_off(
    start_toy: StartToy, start_proxy: StartProxy, chunked: bool
) -> None:
    toy = await start_toy(toys.pouring(chunked=chunked), buffer=4096)
    proxy = await start_proxy(toy.origin, body_timeout=0.2)
    async with proxy.caller(buffer=4096) as caller:
        await caller.send(read(proxy, ARTIFACT))
        await until(lambda: proxy.in_flight == 1)
        await until(lambda: proxy.in_flight == 0)
        await until(lambda: toy.open == 0)
        assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (200, "client-write-timeout")
        await until(lambda: proxy.metric("mlflow_proxy_connections") == 0)


async def test_what_a_caller_did_not_take_is_not_counted_as_sent(start_toy: StartToy, start_proxy: StartProxy) -> None:
    whole = with_length(b"x" * 50_000)
    toy = await start_toy(toys.answering(whole))
    proxy = await start_proxy(toy.origin, body_timeout=0.2)
    async with proxy.caller(buffer=4096) as caller:
        caller.writer.write(read(proxy, ARTIFACT) * 2000)
        await until(lambda: any(line.get("error") == "client-write-timeout" for line in proxy.lines))
    last = proxy.lines[-1]
    assert (last["status"], last["error"], last["bytes_out"]) == (200, "client-write-timeout", 0)


async def test_a_caller_who_takes_only_the_beginning_is_cut_off(start_toy: StartToy, start_proxy: StartProxy) -> None:
    """What is under way is all that is left: nothing more is written that could fail."""
    toy = await start_toy(toys.answering(with_length(b"x" * (6 << 20))))
    proxy = await start_proxy(toy.origin, body_timeout=0.2)
    async with proxy.caller(buffer=4096) as caller:
        await caller.send(read(proxy, ARTIFACT))
        await caller.head()
        await until(lambda: proxy.metric("mlflow_proxy_connections") == 0)


async def test_a_slow_caller_who_moves_gets_everything(start_toy: StartToy, start_proxy: StartProxy) -> None:
    body = hashlib.shake_256(b"body").digest(6 << 20)
    toy = await start_toy(toys.answering(with_length(body)))
    proxy = await start_proxy(toy.origin, body_timeout=0.8)
    got = b""
    async with proxy.caller(buffer=65536) as caller:
        await caller.send(read(proxy, ARTIFACT))
        await caller.head()
        # It takes longer than the timeout in all, and stands still for a part of it at most.
        while proxy.in_flight:
            got += await caller.reader.read(65536)
            await asyncio.sleep(0.03)
        assert proxy.lines[-1]["duration_ms"] > 800
        got += await caller.reader.readexactly(len(body) - len(got))
    assert got == body
