"""Request bodies: held whole for signing within limits, streamed to a plain upstream, and never changed."""

import asyncio
import gzip
import hashlib
import json
import zlib
from collections.abc import AsyncIterator

import pytest

from tests.doubles import toy_upstreams as toys
from tests.doubles.raw_client import in_chunks, request
from tests.doubles.running_proxy import ARTIFACT, READ, WRITE_AGAIN, RunningProxy, until
from tests.doubles.toy_upstreams import OK, Asked, Talk, with_length

from .conftest import StartProxy, StartToy

MIB = 1 << 20
both_upstreams = pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])


def announced(
    proxy: RunningProxy, length: int, *headers: str, target: str = WRITE_AGAIN, method: str = "POST"
) -> bytes:
    """A head that promises a body."""
    return request(method, target, f"Content-Length: {length}", *headers, token=proxy.tokens.admin)


# --- Held whole, to be signed


async def test_a_signed_body_is_sent_once_all_of_it_has_come(start_toy: StartToy, start_proxy: StartProxy) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin, signed=True)
    body = bytes(range(256)) * 2000
    async with proxy.caller() as caller:
        await caller.send(announced(proxy, len(body)) + body[:-1])
        await until(lambda: proxy.in_flight == 1)
        await asyncio.sleep(0.1)
        assert toy.connections == 0
        await caller.send(body[-1:])
        assert (await caller.answer()).status == 200
    (asked,) = toy.asked
    assert asked.body == body
    assert asked.header("x-amz-content-sha256") == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 128 * 1024 + 1, MIB])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_signed_body_up_to_the_limit_arrives_with_its_length(
    start_toy: StartToy, start_proxy: StartProxy, size: int, chunked: bool
) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin, signed=True, body_limit=MIB)
    body = bytes(range(251)) * (size // 251 + 1)
    body = body[:size]
    if chunked:
        head = request("POST", WRITE_AGAIN, "Transfer-Encoding: chunked", token=proxy.tokens.admin)
        pieces = [body[at : at + 9999] for at in range(0, size, 9999)]
        answer = await proxy.ask(head + in_chunks(*pieces, b""))
    else:
        answer = await proxy.ask(request("POST", WRITE_AGAIN, body=body, token=proxy.tokens.admin))
    assert answer.status == 200
    (asked,) = toy.asked
    assert (asked.header("content-length"), asked.header("transfer-encoding")) == (str(size), None)
    assert asked.header("x-amz-content-sha256") == hashlib.sha256(body).hexdigest()
    assert asked.body == body
    assert proxy.budget_free == proxy.settings.body_budget


async def test_an_announced_body_over_the_limit_is_refused_before_any_of_it_comes(
    start_toy: StartToy, start_proxy: StartProxy
) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin, signed=True, body_limit=MIB)
    async with proxy.caller() as caller:
        answer = await caller.ask(announced(proxy, MIB + 1))
    assert answer.error == (413, "INVALID_PARAMETER_VALUE")
    assert "1 MiB" in answer.message
    assert "MLFLOW_PROXY_BODY_LIMIT_MIB" in answer.message
    # MLflow's client waits as it is told even on a 413, and sends the same again.
    assert answer.header("retry-after") is None
    assert toy.connections == 0


async def test_a_chunked_body_over_the_limit_is_refused_when_it_gets_there(
    start_toy: StartToy, start_proxy: StartProxy
) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin, signed=True, body_limit=MIB)
    async with proxy.caller() as caller:
        await caller.send(request("POST", WRITE_AGAIN, "Transfer-Encoding: chunked", token=proxy.tokens.admin))
        await caller.send(in_chunks(*[b"x" * 65536] * 17))
        answer = await caller.answer()
    assert answer.error == (413, "INVALID_PARAMETER_VALUE")
    assert toy.connections == 0
    assert proxy.budget_free == proxy.settings.body_budget


