"""Answers on their way back: whole or visibly broken, at the caller's pace, and for nobody who has left."""

import asyncio
import hashlib
import http.client
from typing import Any

import pytest

from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import OK, UpstreamConnection, response_with_length
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARTIFACT, READ, SEARCH, RunningProxy, wait_until, wait_until_stable

from .conftest import StartProxy, StartUpstream

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

    async def __call__(self, talk: UpstreamConnection) -> None:
        await talk.read_request()
        await talk.send(self._sends)
        await self.now.wait()
        if self._reset:
            talk.reset()


# --- Whole


@both_upstreams
async def test_what_the_upstream_says_is_what_the_caller_hears(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    responses = [
        response_with_length(b"short", b"Content-Type: text/plain", b'ETag: W/"1"', b"X-Two: 1", b"X-Two: 2"),
        response_with_length(b"x" * 300_000, b"Content-Type: text/plain"),
        response_with_length(b"", b"Content-Type: text/plain"),
        b"HTTP/1.1 201 Made Just Now\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n\r\n",
        response_with_length(b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "m"}', status=b"404 Not Found"),
        response_with_length(b"<html>", b"Retry-After: 7", status=b"503 Service Unavailable"),
    ]
    fake_upstream = await start_upstream(fake_upstreams.respond_with(*responses))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect() as caller:
        got = [await caller.round_trip(read(proxy)) for _ in responses]
    assert [response.status for response in got] == [200, 200, 200, 201, 404, 503]
    bodies = [b"short", b"x" * 300_000, b"", b"short", responses[4].partition(b"\r\n\r\n")[2], b"<html>"]
    assert [response.body for response in got] == bodies
    assert (got[0].header("content-type"), got[0].header("etag"), got[0].all("x-two")) == (
        "text/plain",
        'W/"1"',
        ["1", "2"],
    )
    assert got[5].header("retry-after") == "7"
    assert fake_upstream.connections == 1


@both_upstreams
async def test_answers_without_a_body_keep_their_heads(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(
            b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
            b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n',
            b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nContent-Type: text/plain\r\n\r\n",
            OK,
        )
    )
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect() as caller:
        none = await caller.round_trip(read(proxy))
        same = await caller.round_trip(read(proxy))
        head = await caller.round_trip(read(proxy, method="HEAD"))
        # The connection holds nothing that belongs to them.
        assert (await caller.round_trip(read(proxy))).body == b"{}"
    assert (none.status, none.header("x-a"), none.header("transfer-encoding")) == (204, "1", None)
    assert (same.status, same.header("etag"), same.header("transfer-encoding")) == (304, '"1"', None)
    assert (head.status, head.header("content-length"), head.header("content-type")) == (200, "5000", "text/plain")
    assert [received.line.split()[0] for received in fake_upstream.requests] == ["GET", "GET", "HEAD", "GET"]


async def test_requests_sent_in_a_row_are_answered_in_order(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_by(fake_upstreams.echo))
    proxy = await start_proxy(fake_upstream.origin)
    targets = [f"/get-artifact?path={number}" for number in range(20)]
    async with proxy.connect() as caller:
        await caller.send(b"".join(read(proxy, target) for target in targets))
        for target in targets:
            assert (await caller.read_response()).body.startswith(f"GET {target} ".encode())


async def test_a_stream_of_events_comes_piece_by_piece(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    said = asyncio.Event()

    async def events(talk: UpstreamConnection) -> None:
        await talk.read_request()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await talk.send(b"8\r\ndata: 1\n\r\n")
        await said.wait()
        await talk.send(b"8\r\ndata: 2\n\r\n0\r\n\r\n")

    fake_upstream = await start_upstream(events)
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as caller:
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
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool, reset: bool, sends: bytes
) -> None:
    breaks = Breaks(sends, reset=reset)
    fake_upstream = await start_upstream(breaks)
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect() as caller:
        await caller.send(read(proxy))
        assert (await caller.head())[0] == 200
        breaks.now.set()
        rest = await caller.closed()
    assert not rest.endswith(b"0\r\n\r\n")
    assert len(rest) < 400_000
    await wait_until(lambda: proxy.in_flight == 0)
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (200, "upstream-read-error")


@pytest.mark.parametrize("sends", [WITH_LENGTH + b"x" * 1000, CHUNKED + A_PART])
async def test_an_answer_that_breaks_off_at_once_never_looks_whole(
    start_upstream: StartUpstream, start_proxy: StartProxy, sends: bytes
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection(sends))
    proxy = await start_proxy(fake_upstream.origin)
    for _ in range(5):
        async with proxy.connect() as caller:
            try:
                response = await caller.round_trip(read(proxy))
            except (asyncio.IncompleteReadError, ConnectionError):
                continue
            assert response.error == (502, "TEMPORARILY_UNAVAILABLE")


async def test_an_old_caller_sees_the_break_too(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    """HTTP/1.0 knows no chunks: an end in order would look like the end of the body."""
    breaks = Breaks(CHUNKED + A_PART)
    fake_upstream = await start_upstream(breaks)
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as caller:
        await caller.send(read(proxy).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await caller.head())[0] == 200
        breaks.now.set()
        with pytest.raises(ConnectionResetError):
            await caller.reader.read(-1)


async def test_an_answer_without_a_length_that_is_reset_is_broken(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    breaks = Breaks(TO_THE_END + b"part", reset=True)
    fake_upstream = await start_upstream(breaks)
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as caller:
        await caller.send(read(proxy))
        await caller.head()
        breaks.now.set()
        assert not (await caller.closed()).endswith(b"0\r\n\r\n")


async def test_an_upstream_that_falls_silent_breaks_the_answer(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall(WITH_LENGTH + b"part"))
    proxy = await start_proxy(fake_upstream.origin, upstream_timeout=0.2)
    async with proxy.connect() as caller:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await caller.round_trip(read(proxy))
    await wait_until(lambda: fake_upstream.open == 0)
    assert proxy.lines[-1]["error"] == "upstream-read-timeout"


@pytest.mark.parametrize("sends", [WITH_LENGTH + b"x" * 1000, CHUNKED + A_PART])
async def test_a_usual_http_client_raises_on_a_broken_answer(
    start_upstream: StartUpstream, start_proxy: StartProxy, sends: bytes
) -> None:
    breaks = Breaks(sends)
    fake_upstream = await start_upstream(breaks)
    proxy = await start_proxy(fake_upstream.origin)
    loop = asyncio.get_running_loop()

    def send() -> Any:
        connection = http.client.HTTPConnection(*proxy.address, timeout=5)
        connection.request("GET", READ, headers={"Authorization": f"Bearer {proxy.tokens.viewer}"})
        response = connection.getresponse()
        loop.call_soon_threadsafe(breaks.now.set)
        try:
            return response.read()
        except (http.client.IncompleteRead, ConnectionError) as error:
            return type(error)
        finally:
            response.close()
            connection.close()

    assert await asyncio.to_thread(send) in {http.client.IncompleteRead, ConnectionResetError}


# --- Callers that leave


@both_upstreams
async def test_a_caller_who_leaves_before_the_answer_ends_the_work(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall())
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect() as caller:
        await caller.send(request("POST", SEARCH, body=b"{}", token=proxy.tokens.viewer))
        await wait_until(lambda: len(fake_upstream.requests) == 1)
    assert await wait_until(lambda: fake_upstream.open == 0) < 1
    await wait_until(lambda: proxy.in_flight == 0)
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (499, "client-closed-request")


@both_upstreams
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_caller_who_leaves_in_the_answer_ends_the_work(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool, chunked: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stream_body(chunked=chunked))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect() as caller:
        await caller.send(read(proxy, ARTIFACT))
        await caller.reader.readexactly(1 << 20)
    assert await wait_until(lambda: fake_upstream.open == 0) < 1
    await wait_until(lambda: proxy.in_flight == 0)
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (200, "client-closed-request")


async def test_a_caller_who_leaves_while_the_upstream_is_quiet_ends_the_work(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall(CHUNKED + A_PART))
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as caller:
        await caller.send(read(proxy))
        await caller.head()
    assert await wait_until(lambda: fake_upstream.open == 0) < 1


async def test_a_caller_who_leaves_in_an_upload_ends_the_work(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.count_body())
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as caller:
        await caller.send(request("PUT", ARTIFACT, "Content-Length: 1000000", token=proxy.tokens.editor) + b"x" * 1000)
        await wait_until(lambda: fake_upstream.moved == 1000)
    assert await wait_until(lambda: fake_upstream.open == 0) < 1
    assert proxy.lines[-1]["error"] == "client-closed-request"


# --- Callers that are slow


@both_upstreams
async def test_an_answer_goes_no_faster_than_its_caller(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stream_body(), buffer=4096)
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect(buffer=4096) as caller:
        await caller.send(read(proxy, ARTIFACT))
        await caller.head()
        # What sockets and buffers take on the way.
        assert await wait_until_stable(lambda: fake_upstream.moved) < 16 << 20


@both_upstreams
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "pieces"])
async def test_a_caller_who_asks_again_and_takes_no_answer_is_not_answered_for_ever(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool, whole: bool
) -> None:
    response = response_with_length(b"x" * 50_000)
    cut = len(response) - 1
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(response)
        if whole
        else fake_upstreams.respond_in_chunks([response[:cut], response[cut:]])
    )
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect(buffer=4096) as caller:
        caller.writer.write(read(proxy, ARTIFACT) * 2000)
        # What sockets and buffers take on the way; all of it would be 100 MB.
        assert await wait_until_stable(lambda: len(fake_upstream.requests)) < 400


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_caller_who_takes_nothing_is_cut_off(
    start_upstream: StartUpstream, start_proxy: StartProxy, chunked: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stream_body(chunked=chunked), buffer=4096)
    proxy = await start_proxy(fake_upstream.origin, body_timeout=0.2)
    async with proxy.connect(buffer=4096) as caller:
        await caller.send(read(proxy, ARTIFACT))
        await wait_until(lambda: proxy.in_flight == 1)
        await wait_until(lambda: proxy.in_flight == 0)
        await wait_until(lambda: fake_upstream.open == 0)
        assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (200, "client-write-timeout")
        await wait_until(lambda: proxy.metric("mlflow_proxy_connections") == 0)


