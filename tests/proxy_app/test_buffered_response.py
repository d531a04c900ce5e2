"""Answers that have come as a whole go down in one piece: nothing of them is changed, nothing is said twice."""

import re
from email.utils import parsedate_to_datetime

import pytest

from proxy_app.responses import BufferedResponse
from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import OK, response_with_length
from tests.doubles.raw_client import RawResponse, request
from tests.doubles.running_proxy import READ, RunningProxy

from .conftest import StartProxy, StartUpstream

both_upstreams = pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])


def read(proxy: RunningProxy, *headers: str, version: bytes = b"1.1") -> bytes:
    received = request("GET", READ, *headers, token=proxy.tokens.viewer)
    return received.replace(b"HTTP/1.1", b"HTTP/" + version, 1)


def passed(response: RawResponse) -> list[tuple[str, str]]:
    """Its headers but for the proxy's own, each of which is there once."""
    own = ["date", "server", "x-request-id", "content-length"]
    for name in own:
        assert len(response.all(name)) == 1, (name, response.headers)
    return [(name, value) for name, value in response.headers if name not in own]


@both_upstreams
async def test_an_upstreams_headers_pass_byte_for_byte(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    kept = [b"content-TYPE: text/plain", b"X-Latin: caf\xe9", "X-Utf: é".encode(), b"X-Two: 1", b"x-two: 2", b"X-No: "]
    fake_upstream = await start_upstream(fake_upstreams.respond_with(response_with_length(b"body", *kept)))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect() as client:
        await client.send(read(proxy))
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert await client.reader.readexactly(4) == b"body"
    line, *lines = head.split(b"\r\n")[:-2]
    assert line == b"HTTP/1.1 200 OK"
    assert lines[: len(kept)] == kept
    assert len(lines) == len(kept) + 4


@both_upstreams
async def test_what_the_proxy_says_itself_is_said_once(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    theirs = [b"Date: then", b"Server: theirs", b"X-Request-Id: theirs", b"Connection: X-A", b"X-A: 1", b"X-B: 2"]
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(response_with_length(b"{}", *theirs, b"Content-Type: application/json"))
    )
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    response = await proxy.send(read(proxy, "X-Request-Id: the-callers-own"))
    assert passed(response) == [("x-b", "2"), ("content-type", "application/json")]
    assert parsedate_to_datetime(response.header("date") or "")
    assert (response.header("server"), response.header("x-request-id")) == ("mlflow-proxy", "the-callers-own")


async def test_the_status_line_passes_and_an_empty_body_has_its_length(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(response_with_length(b"", status=b"418 I'm a Teapot"), OK)
    )
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(read(proxy))
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 418 I'm a Teapot\r\n")
        assert re.findall(rb"(?i)content-[^\r]*|transfer-[^\r]*", head) == [b"Content-Length: 0"]
        # Nothing of it is left for the next answer.
        assert (await client.round_trip(read(proxy))).body == b"{}"
    assert [line["bytes_out"] for line in proxy.lines] == [0, 2]


@pytest.mark.parametrize("values", [True, False], ids=["length", "chunks"])
async def test_a_body_of_no_type_is_none_that_a_browser_guesses(
    start_upstream: StartUpstream, start_proxy: StartProxy, values: bool
) -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n<script>\r\n0\r\n\r\n"
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(response_with_length(b"<script>") if values else chunks)
    )
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(read(proxy))
    assert response.body == b"<script>"
    assert passed(response) == [("content-type", "application/octet-stream")]


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
    start_upstream: StartUpstream,
    start_proxy: StartProxy,
    version: bytes,
    asks: list[str],
    says: str | None,
    stays: bool,
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(read(proxy, *asks, version=version))
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/" + version + b" 200 OK\r\n")
        said = re.findall(r"(?i)\r\nconnection: (\S+)", head.decode())
        assert said == ([says] if says else [])
        assert await client.reader.readexactly(2) == b"{}"
        if stays:
            assert (await client.round_trip(read(proxy, *asks, version=version))).body == b"{}"
        else:
            assert await client.closed() == b""


@pytest.mark.parametrize(("version", "says"), [(b"1.1", ["close"]), (b"1.0", [])])
async def test_a_proxy_that_is_to_stop_ends_the_connection(
    start_upstream: StartUpstream, start_proxy: StartProxy, version: bytes, says: list[str]
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    proxy.server.drain()
    async with proxy.connect() as client:
        response = await client.round_trip(read(proxy, "Connection: keep-alive", version=version))
        assert (response.body, response.all("connection")) == (b"{}", says)
        assert await client.closed() == b""