async def test_a_plain_upstream_takes_bodies_over_the_limit(start_toy: StartToy, start_proxy: StartProxy) -> None:
    toy = await start_toy(toys.counting_the_body())
    proxy = await start_proxy(toy.origin, body_limit=1000, body_budget=1000)
    answer = await proxy.ask(request("PUT", ARTIFACT, body=b"x" * 100_000, token=proxy.tokens.editor))
    assert (answer.status, toy.moved) == (200, 100_000)


# --- Slow and broken bodies


@both_upstreams
async def test_a_body_that_stands_still_is_given_up(start_toy: StartToy, start_proxy: StartProxy, signed: bool) -> None:
    toy = await start_toy(toys.counting_the_body())
    proxy = await start_proxy(toy.origin, signed=signed, body_timeout=0.2)
    async with proxy.caller() as caller:
        await caller.send(announced(proxy, 1000) + b"x" * 10)
        answer = await caller.answer()
        assert answer.error == (408, "DEADLINE_EXCEEDED")
        assert answer.header("connection") == "close"
        async with asyncio.timeout(2):
            assert await caller.closed() == b""
    # What has been begun upstream is never finished.
    await until(lambda: toy.open == 0)
    assert toy.moved in {0, 10}
    assert proxy.budget_free == proxy.settings.body_budget


@both_upstreams
async def test_a_slow_body_that_moves_is_waited_for(start_toy: StartToy, start_proxy: StartProxy, signed: bool) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin, signed=signed, body_timeout=0.5)
    async with proxy.caller() as caller:
        await caller.send(announced(proxy, 6))
        for _ in range(6):
            await asyncio.sleep(0.15)
            await caller.send(b"o")
        assert (await caller.answer()).status == 200
    assert toy.asked[0].body == b"oooooo"


@both_upstreams
async def test_a_body_that_breaks_off_is_never_sent_as_whole(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool
) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin, signed=signed)
    for head in (
        announced(proxy, 1000),
        request("POST", WRITE_AGAIN, "Transfer-Encoding: chunked", token=proxy.tokens.admin) + b"3e8\r\n",
    ):
        async with proxy.caller() as caller:
            await caller.send(head + b"x" * 10)
            await until(lambda: proxy.in_flight == 1)
        await until(lambda: proxy.in_flight == 0)
        await until(lambda: toy.open == 0)
        assert proxy.lines[-1]["error"] == "client-closed-request"
    assert toy.asked == []
    assert proxy.budget_free == proxy.settings.body_budget


@both_upstreams
async def test_a_body_with_broken_framing_counts_as_one_that_stands_still(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin, signed=signed, body_timeout=0.2)
    async with proxy.caller() as caller:
        await caller.send(request("POST", WRITE_AGAIN, "Transfer-Encoding: chunked", token=proxy.tokens.admin))
        await caller.send(in_chunks(b"{}"))
        await until(lambda: proxy.in_flight == 1)
        await caller.send(b"canary-no-chunk\r\n")
        async with asyncio.timeout(2):
            assert (await caller.answer()).error == (408, "DEADLINE_EXCEEDED")
            assert await caller.closed() == b""
    await until(lambda: toy.open == 0)
    assert toy.asked == []
    assert "canary" not in caplog.text + "".join(proxy.written)


# --- Expect: 100-continue


@both_upstreams
@pytest.mark.parametrize(
    ("role", "target", "length", "status"),
    [
        ("nobody", WRITE_AGAIN, 5, 401),
        ("viewer", WRITE_AGAIN, 5, 403),
        ("admin", "/api/2.0/mlflow/no-such-thing", 5, 404),
        ("admin", WRITE_AGAIN, 5 * MIB, 413),
    ],
)
async def test_a_refused_request_is_not_asked_for_its_body(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool, role: str, target: str, length: int, status: int
) -> None:
    toy = await start_toy(toys.answering_before_the_body(with_length(b"", status=b"413 Large"), reads_on=True))
    proxy = await start_proxy(toy.origin, signed=signed, body_limit=MIB)
    token = getattr(proxy.tokens, role, "")
    async with proxy.caller() as caller:
        await caller.send(request("POST", target, f"Content-Length: {length}", "Expect: 100-continue", token=token))
        status_line, _ = await caller.head()
    if status == 413 and not signed:
        assert status_line == 100  # bodies of any size stream to a plain upstream
    else:
        assert (status_line, toy.connections) == (status, 0)


