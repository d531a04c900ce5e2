"""Request bodies: buffered within limits to be signed, streamed to a plain upstream, and forwarded unchanged."""

import asyncio
import gzip
import hashlib
import json
import zlib

import pytest

from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, ReceivedRequest, response_with_length
from tests.doubles.raw_client import chunked_body, request
from tests.doubles.running_proxy import ARTIFACT, IDEMPOTENT_WRITE, READ, RunningProxy, wait_until

from .conftest import StartProxy, StartUpstream

MIB = 1 << 20
both_upstreams = pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])


def request_head(
    proxy: RunningProxy, length: int, *headers: str, target: str = IDEMPOTENT_WRITE, method: str = "POST"
) -> bytes:
    """The head of a request with a body of this length."""
    return request(method, target, f"Content-Length: {length}", *headers, token=proxy.tokens.admin)


# --- Buffered for signing


async def test_signed_request_is_sent_after_its_whole_body_is_received(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    body = bytes(range(256)) * 2000
    async with proxy.connect() as client:
        await client.send(request_head(proxy, len(body)) + body[:-1])
        await wait_until(lambda: proxy.in_flight == 1)
        await asyncio.sleep(0.1)
        assert fake_upstream.connections == 0
        await client.send(body[-1:])
        assert (await client.read_response()).status == 200
    (received,) = fake_upstream.requests
    assert received.body == body
    assert received.header("x-amz-content-sha256") == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 128 * 1024 + 1, MIB])
