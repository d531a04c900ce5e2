"""JsonRewriter with large bodies, unchanged bodies, and responses that end early. test_extension_points.py has more."""

import json
import threading

import pytest

from proxy_app.app import Extensions
from proxy_app.context import RequestContext
from proxy_app.request_body import BodyReader
from proxy_app.rewriting import JsonRewriter
from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import UpstreamConnection, response_with_length
from tests.doubles.raw_client import chunked_body, request
from tests.doubles.running_proxy import IDEMPOTENT_WRITE, READ

from .conftest import StartProxy, StartUpstream

JSON = "Content-Type: application/json"
LARGE = json.dumps({"tag": "x" * 300_000}).encode()


class UpperCase:
    """Converts bodies to upper case; the threads in which it runs are recorded."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def transforms_request(self, context: RequestContext) -> bool:
        return context.method == "POST"

    def transforms_response(self, context: RequestContext) -> bool:
        return context.method == "GET"

    def request(self, context: RequestContext, body: bytes) -> bytes:
        return self._upper(body)

    def response(self, context: RequestContext, body: bytes) -> bytes:
        return self._upper(body)

    def _upper(self, body: bytes) -> bytes:
        self.threads.append(threading.current_thread())
        return body if body.isupper() else body.upper()


def extensions(transform: UpperCase) -> Extensions:
    def rewriter(reader: BodyReader) -> JsonRewriter:
        return JsonRewriter(transform, reader)

    return Extensions(rewriter=rewriter)


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
@pytest.mark.parametrize("body", [b'{"a": 1}', LARGE, b'{"A": 1}'], ids=["small", "large", "unchanged"])
async def test_request_body_is_replaced_whatever_its_size(
    start_upstream: StartUpstream, start_proxy: StartProxy, body: bytes, signed: bool
) -> None:
    fake = await start_upstream(fake_upstreams.respond_with(fake_upstreams.OK))
    transform = UpperCase()
    proxy = await start_proxy(fake.origin, signed=signed, extensions=extensions(transform))
    answer = await proxy.send(request("POST", IDEMPOTENT_WRITE, JSON, body=body, token=proxy.tokens.editor))
    assert answer.status == 200
    [received] = fake.requests
    assert (received.body, received.header("content-length")) == (body.upper(), str(len(body)))
    [thread] = transform.threads
    assert (thread is threading.main_thread()) == (len(body) <= 32 * 1024)
    assert proxy.budget_free == proxy.settings.body_budget


async def test_chunked_request_body_gets_a_length(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake = await start_upstream(fake_upstreams.respond_with(fake_upstreams.OK))
    proxy = await start_proxy(fake.origin, extensions=extensions(UpperCase()))
    head = request("POST", IDEMPOTENT_WRITE, JSON, "Transfer-Encoding: chunked", token=proxy.tokens.editor)
    assert (await proxy.send(head + chunked_body(b'{"a', b'": 1}', b""))).status == 200
    assert (fake.requests[0].body, fake.requests[0].header("transfer-encoding")) == (b'{"A": 1}', None)


async def test_replaced_request_body_above_the_limit_is_rejected(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    class Doubling(UpperCase):
        def request(self, context: RequestContext, body: bytes) -> bytes:
            return body + body

    fake = await start_upstream(fake_upstreams.respond_with(fake_upstreams.OK))
    proxy = await start_proxy(fake.origin, extensions=extensions(Doubling()), body_limit=10, body_budget=100)
    answer = await proxy.send(request("POST", IDEMPOTENT_WRITE, JSON, body=b'{"a": 1}', token=proxy.tokens.editor))
    assert (answer.status, proxy.lines[-1]["error"]) == (413, "body-too-large")
    assert fake.requests == []
    assert proxy.budget_free == 100


@pytest.mark.parametrize("body", [b'{"a": 1}', LARGE, b'{"A": 1}'], ids=["small", "large", "unchanged"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_response_body_is_replaced_whatever_its_size(
    start_upstream: StartUpstream, start_proxy: StartProxy, body: bytes, chunked: bool
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    response = head + chunked_body(body, b"") if chunked else response_with_length(body, JSON.encode())
    fake = await start_upstream(fake_upstreams.respond_with(response))
    proxy = await start_proxy(fake.origin, extensions=extensions(UpperCase()))
    answer = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
    assert (answer.status, answer.body, answer.header("content-length")) == (200, body.upper(), str(len(body)))
    assert proxy.budget_free == proxy.settings.body_budget


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            + chunked_body(b" " * 2_000, b""),
            "response-too-large",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{}",
            "upstream-read-error",
        ),
    ],
    ids=["chunks above the limit", "truncated"],
)
async def test_response_that_cannot_be_read_is_a_502(
    start_upstream: StartUpstream, start_proxy: StartProxy, response: bytes, error: str
) -> None:
    async def respond_and_close(connection: UpstreamConnection) -> None:
        await connection.read_request()
        await connection.send(response)

    fake = await start_upstream(respond_and_close)
    proxy = await start_proxy(fake.origin, extensions=extensions(UpperCase()), body_limit=1_000, body_budget=1_000)
    answer = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
    assert (answer.status, proxy.lines[-1]["error"]) == (502, error)
    assert proxy.budget_free == 1_000


async def test_head_response_is_forwarded_without_its_body(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    transform = UpperCase()
    fake = await start_upstream(
        fake_upstreams.respond_with(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n")
    )
    proxy = await start_proxy(fake.origin, extensions=extensions(transform))
    async with proxy.connect() as client:
        await client.send(request("HEAD", READ, "Connection: close", token=proxy.tokens.viewer))
        received = await client.closed()
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n\r\n")
    assert b"Content-Length: 8\r\n" in received
    assert transform.threads == []