@both_upstreams
async def test_a_request_that_is_taken_is_asked_for_its_body_once(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool
) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin, signed=signed)
    async with proxy.caller() as caller:
        for body in (b"x" * 1000, b"y" * 300_000):
            await caller.send(announced(proxy, len(body), "Expect: 100-continue"))
            assert await caller.head() == (100, [])
            await caller.send(body)
            answer = await caller.answer()
            assert (answer.status, answer.body, toy.asked[-1].body) == (200, b"{}", body)
            assert toy.asked[-1].header("expect") is None


async def test_nobody_is_asked_for_a_body_that_has_come(start_toy: StartToy, start_proxy: StartProxy) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin)
    answer = await proxy.ask(announced(proxy, 2, "Expect: 100-continue") + b"{}")
    assert (answer.status, toy.asked[0].body) == (200, b"{}")


async def test_an_http_1_0_caller_is_not_told_to_continue(start_toy: StartToy, start_proxy: StartProxy) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin)
    async with proxy.caller() as caller:
        await caller.send(announced(proxy, 2, "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0"))
        await until(lambda: proxy.in_flight == 1)
        await asyncio.sleep(0.05)
        await caller.send(b"{}")
        assert (await caller.answer()).status == 200


# --- Untouched


@both_upstreams
async def test_compressed_bodies_pass_as_they_are_both_ways(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool
) -> None:
    up = {"gzip": gzip.compress(b"up" * 500), "deflate": zlib.compress(b"up" * 500), "br": b"\x0b\x02\x80up\x03"}
    down = {name: body[::-1] for name, body in up.items()}

    def answer(asked: Asked) -> bytes:
        name = asked.header("content-encoding") or ""
        return with_length(down[name], b"Content-Encoding: " + name.encode(), b"Vary: Accept-Encoding")

    toy = await start_toy(toys.answering_by(answer))
    proxy = await start_proxy(toy.origin, signed=signed)
    for name, body in up.items():
        headers = [f"Content-Encoding: {name}", f"Accept-Encoding: {name}", "Content-Type: application/x-protobuf"]
        got = await proxy.ask(request("POST", "/v1/traces", *headers, body=body, token=proxy.tokens.editor))
        asked = toy.asked[-1]
        assert (asked.body, asked.header("content-encoding"), asked.header("accept-encoding")) == (body, name, name)
        assert (got.body, got.header("content-encoding"), got.all("content-length")) == (
            down[name],
            name,
            [str(len(down[name]))],
        )


@both_upstreams
async def test_an_empty_body_stays_empty(start_toy: StartToy, start_proxy: StartProxy, signed: bool) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin, signed=signed)
    empty = [
        request("POST", WRITE_AGAIN, token=proxy.tokens.editor),
        request("POST", WRITE_AGAIN, body=b"", token=proxy.tokens.editor),
        request("POST", WRITE_AGAIN, "Transfer-Encoding: chunked", token=proxy.tokens.editor) + b"0\r\n\r\n",
    ]
    for data in empty:
        assert (await proxy.ask(data)).status == 200
        asked = toy.asked[-1]
        assert asked.body == b""
        assert asked.header("content-length") == "0" or asked.header("transfer-encoding") == "chunked"
        if signed:
            assert asked.header("x-amz-content-sha256") == hashlib.sha256().hexdigest()
    assert (await proxy.ask(request("GET", READ, token=proxy.tokens.viewer))).status == 200
    assert (toy.asked[-1].header("content-length"), toy.asked[-1].header("transfer-encoding")) == (None, None)