async def test_what_a_caller_did_not_take_is_not_counted_as_sent(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    whole = response_with_length(b"x" * 50_000)
    fake_upstream = await start_upstream(fake_upstreams.respond_with(whole))
    proxy = await start_proxy(fake_upstream.origin, body_timeout=0.2)
    async with proxy.connect(buffer=4096) as caller:
        caller.writer.write(read(proxy, ARTIFACT) * 2000)
        await wait_until(lambda: any(line.get("error") == "client-write-timeout" for line in proxy.lines))
    last = proxy.lines[-1]
    assert (last["status"], last["error"], last["bytes_out"]) == (200, "client-write-timeout", 0)


async def test_a_caller_who_takes_only_the_beginning_is_cut_off(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    """What is under way is all that is left: nothing more is written that could fail."""
    fake_upstream = await start_upstream(fake_upstreams.respond_with(response_with_length(b"x" * (6 << 20))))
    proxy = await start_proxy(fake_upstream.origin, body_timeout=0.2)
    async with proxy.connect(buffer=4096) as caller:
        await caller.send(read(proxy, ARTIFACT))
        await caller.head()
        await wait_until(lambda: proxy.metric("mlflow_proxy_connections") == 0)


async def test_a_slow_caller_who_moves_gets_everything(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    body = hashlib.shake_256(b"body").digest(6 << 20)
    fake_upstream = await start_upstream(fake_upstreams.respond_with(response_with_length(body)))
    proxy = await start_proxy(fake_upstream.origin, body_timeout=0.8)
    got = b""
    async with proxy.connect(buffer=65536) as caller:
        await caller.send(read(proxy, ARTIFACT))
        await caller.head()
        # It takes longer than the timeout in all, and stands still for a part of it at most.
        while proxy.in_flight:
            got += await caller.reader.read(65536)
            await asyncio.sleep(0.03)
        assert proxy.lines[-1]["duration_ms"] > 800
        got += await caller.reader.readexactly(len(body) - len(got))
    assert got == body
