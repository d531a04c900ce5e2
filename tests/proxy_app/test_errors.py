"""Errors of the proxy itself: limits, lost responses, internal errors, and how a stock MLflow client shows them."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from proxy_app import errors
from proxy_app.upstream import aws_error
from tests.doubles import fake_upstreams
from tests.doubles.client_process import ClientProcess
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

from .conftest import StartProxy, StartUpstream

RUN_INFO = {"run_id": "1", "experiment_id": "0", "status": "RUNNING", "artifact_uri": "s3://a"}
RUN = response_with_length(json.dumps({"run": {"info": RUN_INFO, "data": {}}}).encode())


@pytest.fixture
async def fake_upstream(start_upstream: StartUpstream) -> FakeUpstream:
    return await start_upstream(fake_upstreams.respond_with(OK))


# --- Limits


async def test_request_above_the_limit_returns_429_with_retry_after(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    respond = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(respond))
    proxy = await start_proxy(fake_upstream.origin, max_requests=2, queue_seconds=0.0)
    async with proxy.connect() as first, proxy.connect() as second:
        for client in (first, second):
            await client.send(request("GET", READ, token=proxy.tokens.viewer))
        await wait_until(lambda: len(fake_upstream.requests) == 2)
        response = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
        assert response.error == (429, "REQUEST_LIMIT_EXCEEDED")
        assert response.header("retry-after") in {"1", "2"}
        # Health checks are not limited.
        assert (await proxy.send(request("GET", "/healthz"))).status == 200
        respond.set()
        assert [(await client.read_response()).status for client in (first, second)] == [200, 200]
    assert (await proxy.send(request("GET", READ, token=proxy.tokens.viewer))).status == 200


async def test_connection_above_the_limit_gets_503_and_is_closed(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin, max_connections=3)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(proxy.connect()) for _ in range(3)]
        for client in clients:
            assert (await client.round_trip(request("GET", "/healthz"))).status == 200
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
        # Other connections are not affected, and the limit counts open connections only.
        assert (await clients[0].round_trip(request("GET", READ, token=proxy.tokens.viewer))).status == 200
    await wait_until(lambda: proxy.metric("mlflow_proxy_connections") == 0)
    assert (await proxy.send(request("GET", "/healthz"))).status == 200


async def test_concurrent_connections_do_not_exceed_the_limit(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin, max_connections=5)

    async def connect() -> int:
        async with proxy.connect() as client:
            with contextlib.suppress(ConnectionError):
                await client.send(request("GET", "/healthz"))
            status = (await client.read_response()).status
            await all_answered.wait()
            return status

    all_answered = asyncio.Barrier(40)
    statuses = await asyncio.gather(*(connect() for _ in range(40)))
    assert (statuses.count(200), statuses.count(503)) == (5, 35)


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/get-artifact?path=" + "canary" * 2000, []),
        (READ, ["X-Long: " + "canary" * 2000]),
        (READ, [f"{'X-canary' * 2000}: long"]),
    ],
    ids=["request line", "header value", "header name"],
)
async def test_too_long_request_line_or_header_returns_400_with_the_limit(
    fake_upstream: FakeUpstream,
    start_proxy: StartProxy,
    target: str,
    headers: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxy = await start_proxy(fake_upstream.origin, header_limit=10_000)
    async with proxy.connect() as client:
        response = await client.round_trip(request("GET", target, *headers, token=proxy.tokens.viewer))
        assert response.error == (400, "INVALID_PARAMETER_VALUE")
        assert "longer than 10000 bytes (MLFLOW_PROXY_HEADER_LIMIT_BYTES)" in response.message
        assert await client.closed() == b""
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (400, "header-too-long")
    assert "canary" not in response.message + caplog.text + "".join(proxy.written)
    assert fake_upstream.connections == 0


@pytest.mark.parametrize("earlier", [b"", request("GET", "/healthz")], ids=["first request", "later request"])
async def test_endless_request_head_is_rejected_at_twice_the_limit(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, earlier: bytes
) -> None:
    proxy = await start_proxy(fake_upstream.origin, header_limit=10_000)
    async with proxy.connect() as client:
        if earlier:
            assert (await client.round_trip(earlier)).status == 200
        await client.send(b"GET / HTTP/1.1\r\nHost: g\r\n")
        line = b"X-canary: " + b"a" * 5_000 + b"\r\n"
        # Each line is below the limit; the last one reaches twice the limit.
        for _ in range(4):
            await client.send(line)
            await asyncio.sleep(0.01)
        response = await client.read_response()
        assert response.error == (400, "INVALID_PARAMETER_VALUE")
        assert "MLFLOW_PROXY_HEADER_LIMIT_BYTES" in response.message
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (400, "header-too-long")
    assert fake_upstream.connections == 0


async def test_bodies_do_not_count_towards_the_header_limit(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.count_body())
    proxy = await start_proxy(fake_upstream.origin, header_limit=10_000)
    body = b"x" * 300_000
    async with proxy.connect() as client:
        for _ in range(3):
            allowed = request("PUT", ARTIFACT, f"Content-Length: {len(body)}", token=proxy.tokens.editor)
            assert (await client.round_trip(allowed + body)).status == 200
            # The body of a rejected request is read to its end.
            forbidden = request("PUT", ARTIFACT, f"Content-Length: {len(body)}", token=proxy.tokens.viewer)
            assert (await client.round_trip(forbidden + body)).status == 403


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
async def test_host_or_origin_that_is_not_utf_8_is_not_an_internal_error(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, accept: str
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    page = request("GET", "/", f"Accept: {accept}", token=proxy.tokens.viewer)
    assert (await proxy.send(page.replace(b"Host: ", b"Host: \xff"))).status == 200
    cross_site = request(
        "POST", SEARCH, f"Accept: {accept}", "Origin: http://canary", body=b"{}", token=proxy.tokens.viewer
    )
    assert (await proxy.send(cross_site.replace(b"canary", b"\xff"))).status == 403


async def test_lines_below_the_limit_are_forwarded(fake_upstream: FakeUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    query = "&".join(f"run_ids={number:032x}" for number in range(1500))
    target = f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?{query}"
    assert 60_000 < len(target) < proxy.settings.header_limit
    data = request("GET", target, "X-Long: " + "x" * 60_000, token=proxy.tokens.viewer)
    assert (await proxy.send(data)).status == 200
    assert fake_upstream.requests[0].line == f"GET {target} HTTP/1.1"
    assert fake_upstream.requests[0].header("x-long") == "x" * 60_000


async def test_too_many_headers_return_400(fake_upstream: FakeUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request("GET", READ, *[f"X-{number}: 1" for number in range(500)]))
    assert response.error == (400, "INVALID_PARAMETER_VALUE")
    assert "too many headers" in response.message


async def test_connection_with_an_incomplete_head_is_closed(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin, keepalive=0.2)
    async with proxy.connect() as client, asyncio.timeout(3):
        await client.send(b"GET / HTTP/1.1\r\nHost:")
        assert await client.closed() == b""


async def test_idle_connection_is_closed_after_keepalive(fake_upstream: FakeUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(fake_upstream.origin, keepalive=0.2)
    async with proxy.connect() as client, asyncio.timeout(3):
        assert (await client.round_trip(request("GET", READ, token=proxy.tokens.viewer))).status == 200
        assert await client.closed() == b""


# --- No response


@pytest.mark.parametrize(
    ("behaviour", "target", "error", "text"),
    [
        (fake_upstreams.break_connection(), READ, (502, "TEMPORARILY_UNAVAILABLE"), "was lost before the response"),
        (fake_upstreams.break_connection(), NON_IDEMPOTENT_WRITE, (409, "ABORTED"), "check before you send it again"),
        (fake_upstreams.stall(), READ, (504, "DEADLINE_EXCEEDED"), "did not respond within 0.3 seconds"),
        (fake_upstreams.stall(), NON_IDEMPOTENT_WRITE, (409, "ABORTED"), "check before you send it again"),
    ],
    ids=["lost read", "lost write", "timed-out read", "timed-out write"],
)
@pytest.mark.parametrize("signed", [False, True])
async def test_lost_response_error_depends_on_idempotency(
    start_upstream: StartUpstream,
    start_proxy: StartProxy,
    behaviour: fake_upstreams.Behaviour,
    target: str,
    error: tuple[int, str],
    text: str,
    signed: bool,
) -> None:
    fake_upstream = await start_upstream(behaviour)
    proxy = await start_proxy(fake_upstream.origin, signed=signed, upstream_timeout=0.3)
    method = "GET" if target == READ else "POST"
    response = await proxy.send(request(method, target, body=b"{}", token=proxy.tokens.admin))
    assert response.error == error
    assert text in response.message


async def test_internal_error_does_not_show_the_exception(
    fake_upstream: FakeUpstream,
    start_proxy: StartProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("inside")

    proxy = await start_proxy(fake_upstream.origin)
    monkeypatch.setattr("proxy_app.proxy.check_role", fail)
    response = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
    assert response.error == (500, "INTERNAL_ERROR")
    assert "inside" not in response.message
    assert (proxy.lines[-1]["status"], proxy.lines[-1]["error"]) == (500, "internal-error")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert proxy.lines[-1]["request_id"] in record.getMessage()


# --- Stock MLflow client


@pytest.fixture(scope="module")
def stock_client(tmp_path_factory: pytest.TempPathFactory) -> Generator[ClientProcess]:
    with ClientProcess.running(tmp_path_factory.mktemp("home")) as running:
        running.error_codes()  # returns once MLflow is imported, which takes longer than the tests' time-outs
        yield running


def url(proxy: RunningProxy) -> str:
    return f"http://{proxy.address}"


def test_every_error_code_exists_in_mlflow(stock_client: ClientProcess) -> None:
    sources = "".join(Path(module.__file__ or "").read_text() for module in (errors, aws_error))
    codes = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+|UNAUTHENTICATED|ABORTED)"', sources))
    assert len(codes) > 10
    assert codes <= stock_client.error_codes()


@pytest.mark.parametrize(
    ("role", "call", "arguments", "code", "text"),
    [
        ("none", "get_run", ["1"], "UNAUTHENTICATED", "The Authorization header holds no token of this proxy"),
        ("viewer", "set_tag", ["1", "key", "value"], "PERMISSION_DENIED", "this request requires editor"),
        ("editor", "delete_run", ["1"], "PERMISSION_DENIED", "this request requires admin"),
        ("admin", "http", ["/api/2.0/mlflow/no-such", "GET", None], "ENDPOINT_NOT_FOUND", "routes of a newer MLflow"),
        (
            "admin",
            "http",
            [IDEMPOTENT_WRITE, "POST", {"v": "x" * 2_000_000}],
            "INVALID_PARAMETER_VALUE",
            "Log in smaller",
        ),
    ],
)
async def test_stock_client_shows_the_message_and_does_not_retry(
    fake_upstream: FakeUpstream,
    start_proxy: StartProxy,
    stock_client: ClientProcess,
    role: str,
    call: str,
    arguments: list[Any],
    code: str,
    text: str,
) -> None:
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=1 << 20)
    result = await stock_client.call(url(proxy), getattr(proxy.tokens, role, "nonsense"), call, *arguments)
    assert (result.error, result.code) == ("RestException", code)
    assert text in result.text
    assert (len(proxy.lines), fake_upstream.connections) == (1, 0)


async def test_stock_client_shows_errors_of_mlflow_unchanged(
    start_upstream: StartUpstream, start_proxy: StartProxy, stock_client: ClientProcess
) -> None:
    error = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run with id=1 not found"}
    fake_upstream = await start_upstream(
        fake_upstreams.respond_with(response_with_length(json.dumps(error).encode(), status=b"404 Not Found"))
    )
    for signed in (False, True):
        proxy = await start_proxy(fake_upstream.origin, signed=signed)
        result = await stock_client.call(url(proxy), proxy.tokens.viewer, "get_run", "1")
        assert (result.code, result.text) == (error["error_code"], f"{error['error_code']}: {error['message']}")


async def test_stock_client_does_not_retry_a_write_with_unknown_outcome(
    start_upstream: StartUpstream, start_proxy: StartProxy, stock_client: ClientProcess
) -> None:
    for behaviour in (fake_upstreams.break_connection(), fake_upstreams.stall()):
        fake_upstream = await start_upstream(behaviour)
        for signed in (False, True):
            proxy = await start_proxy(fake_upstream.origin, signed=signed, upstream_timeout=0.3)
            fake_upstream.requests.clear()
            result = await stock_client.call(url(proxy), proxy.tokens.editor, "create_run", "0")
            assert (result.error, result.code) == ("RestException", "ABORTED")
            assert "may have been carried out" in result.text
            assert (len(fake_upstream.requests), len(proxy.lines)) == (1, 1)


async def test_stock_client_recovers_from_a_short_outage(
    start_upstream: StartUpstream, start_proxy: StartProxy, stock_client: ClientProcess
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection(times=3, then=RUN))
    proxy = await start_proxy(fake_upstream.origin)
    # The proxy's three attempts fail; the client's second request succeeds.
    assert (await stock_client.call(url(proxy), proxy.tokens.viewer, "get_run", "1")).error == ""
    assert [(line["status"], line["attempts"]) for line in proxy.lines] == [(502, 3), (200, 1)]


async def test_stock_client_retries_a_429_after_its_retry_after(
    start_upstream: StartUpstream, start_proxy: StartProxy, stock_client: ClientProcess
) -> None:
    respond = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(respond, RUN))
    proxy = await start_proxy(fake_upstream.origin, max_requests=1, queue_seconds=0.0)
    async with proxy.connect() as client:
        await client.send(request("GET", READ, token=proxy.tokens.viewer))
        await wait_until(lambda: proxy.in_flight == 1)
        call = asyncio.create_task(stock_client.call(url(proxy), proxy.tokens.viewer, "get_run", "1"))
        await wait_until(lambda: any(line["status"] == 429 for line in proxy.lines), 10)
        respond.set()
        rejected = time.monotonic()
        assert (await call).error == ""
        assert time.monotonic() - rejected > 0.8
    assert sorted(line["status"] for line in proxy.lines) == [200, 200, 429]


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
@pytest.mark.parametrize(("path", "status"), [(SEARCH, 200), (IDEMPOTENT_WRITE, 200), (NON_IDEMPOTENT_WRITE, 409)])
async def test_short_body_is_retried_only_if_idempotent(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool, path: str, status: int
) -> None:
    # As if the upstream closed an idle connection at the same time.
    fake_upstream = await start_upstream(fake_upstreams.break_connection(times=1))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    response = await proxy.send(request("POST", path, body=b'{"a": 1}', token=proxy.tokens.editor))
    assert response.status == status
    assert [received.body for received in fake_upstream.requests] == [b'{"a": 1}'] * (2 if status == 200 else 1)


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
async def test_query_with_more_than_two_thousand_parameters_gets_400(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    targets = [f"{READ}{'&a' * number}" for number in (1998, 1999, 2000, 30_000)]
    responses = [await proxy.send(request("GET", target, token=proxy.tokens.viewer)) for target in targets]
    assert [response.status for response in responses] == [200, 200, 400, 400]
    assert responses[2].error == (400, "INVALID_PARAMETER_VALUE")
    assert "2000 parameters" in responses[2].message
    assert proxy.lines[-1]["error"] == "too-many-parameters"
    assert len(fake_upstream.requests) == 2


@pytest.mark.parametrize("token", [True, False], ids=["authenticated", "unauthenticated"])
@pytest.mark.parametrize("part", ["%41", "a%2F", "/%41", "/a"])
async def test_path_longer_than_any_artifact_is_rejected_unread(
    start_upstream: StartUpstream, start_proxy: StartProxy, part: str, token: bool
) -> None:
    """Decoding 60 KB and looking for routes took 80 ms of the event loop, also for clients without a token."""
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    path = ARTIFACT + part * (60_000 // len(part))
    response = await proxy.send(request("GET", path, token=proxy.tokens.viewer if token else ""))
    assert response.error == ((400, "INVALID_PARAMETER_VALUE") if token else (401, "UNAUTHENTICATED"))
    assert fake_upstream.requests == []
    longest = ARTIFACT + part * ((8192 - len(ARTIFACT)) // len(part))
    response = await proxy.send(request("GET", longest.replace("%2F", "%2B"), token=proxy.tokens.viewer))
    assert response.status == 200
