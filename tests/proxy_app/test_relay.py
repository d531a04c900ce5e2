"""Relaying of responses: unchanged or visibly truncated, with backpressure, and aborted when the client disconnects."""

import asyncio
import hashlib
import http.client
from typing import Any

import pytest

from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, UpstreamConnection, response_with_length
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARTIFACT, READ, SEARCH, RunningProxy, wait_until, wait_until_stable

from .conftest import StartProxy, StartUpstream

both_upstreams = pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])

WITH_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
ONE_CHUNK = b"3E8\r\n" + b"x" * 1000 + b"\r\n"


def read(proxy: RunningProxy, target: str = READ, method: str = "GET") -> bytes:
    return request(method, target, token=proxy.tokens.viewer)


class TruncatedResponse:
    """Sends a head and a part of a body; closes the connection once `close` is set. `reset`: with RST."""

    def __init__(self, data: bytes, *, reset: bool = False) -> None:
        self.close = asyncio.Event()
        self._data = data
        self._reset = reset

    async def __call__(self, connection: UpstreamConnection) -> None:
        await connection.read_request()
        await connection.send(self._data)
        await self.close.wait()
        if self._reset:
            connection.reset()


# --- Complete responses


@both_upstreams
async def test_status_headers_and_body_are_forwarded_unchanged(
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
    async with proxy.connect() as client:
        received = [await client.round_trip(read(proxy)) for _ in responses]
    assert [response.status for response in received] == [200, 200, 200, 201, 404, 503]
    bodies = [b"short", b"x" * 300_000, b"", b"short", responses[4].partition(b"\r\n\r\n")[2], b"<html>"]
    assert [response.body for response in received] == bodies
    assert (received[0].header("content-type"), received[0].header("etag"), received[0].all("x-two")) == (
        "text/plain",
        'W/"1"',
        ["1", "2"],
    )
    assert received[5].header("retry-after") == "7"
    assert fake_upstream.connections == 1


@both_upstreams
async def test_responses_without_a_body_keep_their_headers(
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
    async with proxy.connect() as client:
        no_content = await client.round_trip(read(proxy))
        not_modified = await client.round_trip(read(proxy))
        head = await client.round_trip(read(proxy, method="HEAD"))
        # No bytes of the earlier responses remain on the connection.
        assert (await client.round_trip(read(proxy))).body == b"{}"
    assert (no_content.status, no_content.header("x-a"), no_content.header("transfer-encoding")) == (204, "1", None)
    assert (not_modified.status, not_modified.header("etag"), not_modified.header("transfer-encoding")) == (
        304,
        '"1"',
        None,
    )
    assert (head.status, head.header("content-length"), head.header("content-type")) == (200, "5000", "text/plain")
    assert [received.line.split()[0] for received in fake_upstream.requests] == ["GET", "GET", "HEAD", "GET"]


async def test_pipelined_requests_are_answered_in_order(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_by(fake_upstreams.echo))
    proxy = await start_proxy(fake_upstream.origin)
    targets = [f"/get-artifact?path={number}" for number in range(20)]
    async with proxy.connect() as client:
        await client.send(b"".join(read(proxy, target) for target in targets))
        for target in targets:
            assert (await client.read_response()).body.startswith(f"GET {target} ".encode())


async def test_event_stream_is_forwarded_without_buffering(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    first_received = asyncio.Event()

    async def events(connection: UpstreamConnection) -> None:
        await connection.read_request()
        await connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await connection.send(b"8\r\ndata: 1\n\r\n")
        await first_received.wait()
        await connection.send(b"8\r\ndata: 2\n\r\n0\r\n\r\n")

    fake_upstream = await start_upstream(events)
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(read(proxy))
        assert (await client.head())[0] == 200
        assert await client.reader.readuntil(b"data: 1\n\r\n") == b"8\r\ndata: 1\n\r\n"
        first_received.set()
        assert await client.reader.readuntil(b"0\r\n\r\n") == b"8\r\ndata: 2\n\r\n0\r\n\r\n"


# --- Truncated responses


@both_upstreams
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("data", [WITH_LENGTH + b"x" * 1000, CHUNKED + ONE_CHUNK, CHUNKED])
async def test_truncated_response_does_not_look_complete(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool, reset: bool, data: bytes
) -> None:
    truncated = TruncatedResponse(data, reset=reset)
    fake_upstream = await start_upstream(truncated)
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect() as client:
        await client.send(read(proxy))
        assert (await client.head())[0] == 200
        truncated.close.set()
        async with asyncio.timeout(5):
            rest = await client.closed()
    assert not rest.endswith(b"0\r\n\r\n")
    assert len(rest) < 400_000
    await wait_until(lambda: proxy.in_flight == 0)
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (200, "upstream-read-error")


@pytest.mark.parametrize("data", [WITH_LENGTH + b"x" * 1000, CHUNKED + ONE_CHUNK])
async def test_response_truncated_with_its_head_is_never_complete(
    start_upstream: StartUpstream, start_proxy: StartProxy, data: bytes
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection(data))
    proxy = await start_proxy(fake_upstream.origin)
    for _ in range(5):
        async with proxy.connect() as client:
            try:
                response = await client.round_trip(read(proxy))
            except (asyncio.IncompleteReadError, ConnectionError):
                continue
            assert response.error == (502, "TEMPORARILY_UNAVAILABLE")


async def test_http_1_0_client_gets_a_reset_for_a_truncated_response(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    """HTTP/1.0 has no chunked transfer coding: a FIN would mean the end of the body."""
    truncated = TruncatedResponse(CHUNKED + ONE_CHUNK)
    fake_upstream = await start_upstream(truncated)
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(read(proxy).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await client.head())[0] == 200
        truncated.close.set()
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(5):
                await client.reader.read(-1)


async def test_reset_response_without_a_length_does_not_look_complete(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    truncated = TruncatedResponse(UNTIL_CLOSE + b"part", reset=True)
    fake_upstream = await start_upstream(truncated)
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(read(proxy))
        _, headers = await client.head()
        assert dict(headers)["transfer-encoding"] == "chunked", "only chunks let a client detect the truncation"
        truncated.close.set()
        async with asyncio.timeout(5):
            assert not (await client.closed()).endswith(b"0\r\n\r\n")


async def test_stalled_response_is_aborted_after_the_upstream_timeout(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall(WITH_LENGTH + b"part"))
    proxy = await start_proxy(fake_upstream.origin, upstream_timeout=0.2)
    async with proxy.connect() as client:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.round_trip(read(proxy))
    await wait_until(lambda: fake_upstream.open == 0)
    assert proxy.lines[-1]["error"] == "upstream-read-timeout"


@pytest.mark.parametrize("data", [WITH_LENGTH + b"x" * 1000, CHUNKED + ONE_CHUNK])
async def test_http_client_raises_an_error_for_a_truncated_response(
    start_upstream: StartUpstream, start_proxy: StartProxy, data: bytes
) -> None:
    truncated = TruncatedResponse(data)
    fake_upstream = await start_upstream(truncated)
    proxy = await start_proxy(fake_upstream.origin)
    loop = asyncio.get_running_loop()

    def send() -> Any:
        connection = http.client.HTTPConnection(*proxy.address, timeout=5)
        connection.request("GET", READ, headers={"Authorization": f"Bearer {proxy.tokens.viewer}"})
        response = connection.getresponse()
        loop.call_soon_threadsafe(truncated.close.set)
        try:
            return response.read()
        except (http.client.IncompleteRead, ConnectionError) as error:
            return type(error)
        finally:
            response.close()
            connection.close()

    assert await asyncio.to_thread(send) in {http.client.IncompleteRead, ConnectionResetError}


# --- Clients that disconnect


@both_upstreams
async def test_disconnect_before_the_response_aborts_the_upstream_request(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall())
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect() as client:
        await client.send(request("POST", SEARCH, body=b"{}", token=proxy.tokens.viewer))
        await wait_until(lambda: len(fake_upstream.requests) == 1)
    assert await wait_until(lambda: fake_upstream.open == 0) < 1
    await wait_until(lambda: proxy.in_flight == 0)
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (499, "client-closed-request")
    # The upstream has the request, and may carry it out.
    assert proxy.lines[-1]["attempts"] == 1
    assert proxy.lines[-1]["upstream_duration_ms"] > 0


async def test_disconnect_before_the_request_is_sent_is_no_attempt(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall())
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    async with proxy.connect() as client:
        await client.send(request("POST", SEARCH, "Content-Length: 9", token=proxy.tokens.viewer) + b"part")
        await wait_until(lambda: proxy.in_flight == 1)
    await wait_until(lambda: len(proxy.lines) == 1)
    assert fake_upstream.requests == []
    line = proxy.lines[-1]
    assert (line["status"], line["attempts"], line["upstream_duration_ms"]) == (499, 0, None)


@both_upstreams
@pytest.mark.parametrize("chunked", [False, True])
async def test_disconnect_during_the_response_aborts_the_upstream_request(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool, chunked: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stream_body(chunked=chunked))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect() as client:
        await client.send(read(proxy, ARTIFACT))
        await client.reader.readexactly(1 << 20)
    assert await wait_until(lambda: fake_upstream.open == 0) < 1
    await wait_until(lambda: proxy.in_flight == 0)
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (200, "client-closed-request")


async def test_disconnect_while_the_upstream_stalls_aborts_the_upstream_request(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall(CHUNKED + ONE_CHUNK))
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(read(proxy))
        await client.head()
    assert await wait_until(lambda: fake_upstream.open == 0) < 1


async def test_disconnect_during_an_upload_aborts_the_upstream_request(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.count_body())
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(request("PUT", ARTIFACT, "Content-Length: 1000000", token=proxy.tokens.editor) + b"x" * 1000)
        await wait_until(lambda: fake_upstream.moved == 1000)
    assert await wait_until(lambda: fake_upstream.open == 0) < 1
    assert proxy.lines[-1]["error"] == "client-closed-request"


# --- Slow clients


@both_upstreams
async def test_client_that_does_not_read_pauses_the_upstream(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stream_body(), buffer=4096)
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect(buffer=4096) as client:
        await client.send(read(proxy, ARTIFACT))
        await client.head()
        # The capacity of the buffers on the path.
        assert await wait_until_stable(lambda: fake_upstream.moved) < 16 << 20


@both_upstreams
@pytest.mark.parametrize("whole", [True, False], ids=["one write", "two writes"])
async def test_pipelining_client_that_does_not_read_pauses_the_proxy(
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
    async with proxy.connect(buffer=4096) as client:
        client.writer.write(read(proxy, ARTIFACT) * 2000)
        # The capacity of the buffers on the path; all responses would be 100 MB.
        assert await wait_until_stable(lambda: len(fake_upstream.requests)) < 400


@pytest.mark.parametrize("chunked", [False, True])
async def test_client_that_does_not_read_is_disconnected_after_the_body_timeout(
    start_upstream: StartUpstream, start_proxy: StartProxy, chunked: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stream_body(chunked=chunked), buffer=4096)
    proxy = await start_proxy(fake_upstream.origin, body_timeout=0.2)
    async with proxy.connect(buffer=4096) as client:
        await client.send(read(proxy, ARTIFACT))
        await wait_until(lambda: proxy.in_flight == 1)
        await wait_until(lambda: proxy.in_flight == 0)
        await wait_until(lambda: fake_upstream.open == 0)
        assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (200, "client-write-timeout")
        await wait_until(lambda: proxy.metric("mlflow_proxy_connections") == 0)


async def test_unsent_response_is_not_counted_in_bytes_out(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    response = response_with_length(b"x" * 50_000)
    fake_upstream = await start_upstream(fake_upstreams.respond_with(response))
    proxy = await start_proxy(fake_upstream.origin, body_timeout=0.2)
    async with proxy.connect(buffer=4096) as client:
        client.writer.write(read(proxy, ARTIFACT) * 2000)
        await wait_until(lambda: any(line.get("error") == "client-write-timeout" for line in proxy.lines))
    last = proxy.lines[-1]
    assert (last["status"], last["error"], last["bytes_out"]) == (200, "client-write-timeout", 0)


async def test_client_that_stops_reading_a_fully_written_response_is_disconnected(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    """The whole response is in the transport's buffer: no further write can fail."""
    fake_upstream = await start_upstream(fake_upstreams.respond_with(response_with_length(b"x" * (6 << 20))))
    proxy = await start_proxy(fake_upstream.origin, body_timeout=0.2)
    async with proxy.connect(buffer=4096) as client:
        await client.send(read(proxy, ARTIFACT))
        await client.head()
        await wait_until(lambda: proxy.metric("mlflow_proxy_connections") == 0)


async def test_slow_client_receives_the_whole_response(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    body = hashlib.shake_256(b"body").digest(16 << 20)
    fake_upstream = await start_upstream(fake_upstreams.respond_with(response_with_length(body)))
    proxy = await start_proxy(fake_upstream.origin, body_timeout=2.0)
    received = bytearray()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30), proxy.connect(buffer=65536) as client:
        await client.send(read(proxy, ARTIFACT))
        await client.head()
        started = loop.time()
        # Longer than the timeout in total. The rate is constant, so that pauses stay shorter on a busy machine too.
        while proxy.in_flight:
            await asyncio.sleep(0.02)
            while len(received) < 3_000_000 * (loop.time() - started) and (chunk := await client.reader.read(65536)):
                received += chunk
        assert proxy.lines[-1]["duration_ms"] > 2000
        received += await client.reader.readexactly(len(body) - len(received))
    assert bytes(received) == body
