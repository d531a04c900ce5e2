"""What a caller is told when there is no answer, and what a stock client makes of it."""

import asyncio
import contextlib
import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from proxy_app import errors
from proxy_app.upstream import aws_error
from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import OK, FakeUpstream, response_with_length
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import (
    ARTIFACT,
    IDEMPOTENT_WRITE,
    NON_IDEMPOTENT_WRITE,
    READ,
    SEARCH,
    RunningProxy,
    wait_until,
)
from tests.doubles.stock_client import StockClient

from .conftest import StartProxy, StartUpstream

RUN_INFO = {"run_id": "1", "experiment_id": "0", "status": "RUNNING", "artifact_uri": "s3://a"}
RUN = response_with_length(json.dumps({"run": {"info": RUN_INFO, "data": {}}}).encode())


@pytest.fixture
async def fake_upstream(start_upstream: StartUpstream) -> FakeUpstream:
    return await start_upstream(fake_upstreams.respond_with(OK))


# --- Too much


async def test_one_request_too_many_is_told_when_to_come_back(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    go_on = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(go_on))
    proxy = await start_proxy(fake_upstream.origin, max_requests=2)
    async with proxy.connect() as first, proxy.connect() as second:
        for caller in (first, second):
            await caller.send(request("GET", READ, token=proxy.tokens.viewer))
        await wait_until(lambda: len(fake_upstream.requests) == 2)
        response = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
        assert response.error == (429, "REQUEST_LIMIT_EXCEEDED")
        assert response.header("retry-after") == "1"
        # Whoever watches the proxy is answered all the same.
        assert (await proxy.send(request("GET", "/healthz"))).status == 200
        go_on.set()
        assert [(await caller.read_response()).status for caller in (first, second)] == [200, 200]
    assert (await proxy.send(request("GET", READ, token=proxy.tokens.viewer))).status == 200


async def test_one_connection_too_many_is_closed_with_a_word(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin, max_connections=3)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(proxy.connect()) for _ in range(3)]
        for caller in clients:
            assert (await caller.round_trip(request("GET", "/healthz"))).status == 200
        async with proxy.connect() as fourth:
            response = await fourth.read_response()
            assert (response.status, response.header("retry-after"), response.header("connection")) == (
                503,
                "1",
                "close",
            )
            assert response.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
            assert "MLFLOW_PROXY_MAX_CONNECTIONS" in response.message
            assert proxy.metric("mlflow_proxy_errors_total", error="too-many-connections") == 1
            assert await fourth.closed() == b""
        # The others notice nothing, and a place that becomes free is given again.
        assert (await clients[0].round_trip(request("GET", READ, token=proxy.tokens.viewer))).status == 200
    await wait_until(lambda: proxy.metric("mlflow_proxy_connections") == 0)
    assert (await proxy.send(request("GET", "/healthz"))).status == 200


