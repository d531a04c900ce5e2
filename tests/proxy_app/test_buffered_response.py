"""Answers that have come as a whole go down in one piece: nothing of them is changed, nothing is said twice."""

import re
from email.utils import parsedate_to_datetime

import pytest

from proxy_app.responses import BufferedResponse
from tests.doubles import toy_upstreams as toys
from tests.doubles.raw_client import Answer, request
from tests.doubles.running_proxy import READ, RunningProxy
from tests.doubles.toy_upstreams import OK, with_length

from .conftest import StartProxy, StartToy

both_upstreams = pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])


def read(proxy: RunningProxy, *headers: str, version: bytes = b"1.1") -> bytes:
    asked = request("GET", READ, *headers, token=proxy.tokens.viewer)
    return asked.replace(b"HTTP/1.1", b"HTTP/" + version, 1)


def passed(answer: Answer) -> list[tuple[str, str]]:
    """Its headers but for the proxy's own, each of which is there once."""
    own = ["date", "server", "x-request-id", "content-length"]
    for name in own:
        assert len(answer.all(name)) == 1, (name, answer.headers)
    return [(name, value) for name, value in answer.headers if name not in own]


@both_upstreams
async def test_an_upstreams_headers_pass_byte_for_byte(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool
) -> None:
    kept = [b"content-TYPE: text/plain", b"X-Latin: caf\xe9", "X-Utf: é".encode(), b"X-Two: 1", b"x-two: 2", b"X-No: "]
    toy = await start_toy(toys.answering(with_length(b"body", *kept)))
    proxy = await start_proxy(toy.origin, signed=signed)
    async with proxy.caller() as caller:
        await caller.send(read(proxy))
        head = await caller.reader.readuntil(b"\r\n\r\n")
        assert await caller.reader.readexactly(4) == b"body"
    line, *lines = head.split(b"\r\n")[:-2]
    assert line == b"HTTP/1.1 200 OK"
    assert lines[: len(kept)] == kept
    assert len(lines) == len(kept) + 4


@both_upstreams
async def test_what_the_proxy_says_itself_is_said_once(
    start_toy: StartToy, start_proxy: StartProxy, signed: bool
) -> None:
    theirs = [b"Date: then", b"Server: theirs", b"X-Request-Id: theirs", b"Connection: X-A", b"X-A: 1", b"X-B: 2"]
    toy = await start_toy(toys.answering(with_length(b"{}", *theirs, b"Content-Type: application/json")))
    proxy = await start_proxy(toy.origin, signed=signed)
    answer = await proxy.ask(read(proxy, "X-Request-Id: the-callers-own"))
    assert passed(answer) == [("x-b", "2"), ("content-type", "application/json")]
    assert parsedate_to_datetime(answer.header("date") or "")
    assert (answer.header("server"), answer.header("x-request-id")) == ("mlflow-proxy", "the-callers-own")


async def test_the_status_line_passes_and_an_empty_body_has_its_length(
    start_toy: StartToy, start_proxy: StartProxy
) -> None:
    toy = await start_toy(toys.answering(with_length(b"", status=b"418 I'm a Teapot"), OK))
    proxy = await start_proxy(toy.origin)
    async with proxy.caller() as caller:
        await caller.send(read(proxy))
        head = await caller.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 418 I'm a Teapot\r\n")
        assert re.findall(rb"(?i)content-[^\r]*|transfer-[^\r]*", head) == [b"Content-Length: 0"]
        # Nothing of it is left for the next answer.
        assert (await caller.ask(read(proxy))).body == b"{}"
    assert [line["bytes_out"] for line in proxy.lines] == [0, 2]


@pytest.mark.parametrize("told", [True, False], ids=["length", "chunks"])
async def test_a_body_of_no_type_is_none_that_a_browser_guesses(
    start_toy: StartToy, start_proxy: StartProxy, told: bool
) -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n<script>\r\n0\r\n\r\n"
    toy = await start_toy(toys.answering(with_length(b"<script>") if told else chunks))
    proxy = await start_proxy(toy.origin)
    answer = await proxy.ask(read(proxy))
    assert answer.body == b"<script>"
    assert passed(answer) == [("content-type", "application/octet-stream")]


@pytest.mark.parametrize("broken", [b"1\r\nSet-Cookie: a=b", b"1\nX-B: 2", b"1\r2", b"1\x002"])
def test_a_header_cannot_be_two(broken: bytes) -> None:
    """The upstream's parser lets none of these through; this holds should one ever do."""
    with pytest.raises(ValueError, match="line break"):
        BufferedResponse(200, "OK", [(b"X-A", broken)], b"{}")


@pytest.mark.parametrize(
    ("version", "asks", "says", "stays"),
    [
        (b"1.1", [], None, True),
        (b"1.1", ["Connection: keep-alive"], None, True),
        (b"1.1", ["Connection: close"], "close", False),
        (b"1.0", [], None, False),
        (b"1.0", ["Connection: keep-alive"], "keep-alive", True),
        (b"1.0", ["Connection: close"], None, False),
    ],
)
async def test_a_connection_stays_open_for_those_who_want_it(
    start_toy: StartToy, start_proxy: StartProxy, version: bytes, asks: list[str], says: str | None, stays: bool
) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin)
    async with proxy.caller() as caller:
        await caller.send(read(proxy, *asks, version=version))
        head = await caller.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/" + version + b" 200 OK\r\n")
        said = re.findall(r"(?i)\r\nconnection: (\S+)", head.decode())
        assert said == ([says] if says else [])
        assert await caller.reader.readexactly(2) == b"{}"
        if stays:
            assert (await caller.ask(read(proxy, *asks, version=version))).body == b"{}"
        else:
            assert await caller.closed() == b""


@pytest.mark.parametrize(("version", "says"), [(b"1.1", ["close"]), (b"1.0", [])])
async def test_a_proxy_that_is_to_stop_ends_the_connection(
    start_toy: StartToy, start_proxy: StartProxy, version: bytes, says: list[str]
) -> None:
    toy = await start_toy(toys.answering(OK))
    proxy = await start_proxy(toy.origin)
    proxy.server.drain()
    async with proxy.caller() as caller:
        answer = await caller.ask(read(proxy, "Connection: keep-alive", version=version))
        assert (answer.body, answer.all("connection")) == (b"{}", says)
        assert await caller.closed() == b""
