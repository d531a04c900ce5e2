"""The upstream client: request bodies and heads as sent, backpressure, and TLS."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from local.fake_sagemaker.tls import Authority
from proxy_app import errors
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, response_with_length
from tests.doubles.running_proxy import wait_until, wait_until_stable
from tests.doubles.upstream_client import chunks_of, content, get, open_connections, put

from .conftest import StartClient, StartUpstream

# --- Bodies


async def test_body_of_known_length_is_sent_with_content_length(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    await put(await start_client(fake_upstream.origin), lambda: chunks_of(b"one", b"", b"two"), 6)
    (received,) = fake_upstream.requests
    assert (received.header("content-length"), received.header("transfer-encoding"), received.body) == (
        "6",
        None,
        b"onetwo",
    )


async def test_body_of_unknown_length_is_sent_chunked(start_upstream: StartUpstream, start_client: StartClient) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    await put(await start_client(fake_upstream.origin), lambda: chunks_of(b"one", b"two" * 9), None)
    (received,) = fake_upstream.requests
    assert (received.header("content-length"), received.header("transfer-encoding")) == (None, "chunked")
    assert received.body == b"one" + b"two" * 9


async def test_early_response_stops_the_request_body(start_upstream: StartUpstream, start_client: StartClient) -> None:
    rejection = response_with_length(b"too large", status=b"413 Content Too Large")
    fake_upstream = await start_upstream(fake_upstreams.respond_before_body(rejection, reads_on=True))
    client = await start_client(fake_upstream.origin)
    sent = 0

    async def long_body() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 5000:
            yield b"x" * 65536
            sent += 1
            await asyncio.sleep(0)

    response = await put(client, long_body, fake_upstreams.ENDLESS)
    assert (response.response.status, await content(response)) == (413, b"too large")
    assert sent < 1000
    # The upstream expects the rest of the body, so the connection cannot be reused.
    await wait_until(lambda: fake_upstream.open == 0)


async def test_early_response_is_received_while_the_upstream_does_not_read(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    rejection = response_with_length(b"no", status=b"403 Forbidden")
    fake_upstream = await start_upstream(fake_upstreams.respond_before_body(rejection, reads_on=False), buffer=4096)
    client = await start_client(fake_upstream.origin)
    body = [b"x" * 65536] * 200
    response = await put(client, lambda: chunks_of(*body), 200 * 65536)
    assert (response.response.status, await content(response)) == (403, b"no")
    await wait_until(lambda: not open_connections(fake_upstream))


async def test_upstream_that_does_not_read_pauses_the_request_body(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.read_nothing, buffer=4096)
    client = await start_client(fake_upstream.origin, upstream_timeout=0.3)
    sent = 0

    async def long_body() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 64 << 20:
            yield b"x" * 65536
            sent += 65536

    with pytest.raises(errors.ApiError) as error:
        await put(client, long_body, fake_upstreams.ENDLESS)
    assert error.value.status == 504
    # The capacity of the sockets' buffers, and the transport's 64 KiB.
    assert sent < 8 << 20


async def test_response_that_is_not_read_pauses_the_upstream(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stream_body(), buffer=4096)
    response = await get(await start_client(fake_upstream.origin))
    chunks = response.response.chunks()
    await anext(chunks)
    moved = await wait_until_stable(lambda: fake_upstream.moved)
    assert 0 < response.response.buffered < 1 << 20
    # In addition, the capacity of the sockets' buffers.
    assert moved < 16 << 20
    for _ in range(50):
        await anext(chunks)
    assert fake_upstream.moved > moved
    response.response.close()
    await wait_until(lambda: fake_upstream.open == 0)


# --- Heads


async def test_head_is_sent_unchanged(start_upstream: StartUpstream, start_client: StartClient) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    client = await start_client(fake_upstream.origin)
    await get(client, "/a%2Fb?c=%20d", headers=[(b"X-Case", b"Value"), (b"x-empty", b"")])
    host = f"localhost:{fake_upstream.port}".encode()
    expected = b"GET /a%2Fb?c=%20d HTTP/1.1\r\nhost: " + host + b"\r\nX-Case: Value\r\nx-empty: \r\n\r\n"
    assert fake_upstream.heads == [expected]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_write_without_a_body_has_content_length_0(
    start_upstream: StartUpstream, start_client: StartClient, method: str
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    await get(await start_client(fake_upstream.origin), method=method)
    assert fake_upstream.requests[0].header("content-length") == "0"


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
async def test_head_with_a_line_break_is_rejected_and_not_sent(
    start_upstream: StartUpstream, start_client: StartClient, path: str, header: tuple[bytes, bytes]
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    with pytest.raises(errors.ApiError) as error:
        await get(await start_client(fake_upstream.origin), path, headers=[header])
    assert (error.value.status, fake_upstream.heads) == (400, [])


# --- TLS


async def test_certificate_of_a_trusted_authority_is_accepted(
    start_upstream: StartUpstream, start_client: StartClient, authority: Authority
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_by(fake_upstreams.echo), tls=authority.server_context())
    client = await start_client(fake_upstream.origin, ca_bundle=authority.ca_file)
    body = bytes(range(256)) * 4096
    for _ in range(2):
        response = await put(client, lambda: chunks_of(body), len(body))
        assert (await content(response)).endswith(b"\r\n\r\n" + body)
    assert fake_upstream.connections == 1


async def test_certificate_of_another_authority_is_rejected_with_the_reason(
    start_upstream: StartUpstream, start_client: StartClient, authority: Authority
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK), tls=authority.server_context())
    with pytest.raises(errors.ApiError, match=r"certificate of MLflow is not trusted: .*certificate") as error:
        await get(await start_client(fake_upstream.origin))
    assert (error.value.status, error.value.reason, fake_upstream.requests) == (
        502,
        "upstream-certificate-untrusted",
        [],
    )


async def test_certificate_for_another_host_is_rejected(
    start_upstream: StartUpstream, start_client: StartClient, authority: Authority
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK), tls=authority.server_context())
    # 127.1 is another name of 127.0.0.1.
    client = await start_client(fake_upstream.origin.replace("localhost", "127.1"), ca_bundle=authority.ca_file)
    with pytest.raises(errors.ApiError, match=r"not trusted: .*127\.1") as error:
        await get(client)
    assert (error.value.status, error.value.reason) == (502, "upstream-certificate-untrusted")
    assert fake_upstream.requests == []
