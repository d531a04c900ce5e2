"""Streaming of bodies: request bodies before their end, and large ones in both directions unchanged."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, ReceivedRequest, UpstreamConnection
from tests.doubles.raw_client import chunked_body, request
from tests.doubles.running_proxy import ARTIFACT, wait_until

from .conftest import StartProxy, StartUpstream

MIB = 1 << 20


async def test_chunked_body_is_streamed_before_its_end(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake_upstream = await start_upstream(fake_upstreams.count_body())
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(request("PUT", ARTIFACT, "Transfer-Encoding: chunked", token=proxy.tokens.editor))
        for sent in (3, 6, 9):
            await client.send(chunked_body(b"abc"))
            await wait_until(lambda sent=sent: fake_upstream.moved == sent)
        await client.send(chunked_body(b""))
        assert (await client.read_response()).status == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
async def test_large_upload_is_forwarded_unchanged(
    start_upstream: StartUpstream, start_proxy: StartProxy, chunked: bool
) -> None:
    received_hash, sent_hash = hashlib.sha256(), hashlib.sha256()

    async def hashing(connection: UpstreamConnection) -> None:
        received = ReceivedRequest(await connection.head(), b"")
        if chunked:
            async for chunk in connection.chunks():
                received_hash.update(chunk)
        else:
            for _ in range(48):
                received_hash.update(await connection.reader.readexactly(MIB))
        assert (received.header("content-length") is None) == chunked
        await connection.send(OK)

    fake_upstream = await start_upstream(hashing)
    proxy = await start_proxy(fake_upstream.origin)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {48 * MIB}"
    async with proxy.connect() as client:
        await client.send(request("PUT", ARTIFACT, framing, token=proxy.tokens.editor))
        async for chunk in _distinct_chunks(48):
            sent_hash.update(chunk)
            await client.send(chunked_body(chunk) if chunked else chunk)
        await client.send(chunked_body(b"") if chunked else b"")
        assert (await client.read_response()).status == 200
    assert received_hash.digest() == sent_hash.digest()
    await wait_until(lambda: proxy.in_flight == 0)
    assert proxy.lines[-1]["bytes_in"] == 48 * MIB


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
async def test_large_download_is_forwarded_unchanged(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool, chunked: bool
) -> None:
    sent_hash, received_hash = hashlib.sha256(), hashlib.sha256()

    async def stream_body(connection: UpstreamConnection) -> None:
        await connection.read_request()
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (48 * MIB)
        await connection.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        async for chunk in _distinct_chunks(48):
            sent_hash.update(chunk)
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
                received_hash.update(await client.reader.readexactly(size))
                await client.reader.readexactly(2)
                left -= size
        else:
            assert dict(headers)["content-length"] == str(left)
            while left:
                chunk = await client.reader.read(min(left, MIB))
                received_hash.update(chunk)
                left -= len(chunk)
    assert (left, received_hash.digest()) == (0, sent_hash.digest())
    await wait_until(lambda: proxy.in_flight == 0)
    assert proxy.lines[-1]["bytes_out"] == 48 * MIB


async def _distinct_chunks(mebibytes: int) -> AsyncIterator[bytes]:
    """Chunks of 1 MiB that differ, so that a lost, repeated or reordered one changes the hash."""
    chunk = hashlib.shake_256(b"noise").digest(MIB - 4)
    for number in range(mebibytes):
        yield number.to_bytes(4) + chunk
