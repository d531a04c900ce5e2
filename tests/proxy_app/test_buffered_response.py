"""Buffered responses: headers are forwarded unchanged, and each of the proxy's own headers is sent once."""

import re
from email.utils import parsedate_to_datetime

import pytest

from proxy_app.responses import BufferedResponse
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, response_with_length
from tests.doubles.raw_client import RawResponse, request
from tests.doubles.running_proxy import READ, RunningProxy

from .conftest import StartProxy, StartUpstream

both_upstreams = pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])


def read(proxy: RunningProxy, *headers: str, version: bytes = b"1.1") -> bytes:
    received = request("GET", READ, *headers, token=proxy.tokens.viewer)
    return received.replace(b"HTTP/1.1", b"HTTP/" + version, 1)


def forwarded_headers(response: RawResponse) -> list[tuple[str, str]]:
    """The headers without the proxy's own, each of which is sent exactly once."""
    own = ["date", "server", "x-request-id", "content-length"]
    for name in own:
        assert len(response.all(name)) == 1, (name, response.headers)
    return [(name, value) for name, value in response.headers if name not in own]


@both_upstreams
async def test_headers_of_the_upstream_are_forwarded_byte_for_byte(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    headers = [
        b"content-TYPE: text/plain",
        b"X-Latin: caf\xe9",
        "X-Utf: é".encode(),
        b"X-Two: 1",
        b"x-two: 2",
        b"X-No: ",
    ]
    fake_upstream = await start_upstream(fake_upstreams.respond_with(response_with_length(b"body", *headers)))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect() as client:
        await client.send(read(proxy))
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert await client.reader.readexactly(4) == b"body"
    line, *lines = head.split(b"\r\n")[:-2]
    assert line == b"HTTP/1.1 200 OK"
    assert lines[: len(headers)] == headers
    assert len(lines) == len(headers) + 4


@both_upstreams
async def test_own_headers_replace_those_of_the_upstream(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    replaced = [b"Date: then", b"Server: upstream", b"X-Request-Id: upstream", b"Connection: X-A", b"X-A: 1", b"X-B: 2"]
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(response_with_length(b"{}", *replaced, b"Content-Type: application/json"))
    )
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    response = await proxy.send(read(proxy, "X-Request-Id: client-request-id"))
    assert forwarded_headers(response) == [("x-b", "2"), ("content-type", "application/json")]
    assert parsedate_to_datetime(response.header("date") or "")
    assert (response.header("server"), response.header("x-request-id")) == ("mlflow-proxy", "client-request-id")


async def test_reason_phrase_is_forwarded_and_an_empty_body_has_a_length(
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
        # The connection is usable for the next response.
        assert (await client.round_trip(read(proxy))).body == b"{}"
    assert [line["bytes_out"] for line in proxy.lines] == [0, 2]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_missing_content_type_becomes_octet_stream(
    start_upstream: StartUpstream, start_proxy: StartProxy, chunked: bool
) -> None:
    in_chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n<script>\r\n0\r\n\r\n"
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(in_chunks if chunked else response_with_length(b"<script>"))
    )
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(read(proxy))
    assert response.body == b"<script>"
    assert forwarded_headers(response) == [("content-type", "application/octet-stream")]


@pytest.mark.parametrize("value", [b"1\r\nSet-Cookie: a=b", b"1\nX-B: 2", b"1\r2", b"1\x002"])
def test_header_value_with_a_line_break_is_rejected(value: bytes) -> None:
    """A second line of defense: the parser of the upstream's responses rejects these too."""
    with pytest.raises(ValueError, match="line break"):
        BufferedResponse(200, "OK", [(b"X-A", value)], b"{}")


@pytest.mark.parametrize(
    ("version", "sent", "received", "reused"),
    [
        (b"1.1", [], None, True),
        (b"1.1", ["Connection: keep-alive"], None, True),
        (b"1.1", ["Connection: close"], "close", False),
        (b"1.0", [], None, False),
        (b"1.0", ["Connection: keep-alive"], "keep-alive", True),
        (b"1.0", ["Connection: close"], None, False),
    ],
)
async def test_connection_is_kept_open_as_the_client_requests(
    start_upstream: StartUpstream,
    start_proxy: StartProxy,
    version: bytes,
    sent: list[str],
    received: str | None,
    reused: bool,
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(read(proxy, *sent, version=version))
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/" + version + b" 200 OK\r\n")
        values = re.findall(r"(?i)\r\nconnection: (\S+)", head.decode())
        assert values == ([received] if received else [])
        assert await client.reader.readexactly(2) == b"{}"
        if reused:
            assert (await client.round_trip(read(proxy, *sent, version=version))).body == b"{}"
        else:
            assert await client.closed() == b""


@pytest.mark.parametrize(("version", "connection"), [(b"1.1", ["close"]), (b"1.0", [])])
async def test_draining_proxy_closes_the_connection(
    start_upstream: StartUpstream, start_proxy: StartProxy, version: bytes, connection: list[str]
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    proxy.server.drain()
    async with proxy.connect() as client:
        response = await client.round_trip(read(proxy, "Connection: keep-alive", version=version))
        assert (response.body, response.all("connection")) == (b"{}", connection)
        assert await client.closed() == b""
