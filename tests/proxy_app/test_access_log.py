"""The access log and the metrics: their content, and that no secret is in them."""

import asyncio
import contextlib
import json
import re
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest

from proxy_app import access_log
from proxy_app.server import running_server
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, FakeUpstream, response_with_length
from tests.doubles.raw_client import RawClient, request
from tests.doubles.running_proxy import (
    ARTIFACT,
    IDEMPOTENT_WRITE,
    READ,
    Tokens,
    quick_settings,
    wait_until,
)

from .conftest import StartProxy, StartUpstream

# The fields of a line, in order: operators' log queries depend on them.
FIELDS: dict[str, tuple[type, ...]] = {
    "time": (str,),
    "level": (str,),
    "event": (str,),
    "request_id": (str,),
    "principal": (str, type(None)),
    "role": (str, type(None)),
    "method": (str,),
    "route": (str, type(None)),
    "status": (int,),
    "bytes_in": (int,),
    "bytes_out": (int,),
    "duration_ms": (float,),
    "upstream_duration_ms": (float, type(None)),
    "attempts": (int,),
}


@pytest.fixture
async def fake_upstream(start_upstream: StartUpstream) -> FakeUpstream:
    return await start_upstream(fake_upstreams.respond_with(OK))


def parse_line(line: str) -> dict[str, Any]:
    """Check the form of a request's line and parse it."""
    assert line.count("\n") == 1
    assert line.endswith("\n")
    content = json.loads(line)
    assert [name for name in content if name != "error"] == list(FIELDS)
    for name, types in FIELDS.items():
        assert isinstance(content[name], types), name
    assert content["event"] == "request"
    assert content["level"] == ("error" if content["status"] >= 500 else "info")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", content["time"])
    return content


# --- Lines