async def test_a_rush_of_connections_does_not_get_past_the_limit(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin, max_connections=5)

    async def one() -> int:
        async with proxy.connect() as caller:
            with contextlib.suppress(ConnectionError):
                await caller.send(request("GET", "/healthz"))
            status = (await caller.read_response()).status
            await everyone.wait()
            return status

    everyone = asyncio.Barrier(40)
    statuses = await asyncio.gather(*(one() for _ in range(40)))
    assert (statuses.count(200), statuses.count(503)) == (5, 35)


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/get-artifact?path=" + "canary" * 2000, []),
        (READ, ["X-Long: " + "canary" * 2000]),
        (READ, [f"{'X-canary' * 2000}: long"]),
    ],
)
async def test_a_line_that_is_too_long_is_refused_with_the_limit(
    fake_upstream: FakeUpstream,
    start_proxy: StartProxy,
    target: str,
    headers: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxy = await start_proxy(fake_upstream.origin, header_limit=10_000)
    async with proxy.connect() as caller:
        response = await caller.round_trip(request("GET", target, *headers, token=proxy.tokens.viewer))
        assert response.error == (400, "INVALID_PARAMETER_VALUE")
        assert "longer than 10000 bytes (MLFLOW_PROXY_HEADER_LIMIT_BYTES)" in response.message
        assert await caller.closed() == b""
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (400, "header-too-long")
    assert "canary" not in response.message + caplog.text + "".join(proxy.written)
    assert fake_upstream.connections == 0


@pytest.mark.parametrize("first", [b"", request("GET", "/healthz")], ids=["first", "later"])
async def test_a_head_without_end_is_refused_before_it_fills_the_memory(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, first: bytes
) -> None:
    proxy = await start_proxy(fake_upstream.origin, header_limit=10_000)
    async with proxy.connect() as caller:
        if first:
            assert (await caller.round_trip(first)).status == 200
        await caller.send(b"GET / HTTP/1.1\r\nHost: g\r\n")
        line = b"X-canary: " + b"a" * 5_000 + b"\r\n"
        # None of them is too long, and twice the limit is reached with the last.
        for _ in range(4):
            await caller.send(line)
            await asyncio.sleep(0.01)
        response = await caller.read_response()
        assert response.error == (400, "INVALID_PARAMETER_VALUE")
        assert "MLFLOW_PROXY_HEADER_LIMIT_BYTES" in response.message
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (400, "header-too-long")
    assert fake_upstream.connections == 0


async def test_bodies_do_not_count_as_heads(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake_upstream = await start_upstream(fake_upstreams.count_body())
    proxy = await start_proxy(fake_upstream.origin, header_limit=10_000)
    body = b"x" * 300_000
    async with proxy.connect() as caller:
        for _ in range(3):
            received = request("PUT", ARTIFACT, f"Content-Length: {len(body)}", token=proxy.tokens.editor)
            assert (await caller.round_trip(received + body)).status == 200
            # What was refused is read to its end, however long it is.
            refused = request("PUT", ARTIFACT, f"Content-Length: {len(body)}", token=proxy.tokens.viewer)
            assert (await caller.round_trip(refused + body)).status == 403


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
async def test_a_name_that_is_no_text_is_no_fault_of_the_proxy(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, accept: str
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    page = request("GET", "/", f"Accept: {accept}", token=proxy.tokens.viewer)
    assert (await proxy.send(page.replace(b"Host: ", b"Host: \xff"))).status == 200
    foreign = request(
        "POST", SEARCH, f"Accept: {accept}", "Origin: http://canary", body=b"{}", token=proxy.tokens.viewer
    )
    assert (await proxy.send(foreign.replace(b"canary", b"\xff"))).status == 403


async def test_lines_up_to_the_limit_reach_the_upstream(fake_upstream: FakeUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    query = "&".join(f"run_ids={number:032x}" for number in range(1500))
    target = f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?{query}"
    assert 60_000 < len(target) < proxy.settings.header_limit
    data = request("GET", target, "X-Long: " + "x" * 60_000, token=proxy.tokens.viewer)
    assert (await proxy.send(data)).status == 200
    assert fake_upstream.requests[0].line == f"GET {target} HTTP/1.1"
    assert fake_upstream.requests[0].header("x-long") == "x" * 60_000


async def test_too_many_headers_are_refused(fake_upstream: FakeUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request("GET", READ, *[f"X-{number}: 1" for number in range(500)]))
    assert response.error == (400, "INVALID_PARAMETER_VALUE")
    assert "too many headers" in response.message


async def test_a_head_that_never_ends_is_not_waited_for(fake_upstream: FakeUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(fake_upstream.origin, keepalive=0.2)
    async with proxy.connect() as caller, asyncio.timeout(3):
        await caller.send(b"GET / HTTP/1.1\r\nHost:")
        assert await caller.closed() == b""


async def test_an_idle_connection_is_closed_after_its_time(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin, keepalive=0.2)
    async with proxy.connect() as caller, asyncio.timeout(3):
        assert (await caller.round_trip(request("GET", READ, token=proxy.tokens.viewer))).status == 200
        assert await caller.closed() == b""


# --- No answer


@pytest.mark.parametrize(
    ("behaviour", "target", "error", "says"),
    [
        (fake_upstreams.break_connection(), READ, (502, "TEMPORARILY_UNAVAILABLE"), "was lost before the response"),
        (fake_upstreams.break_connection(), NON_IDEMPOTENT_WRITE, (409, "ABORTED"), "check before you send it again"),
        (fake_upstreams.stall(), READ, (504, "DEADLINE_EXCEEDED"), "did not respond within 0.3 seconds"),
        (fake_upstreams.stall(), NON_IDEMPOTENT_WRITE, (409, "ABORTED"), "check before you send it again"),
    ],
    ids=["broken read", "broken write", "unanswered read", "unanswered write"],
)
@pytest.mark.parametrize("signed", [False, True])
async def test_a_lost_answer_is_told_by_whether_the_request_may_go_again(
    start_upstream: StartUpstream,
    start_proxy: StartProxy,
    behaviour: fake_upstreams.Behaviour,
    target: str,
    error: tuple[int, str],
    says: str,
    signed: bool,
) -> None:
    fake_upstream = await start_upstream(behaviour)
    proxy = await start_proxy(fake_upstream.origin, signed=signed, upstream_timeout=0.3)
    method = "GET" if target == READ else "POST"
    response = await proxy.send(request(method, target, body=b"{}", token=proxy.tokens.admin))
    assert response.error == error
    assert says in response.message


async def test_a_fault_is_told_without_its_insides(
    fake_upstream: FakeUpstream,
    start_proxy: StartProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("inside")

    proxy = await start_proxy(fake_upstream.origin)
    monkeypatch.setattr("proxy_app.proxy.check_role", broken)
    response = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
    assert response.error == (500, "INTERNAL_ERROR")
    assert "inside" not in response.message
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (500, "internal-error")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert proxy.lines[-1]["request_id"] in record.getMessage()


# --- What a stock client shows


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Generator[StockClient]:
    with StockClient.running(tmp_path_factory.mktemp("home")) as running:
        yield running


def url(proxy: RunningProxy) -> str:
    return f"http://{proxy.address}"


def test_every_error_code_is_one_of_mlflows(client: StockClient) -> None:
    sources = "".join(Path(module.__file__ or "").read_text() for module in (errors, aws_error))
    codes = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+|UNAUTHENTICATED|ABORTED)"', sources))
    assert len(codes) > 10
    assert codes <= client.error_codes()


@pytest.mark.parametrize(
    ("role", "call", "arguments", "code", "says"),
    [
        ("nobody", "get_run", ["1"], "UNAUTHENTICATED", "The Authorization header holds no token of this proxy"),
        ("viewer", "set_tag", ["1", "key", "value"], "PERMISSION_DENIED", "this request requires editor"),
        ("editor", "delete_run", ["1"], "PERMISSION_DENIED", "this request requires admin"),
        ("admin", "http", ["/api/2.0/mlflow/no-such", "GET", None], "ENDPOINT_NOT_FOUND", "add it to the proxy"),
        (
            "admin",
            "http",
            [IDEMPOTENT_WRITE, "POST", {"v": "x" * 2_000_000}],
            "INVALID_PARAMETER_VALUE",
            "Log in smaller",
        ),
    ],
)
async def test_a_stock_client_shows_the_sentence_and_asks_no_second_time(
    fake_upstream: FakeUpstream,
    start_proxy: StartProxy,
    client: StockClient,
    role: str,
    call: str,
    arguments: list[Any],
    code: str,
    says: str,
) -> None:
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=1 << 20)
    shown = await client.call(url(proxy), getattr(proxy.tokens, role, "nonsense"), call, *arguments)
    assert (shown.error, shown.code) == ("RestException", code)
    assert says in shown.text
    assert (len(proxy.lines), fake_upstream.connections) == (1, 0)


async def test_a_stock_client_shows_mlflows_own_errors_as_they_are(
    start_upstream: StartUpstream, start_proxy: StartProxy, client: StockClient
) -> None:
    error = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run with id=1 not found"}
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(response_with_length(json.dumps(error).encode(), status=b"404 Not Found"))
    )
    for signed in (False, True):
        proxy = await start_proxy(fake_upstream.origin, signed=signed)
        shown = await client.call(url(proxy), proxy.tokens.viewer, "get_run", "1")
        assert (shown.code, shown.text) == (error["error_code"], f"{error['error_code']}: {error['message']}")


async def test_a_stock_client_never_repeats_a_write_that_may_have_been_done(
    start_upstream: StartUpstream, start_proxy: StartProxy, client: StockClient
) -> None:
    for behaviour in (fake_upstreams.break_connection(), fake_upstreams.stall()):
        fake_upstream = await start_upstream(behaviour)
        for signed in (False, True):
            proxy = await start_proxy(fake_upstream.origin, signed=signed, upstream_timeout=0.3)
            fake_upstream.requests.clear()
            shown = await client.call(url(proxy), proxy.tokens.editor, "create_run", "0")
            assert (shown.error, shown.code) == ("RestException", "ABORTED")
            assert "may have been carried out" in shown.text
            assert (len(fake_upstream.requests), len(proxy.lines)) == (1, 1)


async def test_a_stock_client_gets_over_a_short_break(
    start_upstream: StartUpstream, start_proxy: StartProxy, client: StockClient
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection(times=3, then=RUN))
    proxy = await start_proxy(fake_upstream.origin)
    # Three attempts are the proxy's, and then the client's own second one gets through.
    assert (await client.call(url(proxy), proxy.tokens.viewer, "get_run", "1")).error == ""
    assert [(line["status"], line["attempts"]) for line in proxy.lines] == [(502, 3), (200, 1)]


async def test_a_stock_client_waits_as_long_as_a_full_proxy_tells_it(
    start_upstream: StartUpstream, start_proxy: StartProxy, client: StockClient
) -> None:
    go_on = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(go_on, RUN))
    proxy = await start_proxy(fake_upstream.origin, max_requests=1)
    async with proxy.connect() as caller:
        await caller.send(request("GET", READ, token=proxy.tokens.viewer))
        await wait_until(lambda: proxy.in_flight == 1)
        received = asyncio.create_task(client.call(url(proxy), proxy.tokens.viewer, "get_run", "1"))
        await wait_until(lambda: any(line["status"] == 429 for line in proxy.lines), 10)
        go_on.set()
        assert (await received).error == ""
    assert sorted(line["status"] for line in proxy.lines) == [200, 200, 429]


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
@pytest.mark.parametrize(("path", "status"), [(SEARCH, 200), (IDEMPOTENT_WRITE, 200), (NON_IDEMPOTENT_WRITE, 409)])
async def test_a_short_body_is_sent_again_where_that_does_no_harm(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool, path: str, status: int
) -> None:
    # As when the upstream ends an idle connection just then.
    fake_upstream = await start_upstream(fake_upstreams.break_connection(times=1))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    response = await proxy.send(request("POST", path, body=b'{"a": 1}', token=proxy.tokens.editor))
    assert response.status == status
    assert [received.body for received in fake_upstream.requests] == [b'{"a": 1}'] * (2 if status == 200 else 1)