@both_upstreams
async def test_a_delete_keeps_its_json_body(start_toy: StartToy, start_proxy: StartProxy, signed: bool) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin, signed=signed)
    body = json.dumps({"name": "a model", "version": "3"}).encode()
    target = "/api/2.0/mlflow/model-versions/delete"
    data = request("DELETE", target, "Content-Type: application/json", body=body, token=proxy.tokens.admin)
    assert (await proxy.ask(data)).status == 200
    assert (toy.asked[0].line, toy.asked[0].body) == (f"DELETE {target} HTTP/1.1", body)
    assert toy.asked[0].header("content-type") == "application/json"


async def test_a_chunked_body_streams_to_a_plain_upstream_before_its_end(
    start_toy: StartToy, start_proxy: StartProxy
) -> None:
    toy = await start_toy(toys.counting_the_body())
    proxy = await start_proxy(toy.origin)
    async with proxy.caller() as caller:
        await caller.send(request("PUT", ARTIFACT, "Transfer-Encoding: chunked", token=proxy.tokens.editor))
        for sent in (3, 6, 9):
            await caller.send(in_chunks(b"abc"))
            await until(lambda sent=sent: toy.moved == sent)
        await caller.send(in_chunks(b""))
        assert (await caller.answer()).status == 200


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_upload_to_a_plain_upstream_arrives_as_it_was(
    start_toy: StartToy, start_proxy: StartProxy, chunked: bool
) -> None:
    got, sent = hashlib.sha256(), hashlib.sha256()

    async def hashing(talk: Talk) -> None:
        asked = Asked(await talk.head(), b"")
        if chunked:
            async for piece in talk.chunks():
                got.update(piece)
        else:
            for _ in range(48):
                got.update(await talk.reader.readexactly(MIB))
        assert (asked.header("content-length") is None) == chunked
        await talk.send(OK)

    toy = await start_toy(hashing)
    proxy = await start_proxy(toy.origin)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {48 * MIB}"
    async with proxy.caller() as caller:
        await caller.send(request("PUT", ARTIFACT, framing, token=proxy.tokens.editor))
        async for piece in _noise(48):
            sent.update(piece)
            await caller.send(in_chunks(piece) if chunked else piece)
        await caller.send(in_chunks(b"") if chunked else b"")
        assert (await caller.answer()).status == 200
    assert got.digest() == sent.digest()
    await until(lambda: proxy.in_flight == 0)
    assert proxy.lines[-1]["bytes_in"] == 48 * MIB


@both_upstreams
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_download_arrives_as_it_was(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool, chunked: bool
) -> None:
    sent, got = hashlib.sha256(), hashlib.sha256()

    async def pouring(talk: Talk) -> None:
        await talk.ask()
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (48 * MIB)
        await talk.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        async for piece in _noise(48):
            sent.update(piece)
            await talk.send(in_chunks(piece) if chunked else piece)
        await talk.send(in_chunks(b"") if chunked else b"")

    toy = await start_toy(pouring)
    proxy = await start_proxy(toy.origin, signed=signed)
    async with proxy.caller() as caller:
        await caller.send(request("GET", ARTIFACT, token=proxy.tokens.viewer))
        _, headers = await caller.head()
        left = 48 * MIB
        if dict(headers).get("transfer-encoding") == "chunked":
            while size := int(await caller.reader.readuntil(b"\r\n"), 16):
                got.update(await caller.reader.readexactly(size))
                await caller.reader.readexactly(2)
                left -= size
        else:
            assert dict(headers)["content-length"] == str(left)
            while left:
                piece = await caller.reader.read(min(left, MIB))
                got.update(piece)
                left -= len(piece)
    assert (left, got.digest()) == (0, sent.digest())
    await until(lambda: proxy.in_flight == 0)
    assert proxy.lines[-1]["bytes_out"] == 48 * MIB


async def _noise(mebibytes: int) -> AsyncIterator[bytes]:
    """Pieces that differ, so that one lost, doubled or moved shows."""
    piece = hashlib.shake_256(b"noise").digest(MIB - 4)
    for number in range(mebibytes):
        yield number.to_bytes(4) + piece