async def test_each_request_writes_one_line_with_the_documented_fields(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    requests = [
        request("GET", READ, token=proxy.tokens.viewer),
        request("HEAD", READ, token=proxy.tokens.viewer),
        request("POST", IDEMPOTENT_WRITE, body=b"x" * 500_000, token=proxy.tokens.editor),
        request("PUT", ARTIFACT, "Transfer-Encoding: chunked", token=proxy.tokens.admin) + b"3\r\nabc\r\n0\r\n\r\n",
        request("GET", READ),
        request("POST", IDEMPOTENT_WRITE, body=b"{}", token=proxy.tokens.viewer),
        request("GET", "/no/such", token=proxy.tokens.viewer),
        request("GET", "/x//y", token=proxy.tokens.viewer),
        request("GET", "/", token=proxy.tokens.viewer),
        request("HEAD", "/", token=proxy.tokens.viewer),
        request("HEAD", READ),
        request("GET", READ, "X-A: \x00"),
    ]
    responses = [await proxy.send(data) for data in requests]
    assert [
        (line["principal"], line["role"], line["method"], line["route"], line["status"], line.get("error"))
        for line in map(parse_line, proxy.written)
    ] == [
        ("some-viewer", "viewer", "GET", "/api/2.0/mlflow/runs/get", 200, None),
        ("some-viewer", "viewer", "HEAD", "/api/2.0/mlflow/runs/get", 200, None),
        ("some-editor", "editor", "POST", "/api/2.0/mlflow/runs/set-tag", 200, None),
        ("some-admin", "admin", "PUT", "/api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>", 200, None),
        (None, None, "GET", None, 401, "missing-token"),
        ("some-viewer", "viewer", "POST", "/api/2.0/mlflow/runs/set-tag", 403, "insufficient-role"),
        ("some-viewer", "viewer", "GET", None, 404, "unknown-route"),
        ("some-viewer", "viewer", "GET", None, 400, "invalid-path"),
        ("some-viewer", "viewer", "GET", "/", 200, None),
        ("some-viewer", "viewer", "HEAD", "/", 200, None),
        (None, None, "HEAD", None, 401, "missing-token"),
        (None, None, "UNKNOWN", None, 400, "malformed-request"),
    ]
    assert [line["bytes_in"] for line in proxy.lines[:5]] == [0, 0, 500_000, 3, 0]
    # The proxy's own responses are counted like the upstream's.
    assert [line["bytes_out"] for line in proxy.lines] == [len(response.body) for response in responses]
    assert [line["attempts"] for line in proxy.lines[:5]] == [1, 1, 1, 1, 0]
    for line in proxy.lines[:4]:
        assert 0 < line["upstream_duration_ms"] <= line["duration_ms"] < 5000


async def test_line_is_written_after_the_last_byte_of_the_response(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    second_half = asyncio.Event()

    async def respond_in_halves(connection: fake_upstreams.UpstreamConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
        await second_half.wait()
        await connection.send(b"x" * 50_000)

    fake_upstream = await start_upstream(respond_in_halves)
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(request("GET", READ, token=proxy.tokens.viewer))
        await client.head()
        await client.reader.readexactly(50_000)
        await asyncio.sleep(0.1)
        assert proxy.written == []
        second_half.set()
        await client.reader.readexactly(50_000)
        await wait_until(lambda: proxy.written != [])
    line = parse_line(proxy.written[0])
    assert line["bytes_out"] == 100_000
    assert line["duration_ms"] > line["upstream_duration_ms"] + 90


@pytest.mark.parametrize(
    ("request_id", "used"),
    [
        ("0123456789abcdef", True),
        ("1-67891233-abcdef012345678912345678", True),
        ("a.b_c-d.e", True),
        ("short", False),
        ("x" * 65, False),
        ('canary", "status": 200, "x": "', False),
        ("canary canary", False),
        ("canary\\u000a{}", False),
        ("canary\xe9canary", False),
        ("", False),
    ],
)
async def test_request_id_of_the_client_is_used_only_if_well_formed(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, request_id: str, used: bool
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    response = await proxy.send(request("GET", READ, f"X-Request-Id: {request_id}", token=proxy.tokens.viewer))
    line = parse_line(proxy.written[0])
    assert response.header("x-request-id") == line["request_id"]
    assert (line["request_id"] == request_id) == used
    assert "canary" not in proxy.written[0]


async def test_request_cannot_forge_a_line(fake_upstream: FakeUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    forged = '\\n{"event": "request", "principal": "forged"}'
    requests = [
        request(f'GE"T{forged}', READ, token=proxy.tokens.viewer),
        request("GET", f"/get-artifact?path={forged}".replace(" ", "%20"), token=proxy.tokens.viewer),
        request("GET", "/%0a%7b%22event%22%3a%22forged%22%7d", token=proxy.tokens.viewer),
        request("GET", READ, f"User-Agent: {forged}", f"Authorization: Bearer {forged}"),
        request("M-SEARCH", READ, token=proxy.tokens.viewer),
        b'{"event": "request", "principal": "forged"}\n{"event": "request"}\n\r\n\r\n',
    ]
    for data in requests:
        async with proxy.connect() as client:
            await client.send(data)
            await client.read_response()
    assert len(proxy.written) == len(requests)
    assert "forged" not in "".join(proxy.written)
    for line in proxy.written:
        parse_line(line)


async def test_no_line_is_lost_when_the_proxy_stops_right_after_a_request(
    start_upstream: StartUpstream, tokens: Tokens, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(access_log, "_WRITE_DELAY", 3600)
    fake_upstream = await start_upstream(fake_upstreams.respond_then_stall(OK))
    async with contextlib.AsyncExitStack() as clients:
        async with running_server(quick_settings(fake_upstream.origin, tokens)) as proxy:
            client = await clients.enter_async_context(RawClient.connected(proxy.address))
            assert (await client.round_trip(request("GET", READ, token=tokens.viewer))).status == 200
            # In flight when the proxy stops, which aborts it.
            await client.send(request("GET", READ, token=tokens.viewer))
            await wait_until(lambda: len(fake_upstream.requests) == 2)
            assert '"request"' not in capsys.readouterr().out
        await client.closed()
    lines = [parse_line(line) for line in capsys.readouterr().out.splitlines(keepends=True)]
    assert [(line["status"], line.get("error")) for line in lines] == [(200, None), (499, "shutdown")]


# --- Secrets


async def send_canaries(client: RawClient, token: str, canary: str) -> None:
    """Send requests with a canary in every part that a client controls; the last one ends the connection."""
    for credential in (token, f"mlp_{'a' * 8}_{canary}{'b' * 37}", canary):
        for method, target in (
            ("POST", f"{IDEMPOTENT_WRITE}?{canary}={canary}"),
            ("GET", f"/api/2.0/mlflow/logged-models/{canary}"),
            ("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{canary}/x"),
            ("GET", f"/no/such/{canary}?{canary}"),
            ("GET", f"/{canary}//x"),
            ("DELETE", f"/{canary}%zz"),
            ("POST", f"/?{canary}"),
        ):
            headers = [f"X-Header: {canary}", f"Cookie: {canary}", f"{canary}: x", f"Referer: http://proxy/{canary}"]
            await client.round_trip(request(method, target, *headers, body=canary.encode() * 20, token=credential))
    await client.round_trip(request("POST", IDEMPOTENT_WRITE, f"Origin: https://{canary}", body=b"", token=token))
    await client.round_trip(request("GET", f"/{canary}", f"X: \x00{canary}", token=token))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "behaviour",
    [
        fake_upstreams.respond_by(fake_upstreams.echo),
        fake_upstreams.respond_by(
            lambda received: response_with_length(fake_upstreams.echo(received), status=b"500 canary")
        ),
        fake_upstreams.break_connection(b"HTTP/1.1 200 OK\r\nX: canary"),
        fake_upstreams.respond_with(b"canary is not HTTP"),
    ],
    ids=["echo", "echoed error", "incomplete response", "invalid response"],
)
async def test_logs_and_metrics_contain_no_client_data_and_no_secret(
    start_upstream: StartUpstream,
    start_proxy: StartProxy,
    behaviour: fake_upstreams.Behaviour,
    signed: bool,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG")
    fake_upstream = await start_upstream(behaviour)
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    async with proxy.connect() as client:
        await send_canaries(client, proxy.tokens.editor, "canary")
    assert len(proxy.written) == 23
    out, err = capfd.readouterr()
    output = "".join(proxy.written) + caplog.text + out + err + generate_latest(proxy.registry).decode()
    assert "canary" not in output
    assert proxy.tokens.editor.split("_", 2)[2] not in output
    assert "secret-key" not in output
    assert "session-token" not in output


# --- Metrics


async def test_metrics_are_served_on_the_metrics_listener_only(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
    async with RawClient.connected(proxy.server.metrics_address) as prometheus:
        response = await prometheus.round_trip(request("GET", "/metrics"))
        assert response.status == 200
        assert (response.header("content-type") or "").startswith("text/plain; version=")
        text = response.body.decode()
        assert 'mlflow_proxy_requests_total{method="GET",resource_group="runs",status="200"} 1.0' in text
        assert "mlflow_proxy_connections 0.0" in text or "mlflow_proxy_connections 1.0" in text
        # This listener serves nothing else.
        for target in ("/", "/healthz", READ):
            assert (await prometheus.round_trip(request("GET", target, token=proxy.tokens.admin))).status == 404
    assert (await proxy.send(request("GET", "/metrics", token=proxy.tokens.admin))).status == 404
    assert len(fake_upstream.requests) == 1


async def test_metrics_count_requests_errors_retries_and_bytes(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.break_connection(times=1))
    proxy = await start_proxy(fake_upstream.origin)
    await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
    await proxy.send(request("POST", IDEMPOTENT_WRITE, body=b"x" * 1000, token=proxy.tokens.editor))
    forbidden = await proxy.send(request("POST", IDEMPOTENT_WRITE, body=b"{}", token=proxy.tokens.viewer))
    assert proxy.metric("mlflow_proxy_requests_total", resource_group="runs", method="GET", status="200") == 1
    assert proxy.metric("mlflow_proxy_requests_total", resource_group="runs", method="POST", status="200") == 1
    assert proxy.metric("mlflow_proxy_requests_total", resource_group="runs", method="POST", status="403") == 1
    assert proxy.metric("mlflow_proxy_errors_total", error="insufficient-role") == 1
    assert proxy.metric("mlflow_proxy_upstream_retries_total") == 1
    assert proxy.metric("mlflow_proxy_body_bytes_total", direction="in") == 1002
    assert proxy.metric("mlflow_proxy_body_bytes_total", direction="out") == 4 + len(forbidden.body)
    assert proxy.metric("mlflow_proxy_request_duration_seconds_count", resource_group="runs") == 3
    assert proxy.metric("mlflow_proxy_upstream_duration_seconds_count", resource_group="runs") == 2
    assert proxy.metric("mlflow_proxy_requests_in_flight") == 0


async def test_clients_cannot_add_metric_series(fake_upstream: FakeUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(fake_upstream.origin)

    def series_count() -> int:
        return sum(len(metric.samples) for metric in proxy.registry.collect())

    methods = ["PROPFIND", "M-SEARCH", "LOCK", "REPORT", "PURGE", "SUBSCRIBE", "SOURCE"]

    async def send_unusual_requests(number: int) -> None:
        async with proxy.connect() as client:
            for method in methods:
                target = f"/api/2.0/mlflow/logged-models/m-{number}?{number}"
                await client.round_trip(
                    request(method, target, f"X-Request-Id: id-{number:08}", token=proxy.tokens.admin)
                )
            for target in (f"/no/{number}", f"/api/2.0/mlflow/logged-models/m-{number}"):
                await client.round_trip(request("GET", target, token=proxy.tokens.admin))
        # aiohttp's parser knows no such method, so the proxy closes the connection.
        assert (await proxy.send(request(f"BREW{number}", READ, token=proxy.tokens.admin))).status == 400

    await send_unusual_requests(0)
    before = series_count()
    for number in range(1, 20):
        await send_unusual_requests(number)
    assert series_count() == before