@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
async def test_signed_body_up_to_the_limit_is_forwarded_with_content_length(
    start_upstream: StartUpstream, start_proxy: StartProxy, size: int, chunked: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=MIB)
    body = bytes(range(251)) * (size // 251 + 1)
    body = body[:size]
    if chunked:
        head = request("POST", IDEMPOTENT_WRITE, "Transfer-Encoding: chunked", token=proxy.tokens.admin)
        chunks = [body[start : start + 9999] for start in range(0, size, 9999)]
        response = await proxy.send(head + chunked_body(*chunks, b""))
    else:
        response = await proxy.send(request("POST", IDEMPOTENT_WRITE, body=body, token=proxy.tokens.admin))
    assert response.status == 200
    (received,) = fake_upstream.requests
    assert (received.header("content-length"), received.header("transfer-encoding")) == (str(size), None)
    assert received.header("x-amz-content-sha256") == hashlib.sha256(body).hexdigest()
    assert received.body == body
    assert proxy.budget_free == proxy.settings.body_budget


async def test_content_length_over_the_limit_is_rejected_before_the_body_is_sent(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=MIB)
    async with proxy.connect() as client:
        response = await client.round_trip(request_head(proxy, MIB + 1))
    assert response.error == (413, "INVALID_PARAMETER_VALUE")
    assert "1 MiB" in response.message
    assert "MLFLOW_PROXY_BODY_LIMIT_MIB" in response.message
    # MLflow's client would retry a 413 with a Retry-After.
    assert response.header("retry-after") is None
    assert fake_upstream.connections == 0


async def test_chunked_body_over_the_limit_is_rejected(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=MIB)
    async with proxy.connect() as client:
        await client.send(request("POST", IDEMPOTENT_WRITE, "Transfer-Encoding: chunked", token=proxy.tokens.admin))
        await client.send(chunked_body(*[b"x" * 65536] * 17))
        response = await client.read_response()
    assert response.error == (413, "INVALID_PARAMETER_VALUE")
    assert fake_upstream.connections == 0
    assert proxy.budget_free == proxy.settings.body_budget


async def test_body_over_the_limit_is_streamed_to_a_plain_upstream(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.count_body())
    proxy = await start_proxy(fake_upstream.origin, body_limit=1000, body_budget=1000)
    response = await proxy.send(request("PUT", ARTIFACT, body=b"x" * 100_000, token=proxy.tokens.editor))
    assert (response.status, fake_upstream.moved) == (200, 100_000)


# --- Slow and truncated bodies


@both_upstreams
async def test_stalled_body_gets_408_and_closes_the_connection(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.count_body())
    proxy = await start_proxy(fake_upstream.origin, signed=signed, body_timeout=0.2)
    async with proxy.connect() as client:
        await client.send(request_head(proxy, 1000) + b"x" * 10)
        response = await client.read_response()
        assert response.error == (408, "DEADLINE_EXCEEDED")
        assert response.header("connection") == "close"
        async with asyncio.timeout(2):
            assert await client.closed() == b""
    # The upstream request is aborted.
    await wait_until(lambda: fake_upstream.open == 0)
    assert fake_upstream.moved in {0, 10}
    assert proxy.budget_free == proxy.settings.body_budget


@both_upstreams
async def test_slow_body_is_forwarded(start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=signed, body_timeout=0.5)
    async with proxy.connect() as client:
        await client.send(request_head(proxy, 6 * 8192))
        # Longer than the timeout in all, and faster than the least rate.
        for _ in range(6):
            await asyncio.sleep(0.15)
            await client.send(b"o" * 8192)
        assert (await client.read_response()).status == 200
    assert fake_upstream.requests[0].body == b"o" * 6 * 8192


@both_upstreams
async def test_truncated_body_is_not_forwarded_as_complete(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    for head in (
        request_head(proxy, 1000),
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
async def test_body_with_invalid_chunk_framing_gets_400_at_once(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=signed, body_timeout=30)
    async with proxy.connect() as client:
        await client.send(request("POST", IDEMPOTENT_WRITE, "Transfer-Encoding: chunked", token=proxy.tokens.admin))
        await client.send(chunked_body(b"{}"))
        await wait_until(lambda: proxy.in_flight == 1)
        await client.send(b"canary-no-chunk\r\n")
        async with asyncio.timeout(2):
            assert (await client.read_response()).error == (400, "INVALID_PARAMETER_VALUE")
            assert await client.closed() == b""
    await wait_until(lambda: fake_upstream.open == 0)
    assert fake_upstream.requests == []
    assert "canary" not in caplog.text + "".join(proxy.written)


# --- Expect: 100-continue


@both_upstreams
@pytest.mark.parametrize(
    ("role", "target", "length", "status"),
    [
        ("anonymous", IDEMPOTENT_WRITE, 5, 401),
        ("viewer", IDEMPOTENT_WRITE, 5, 403),
        ("admin", "/api/2.0/mlflow/no-such-thing", 5, 404),
        ("admin", IDEMPOTENT_WRITE, 5 * MIB, 413),
    ],
)
async def test_rejected_request_gets_no_100_continue(
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
        first_status, _ = await client.head()
    if status == 413 and not signed:
        assert first_status == 100  # bodies of any size are streamed to a plain upstream
    else:
        assert (first_status, fake_upstream.connections) == (status, 0)


@both_upstreams
async def test_accepted_request_gets_one_100_continue(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect() as client:
        for body in (b"x" * 1000, b"y" * 300_000):
            await client.send(request_head(proxy, len(body), "Expect: 100-continue"))
            assert await client.head() == (100, [])
            await client.send(body)
            response = await client.read_response()
            assert (response.status, response.body, fake_upstream.requests[-1].body) == (200, b"{}", body)
            assert fake_upstream.requests[-1].header("expect") is None


async def test_request_whose_body_was_received_gets_no_100_continue(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request_head(proxy, 2, "Expect: 100-continue") + b"{}")
    assert (response.status, fake_upstream.requests[0].body) == (200, b"{}")


async def test_http_1_0_request_gets_no_100_continue(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(request_head(proxy, 2, "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0"))
        await wait_until(lambda: proxy.in_flight == 1)
        await asyncio.sleep(0.05)
        await client.send(b"{}")
        assert (await client.read_response()).status == 200


# --- Forwarded unchanged


@both_upstreams
async def test_compressed_bodies_are_forwarded_unchanged_in_both_directions(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    request_bodies = {
        "gzip": gzip.compress(b"up" * 500),
        "deflate": zlib.compress(b"up" * 500),
        "br": b"\x0b\x02\x80up\x03",
    }
    response_bodies = {coding: body[::-1] for coding, body in request_bodies.items()}

    def respond(received: ReceivedRequest) -> bytes:
        coding = received.header("content-encoding") or ""
        return response_with_length(
            response_bodies[coding], b"Content-Encoding: " + coding.encode(), b"Vary: Accept-Encoding"
        )

    fake_upstream = await start_upstream(fake_upstreams.respond_by(respond))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    for coding, body in request_bodies.items():
        headers = [f"Content-Encoding: {coding}", f"Accept-Encoding: {coding}", "Content-Type: application/x-protobuf"]
        response = await proxy.send(request("POST", "/v1/traces", *headers, body=body, token=proxy.tokens.editor))
        received = fake_upstream.requests[-1]
        assert (received.body, received.header("content-encoding"), received.header("accept-encoding")) == (
            body,
            coding,
            coding,
        )
        assert (response.body, response.header("content-encoding"), response.all("content-length")) == (
            response_bodies[coding],
            coding,
            [str(len(response_bodies[coding]))],
        )


@both_upstreams
async def test_empty_body_is_forwarded_empty(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
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
async def test_json_body_of_a_delete_is_forwarded(
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


@both_upstreams
@pytest.mark.parametrize("codings", ["gzip, chunked", "gzip,chunked", "deflate, CHUNKED", "identity, chunked"])
async def test_transfer_coding_beside_chunked_is_refused(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool, codings: str
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    head = request("POST", IDEMPOTENT_WRITE, f"Transfer-Encoding: {codings}", token=proxy.tokens.editor)
    response = await proxy.send(head + chunked_body(b"{}"))
    assert response.error == (501, "NOT_IMPLEMENTED")
    assert fake_upstream.connections == 0
