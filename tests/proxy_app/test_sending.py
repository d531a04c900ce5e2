"""The upstream's client: how bodies and heads go up, and to whom."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from local.fake_sagemaker.tls import Authority
from proxy_app import errors
from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import OK, response_with_length
from tests.doubles.running_proxy import wait_until, wait_until_stable
from tests.doubles.upstream_client import chunks_of, content, get, open_connections, put

from .conftest import StartClient, StartUpstream

# --- Bodies


async def test_a_body_of_known_length_is_sent_as_it_is(
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


async def test_a_body_of_unknown_length_is_sent_in_chunks(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    await put(await start_client(fake_upstream.origin), lambda: chunks_of(b"one", b"two" * 9), None)
    (received,) = fake_upstream.requests
    assert (received.header("content-length"), received.header("transfer-encoding")) == (None, "chunked")
    assert received.body == b"one" + b"two" * 9


async def test_an_answer_ends_the_body_that_is_still_being_sent(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    refusal = response_with_length(b"too large", status=b"413 Content Too Large")
    fake_upstream = await start_upstream(fake_upstreams.respond_before_body(refusal, reads_on=True))
    client = await start_client(fake_upstream.origin)
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            yield b"x" * 65536
            given += 1
            await asyncio.sleep(0)

    answer = await put(client, endless, fake_upstreams.ENDLESS)
    assert (answer.response.status, await content(answer)) == (413, b"too large")
    assert given < 1000
    # The upstream still waits for the rest: nothing else can go this way.
    await wait_until(lambda: fake_upstream.open == 0)


async def test_an_answer_comes_through_while_the_upstream_reads_no_more(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    refusal = response_with_length(b"no", status=b"403 Forbidden")
    fake_upstream = await start_upstream(fake_upstreams.respond_before_body(refusal, reads_on=False), buffer=4096)
    client = await start_client(fake_upstream.origin)
    body = [b"x" * 65536] * 200
    answer = await put(client, lambda: chunks_of(*body), 200 * 65536)
    assert (answer.response.status, await content(answer)) == (403, b"no")
    await wait_until(lambda: not open_connections(fake_upstream))


async def test_an_upstream_that_does_not_read_holds_the_body_back(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.read_nothing, buffer=4096)
    client = await start_client(fake_upstream.origin, upstream_timeout=0.3)
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            yield b"x" * 65536
            given += 65536

    with pytest.raises(errors.ApiError) as refused:
        await put(client, endless, fake_upstreams.ENDLESS)
    assert refused.value.status == 504
    # What the sockets take, and the transport's 64 KiB.
    assert given < 8 << 20


async def test_a_caller_that_does_not_read_holds_the_upstream_back(
    start_upstream: StartUpstream, start_client: StartClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stream_body(), buffer=4096)
    answer = await get(await start_client(fake_upstream.origin))
    pieces = answer.response.chunks()
    await anext(pieces)
    moved = await wait_until_stable(lambda: fake_upstream.moved)
    assert 0 < answer.response.buffered < 1 << 20
    # What the sockets take comes to it.
    assert moved < 16 << 20
    for _ in range(50):
        await anext(pieces)
    assert fake_upstream.moved > moved
    answer.response.close()
    await wait_until(lambda: fake_upstream.open == 0)


# --- Heads


async def test_a_head_is_sent_as_given(start_upstream: StartUpstream, start_client: StartClient) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    client = await start_client(fake_upstream.origin)
    await get(client, "/a%2Fb?c=%20d", headers=[(b"X-Case", b"Kept"), (b"x-empty", b"")])
    host = f"localhost:{fake_upstream.port}".encode()
    expected = b"GET /a%2Fb?c=%20d HTTP/1.1\r\nhost: " + host + b"\r\nX-Case: Kept\r\nx-empty: \r\n\r\n"
    assert fake_upstream.heads == [expected]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_write_without_a_body_says_so(
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
async def test_a_line_break_in_a_head_is_never_sent(
    start_upstream: StartUpstream, start_client: StartClient, path: str, header: tuple[bytes, bytes]
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    with pytest.raises(errors.ApiError) as refused:
        await get(await start_client(fake_upstream.origin), path, headers=[header])
    assert (refused.value.status, fake_upstream.heads) == (400, [])


# --- TLS


async def test_a_certificate_of_a_trusted_authority_is_taken(
    start_upstream: StartUpstream, start_client: StartClient, authority: Authority
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_by(fake_upstreams.echo), tls=authority.server_context())
    client = await start_client(fake_upstream.origin, ca_bundle=authority.ca_file)
    body = bytes(range(256)) * 4096
    for _ in range(2):
        answer = await put(client, lambda: chunks_of(body), len(body))
        assert (await content(answer)).endswith(b"\r\n\r\n" + body)
    assert fake_upstream.connections == 1


async def test_a_certificate_of_another_authority_is_refused_with_the_reason(
    start_upstream: StartUpstream, start_client: StartClient, authority: Authority
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK), tls=authority.server_context())
    with pytest.raises(errors.ApiError, match=r"certificate of MLflow is not trusted: .*certificate") as refused:
        await get(await start_client(fake_upstream.origin))
    assert (refused.value.status, refused.value.reason, fake_upstream.requests) == (
        502,
        "upstream-certificate-untrusted",
        [],
    )


async def test_a_certificate_for_another_host_is_refused(
    start_upstream: StartUpstream, start_client: StartClient, authority: Authority
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK), tls=authority.server_context())
    client = await start_client(fake_upstream.origin.replace("localhost", "127.0.0.2"), ca_bundle=authority.ca_file)
    with pytest.raises(errors.ApiError, match=r"not trusted|cannot connect") as refused:
        await get(client)
    assert (refused.value.status, fake_upstream.requests) == (502, [])
