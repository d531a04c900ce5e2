"""Request bodies: held whole for signing within limits, streamed to a plain upstream, and never changed."""

import asyncio
import gzip
import hashlib
import json
import zlib
from collections.abc import AsyncIterator

import pytest

from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import OK, ReceivedRequest, UpstreamConnection, response_with_length
from tests.doubles.raw_client import chunked_body, request
from tests.doubles.running_proxy import ARTIFACT, IDEMPOTENT_WRITE, READ, RunningProxy, wait_until

from .conftest import StartProxy, StartUpstream

MIB = 1 << 20
both_upstreams = pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])


def announced(
    proxy: RunningProxy, length: int, *headers: str, target: str = IDEMPOTENT_WRITE, method: str = "POST"
) -> bytes:
    """A head that promises a body."""
    return request(method, target, f"Content-Length: {length}", *headers, token=proxy.tokens.admin)


# --- Held whole, to be signed


async def test_a_signed_body_is_sent_once_all_of_it_has_come(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    body = bytes(range(256)) * 2000
    async with proxy.connect() as client:
        await client.send(announced(proxy, len(body)) + body[:-1])
        await wait_until(lambda: proxy.in_flight == 1)
        await asyncio.sleep(0.1)
        assert fake_upstream.connections == 0
        await client.send(body[-1:])
        assert (await client.read_response()).status == 200
    (received,) = fake_upstream.requests
    assert received.body == body
    assert received.header("x-amz-content-sha256") == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 128 * 1024 + 1, MIB])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_signed_body_up_to_the_limit_arrives_with_its_length(
    start_upstream: StartUpstream, start_proxy: StartProxy, size: int, chunked: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=MIB)
    body = bytes(range(251)) * (size // 251 + 1)
    body = body[:size]
    if chunked:
        head = request("POST", IDEMPOTENT_WRITE, "Transfer-Encoding: chunked", token=proxy.tokens.admin)
        pieces = [body[at : at + 9999] for at in range(0, size, 9999)]
        response = await proxy.send(head + chunked_body(*pieces, b""))
    else:
        response = await proxy.send(request("POST", IDEMPOTENT_WRITE, body=body, token=proxy.tokens.admin))
    assert response.status == 200
    (received,) = fake_upstream.requests
    assert (received.header("content-length"), received.header("transfer-encoding")) == (str(size), None)
    assert received.header("x-amz-content-sha256") == hashlib.sha256(body).hexdigest()
    assert received.body == body
    assert proxy.budget_free == proxy.settings.body_budget


async def test_an_announced_body_over_the_limit_is_refused_before_any_of_it_comes(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=MIB)
    async with proxy.connect() as client:
        response = await client.round_trip(announced(proxy, MIB + 1))
    assert response.error == (413, "INVALID_PARAMETER_VALUE")
    assert "1 MiB" in response.message
    assert "MLFLOW_PROXY_BODY_LIMIT_MIB" in response.message
    # MLflow's client waits as it is told even on a 413, and sends the same again.
    assert response.header("retry-after") is None
    assert fake_upstream.connections == 0


async def test_a_chunked_body_over_the_limit_is_refused_when_it_gets_there(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=MIB)
    async with proxy.connect() as client:
        await client.send(request("POST", IDEMPOTENT_WRITE, "Transfer-Encoding: chunked", token=proxy.tokens.admin))
        await client.send(chunked_body(*[b"x" * 65536] * 17))
        response = await client.read_response()
    assert response.error == (413, "INVALID_PARAMETER_VALUE")
    assert fake_upstream.connections == 0
    assert proxy.budget_free == proxy.settings.body_budget


async def test_a_plain_upstream_takes_bodies_over_the_limit(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.count_body())
    proxy = await start_proxy(fake_upstream.origin, body_limit=1000, body_budget=1000)
    response = await proxy.send(request("PUT", ARTIFACT, body=b"x" * 100_000, token=proxy.tokens.editor))
    assert (response.status, fake_upstream.moved) == (200, 100_000)


# --- Slow and broken bodies


@both_upstreams
async def test_a_body_that_stands_still_is_given_up(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.count_body())
    proxy = await start_proxy(fake_upstream.origin, signed=signed, body_timeout=0.2)
    async with proxy.connect() as client:
        await client.send(announced(proxy, 1000) + b"x" * 10)
        response = await client.read_response()
        assert response.error == (408, "DEADLINE_EXCEEDED")
        assert response.header("connection") == "close"
        async with asyncio.timeout(2):
            assert await client.closed() == b""
    # What has been begun upstream is never finished.
    await wait_until(lambda: fake_upstream.open == 0)
    assert fake_upstream.moved in {0, 10}
    assert proxy.budget_free == proxy.settings.body_budget


@both_upstreams
async def test_a_slow_body_that_moves_is_waited_for(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=signed, body_timeout=0.5)
    async with proxy.connect() as client:
        await client.send(announced(proxy, 6))
        for _ in range(6):
            await asyncio.sleep(0.15)
            await client.send(b"o")
        assert (await client.read_response()).status == 200
    assert fake_upstream.requests[0].body == b"oooooo"


@both_upstreams
async def test_a_body_that_breaks_off_is_never_sent_as_whole(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    for head in (
        announced(proxy, 1000),
        request("POST", IDEMPOTENT_WRITE, "Transfer-Encoding: chunked", token=proxy.tokens.admin) + b"3e8\r\n",
    ):
        async with proxy.connect() as client:
            await client.send(head + b"x" * 10)
            await wait_until(lambda: proxy.in_flight == 1)
        await wait_until(lambda: proxy.in_flight == 0)
        await wait_until(lambda: fake_upstream.open == 0)
        assert proxy.lines[-1]["error"] == "client-closed-request"
    assert fake_upstream.requests == []
    assert proxy.budget_free == proxy.settings.body_budget


@both_upstreams
async def test_a_body_with_broken_framing_counts_as_one_that_stands_still(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=signed, body_timeout=0.2)
    async with proxy.connect() as client:
        await client.send(request("POST", IDEMPOTENT_WRITE, "Transfer-Encoding: chunked", token=proxy.tokens.admin))
        await client.send(chunked_body(b"{}"))
        await wait_until(lambda: proxy.in_flight == 1)
        await client.send(b"canary-no-chunk\r\n")
        async with asyncio.timeout(2):
            assert (await client.read_response()).error == (408, "DEADLINE_EXCEEDED")
            assert await client.closed() == b""
    await wait_until(lambda: fake_upstream.open == 0)
    assert fake_upstream.requests == []
    assert "canary" not in caplog.text + "".join(proxy.written)


# --- Expect: 100-continue


@both_upstreams
@pytest.mark.parametrize(
    ("role", "target", "length", "status"),
    [
        ("nobody", IDEMPOTENT_WRITE, 5, 401),
        ("viewer", IDEMPOTENT_WRITE, 5, 403),
        ("admin", "/api/2.0/mlflow/no-such-thing", 5, 404),
        ("admin", IDEMPOTENT_WRITE, 5 * MIB, 413),
    ],
)
async def test_a_refused_request_is_not_asked_for_its_body(
    start_upstream: StartUpstream,
    start_proxy: StartProxy,
    signed: bool,
    role: str,
    target: str,
    length: int,
    status: int,
) -> None:
    fake_upstream = await start_upstream(
        fake_upstreams.respond_before_body(response_with_length(b"", status=b"413 Large"), reads_on=True)
    )
    proxy = await start_proxy(fake_upstream.origin, signed=signed, body_limit=MIB)
    token = getattr(proxy.tokens, role, "")
    async with proxy.connect() as client:
        await client.send(request("POST", target, f"Content-Length: {length}", "Expect: 100-continue", token=token))
        status_line, _ = await client.head()
    if status == 413 and not signed:
        assert status_line == 100  # bodies of any size stream to a plain upstream
    else:
        assert (status_line, fake_upstream.connections) == (status, 0)


@both_upstreams
async def test_a_request_that_is_taken_is_asked_for_its_body_once(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect() as client:
        for body in (b"x" * 1000, b"y" * 300_000):
            await client.send(announced(proxy, len(body), "Expect: 100-continue"))
            assert await client.head() == (100, [])
            await client.send(body)
            response = await client.read_response()
            assert (response.status, response.body, fake_upstream.requests[-1].body) == (200, b"{}", body)
            assert fake_upstream.requests[-1].header("expect") is None


async def test_nobody_is_asked_for_a_body_that_has_come(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(announced(proxy, 2, "Expect: 100-continue") + b"{}")
    assert (response.status, fake_upstream.requests[0].body) == (200, b"{}")


async def test_an_http_1_0_caller_is_not_told_to_continue(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(announced(proxy, 2, "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0"))
        await wait_until(lambda: proxy.in_flight == 1)
        await asyncio.sleep(0.05)
        await client.send(b"{}")
        assert (await client.read_response()).status == 200


# --- Untouched


@both_upstreams
async def test_compressed_bodies_pass_as_they_are_both_ways(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    up = {"gzip": gzip.compress(b"up" * 500), "deflate": zlib.compress(b"up" * 500), "br": b"\x0b\x02\x80up\x03"}
    down = {name: body[::-1] for name, body in up.items()}

    def response(received: ReceivedRequest) -> bytes:
        name = received.header("content-encoding") or ""
        return response_with_length(down[name], b"Content-Encoding: " + name.encode(), b"Vary: Accept-Encoding")

    fake_upstream = await start_upstream(fake_upstreams.respond_by(response))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    for name, body in up.items():
        headers = [f"Content-Encoding: {name}", f"Accept-Encoding: {name}", "Content-Type: application/x-protobuf"]
        got = await proxy.send(request("POST", "/v1/traces", *headers, body=body, token=proxy.tokens.editor))
        received = fake_upstream.requests[-1]
        assert (received.body, received.header("content-encoding"), received.header("accept-encoding")) == (
            body,
            name,
            name,
        )
        assert (got.body, got.header("content-encoding"), got.all("content-length")) == (
            down[name],
            name,
            [str(len(down[name]))],
        )


@both_upstreams
async def test_an_empty_body_stays_empty(start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    empty = [
        request("POST", IDEMPOTENT_WRITE, token=proxy.tokens.editor),
        request("POST", IDEMPOTENT_WRITE, body=b"", token=proxy.tokens.editor),
        request("POST", IDEMPOTENT_WRITE, "Transfer-Encoding: chunked", token=proxy.tokens.editor) + b"0\r\n\r\n",
    ]
    for data in empty:
        assert (await proxy.send(data)).status == 200
        received = fake_upstream.requests[-1]
        assert received.body == b""
        assert received.header("content-length") == "0" or received.header("transfer-encoding") == "chunked"
        if signed:
            assert received.header("x-amz-content-sha256") == hashlib.sha256().hexdigest()
    assert (await proxy.send(request("GET", READ, token=proxy.tokens.viewer))).status == 200
    assert (
        fake_upstream.requests[-1].header("content-length"),
        fake_upstream.requests[-1].header("transfer-encoding"),
    ) == (None, None)


@both_upstreams
async def test_a_delete_keeps_its_json_body(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    body = json.dumps({"name": "a model", "version": "3"}).encode()
    target = "/api/2.0/mlflow/model-versions/delete"
    data = request("DELETE", target, "Content-Type: application/json", body=body, token=proxy.tokens.admin)
    assert (await proxy.send(data)).status == 200
    assert (fake_upstream.requests[0].line, fake_upstream.requests[0].body) == (f"DELETE {target} HTTP/1.1", body)
    assert fake_upstream.requests[0].header("content-type") == "application/json"


async def test_a_chunked_body_streams_to_a_plain_upstream_before_its_end(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.count_body())
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(request("PUT", ARTIFACT, "Transfer-Encoding: chunked", token=proxy.tokens.editor))
        for sent in (3, 6, 9):
            await client.send(chunked_body(b"abc"))
            await wait_until(lambda sent=sent: fake_upstream.moved == sent)
        await client.send(chunked_body(b""))
        assert (await client.read_response()).status == 200


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_upload_to_a_plain_upstream_arrives_as_it_was(
    start_upstream: StartUpstream, start_proxy: StartProxy, chunked: bool
) -> None:
    got, sent = hashlib.sha256(), hashlib.sha256()

    async def hashing(connection: UpstreamConnection) -> None:
        received = ReceivedRequest(await connection.head(), b"")
        if chunked:
            async for chunk in connection.chunks():
                got.update(chunk)
        else:
            for _ in range(48):
                got.update(await connection.reader.readexactly(MIB))
        assert (received.header("content-length") is None) == chunked
        await connection.send(OK)

    fake_upstream = await start_upstream(hashing)
    proxy = await start_proxy(fake_upstream.origin)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {48 * MIB}"
    async with proxy.connect() as client:
        await client.send(request("PUT", ARTIFACT, framing, token=proxy.tokens.editor))
        async for chunk in _noise(48):
            sent.update(chunk)
            await client.send(chunked_body(chunk) if chunked else chunk)
        await client.send(chunked_body(b"") if chunked else b"")
        assert (await client.read_response()).status == 200
    assert got.digest() == sent.digest()
    await wait_until(lambda: proxy.in_flight == 0)
    assert proxy.lines[-1]["bytes_in"] == 48 * MIB


@both_upstreams
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_download_arrives_as_it_was(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool, chunked: bool
) -> None:
    sent, got = hashlib.sha256(), hashlib.sha256()

    async def stream_body(connection: UpstreamConnection) -> None:
        await connection.read_request()
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (48 * MIB)
        await connection.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        async for chunk in _noise(48):
            sent.update(chunk)
            await connection.send(chunked_body(chunk) if chunked else chunk)
        await connection.send(chunked_body(b"") if chunked else b"")

    fake_upstream = await start_upstream(stream_body)
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect() as client:
        await client.send(request("GET", ARTIFACT, token=proxy.tokens.viewer))
        _, headers = await client.head()
        left = 48 * MIB
        if dict(headers).get("transfer-encoding") == "chunked":
            while size := int(await client.reader.readuntil(b"\r\n"), 16):
                got.update(await client.reader.readexactly(size))
                await client.reader.readexactly(2)
                left -= size
        else:
            assert dict(headers)["content-length"] == str(left)
            while left:
                chunk = await client.reader.read(min(left, MIB))
                got.update(chunk)
                left -= len(chunk)
    assert (left, got.digest()) == (0, sent.digest())
    await wait_until(lambda: proxy.in_flight == 0)
    assert proxy.lines[-1]["bytes_out"] == 48 * MIB


async def _noise(mebibytes: int) -> AsyncIterator[bytes]:
    """Pieces that differ, so that one lost, doubled or moved shows."""
    chunk = hashlib.shake_256(b"noise").digest(MIB - 4)
    for number in range(mebibytes):
        yield number.to_bytes(4) + chunk
