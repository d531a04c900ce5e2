"""The longer timeout of artifacts and of model calls through the AI Gateway."""

import asyncio

import pytest

from proxy_app.routing import MLFLOW_ROUTES
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, UpstreamConnection
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARTIFACT, READ

from .conftest import StartProxy, StartUpstream

SHORT, PAUSE, LONG = 0.2, 0.6, 5.0
LONG_REQUESTS = [
    ("PUT", ARTIFACT),
    ("GET", ARTIFACT),
    ("GET", "/get-artifact?path=model.bin&run_uuid=1"),
    ("POST", "/gateway/mlflow/v1/chat/completions"),
    ("POST", "/gateway/chat/mlflow/invocations"),
    ("POST", "/ajax-api/2.0/mlflow/gateway-proxy"),
    ("GET", "/ajax-api/3.0/mlflow/get-trace-artifact"),
    ("GET", "/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files"),
]
both_upstreams = pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
long_requests = pytest.mark.parametrize(("method", "target"), LONG_REQUESTS)


def responding_after_a_pause(first: bytes, second: bytes) -> fake_upstreams.Behaviour:
    """Pause before the response, send its first part, and pause again."""

    async def behave(connection: UpstreamConnection) -> None:
        await connection.read_request()
        for part in (first, second):
            await asyncio.sleep(PAUSE)
            await connection.send(part)

    return behave


@both_upstreams
@long_requests
async def test_long_request_may_pause_longer_than_the_upstream_timeout(
    start_upstream: StartUpstream, start_proxy: StartProxy, method: str, target: str, signed: bool
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    behaviour = responding_after_a_pause(head + b"1\r\na\r\n", b"1\r\nb\r\n0\r\n\r\n")
    fake_upstream = await start_upstream(behaviour)
    proxy = await start_proxy(
        fake_upstream.origin, signed=signed, upstream_timeout=SHORT, long_upstream_timeout=LONG, body_timeout=SHORT
    )
    body = None if method == "GET" else b"{}"
    response = await proxy.send(request(method, target, body=body, token=proxy.tokens.editor))
    assert (response.status, response.body) == (200, b"ab")


@both_upstreams
@long_requests
async def test_long_request_ends_after_its_own_timeout(
    start_upstream: StartUpstream, start_proxy: StartProxy, method: str, target: str, signed: bool
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall())
    proxy = await start_proxy(
        fake_upstream.origin, signed=signed, upstream_timeout=SHORT / 2, long_upstream_timeout=SHORT
    )
    body = None if method == "GET" else b"{}"
    response = await proxy.send(request(method, target, body=body, token=proxy.tokens.editor))
    assert response.status in {504, 409}
    assert f"did not respond within {SHORT:g} seconds" in response.message


async def test_other_request_on_the_same_connection_has_the_upstream_timeout(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    async def respond_once(connection: UpstreamConnection) -> None:
        await connection.read_request()
        await connection.send(OK)
        await connection.read_request()
        await connection.gone()

    fake_upstream = await start_upstream(respond_once)
    proxy = await start_proxy(fake_upstream.origin, upstream_timeout=SHORT, long_upstream_timeout=LONG)
    assert (await proxy.send(request("GET", ARTIFACT, token=proxy.tokens.viewer))).status == 200
    response = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
    assert response.error == (504, "DEADLINE_EXCEEDED")
    assert f"within {SHORT:g} seconds" in response.message
    assert fake_upstream.connections == 1


def test_long_routes_are_those_of_artifacts_model_calls_and_the_assistant() -> None:
    long_groups = {route.resource_group for route in MLFLOW_ROUTES if route.long_running}
    assert long_groups == {"artifacts", "invocations", "assistant"}
    for route in MLFLOW_ROUTES:
        assert route.long_running == (route.resource_group in long_groups), route
        if "artifact" in route.template or route.template.startswith("/gateway/") or "stream" in route.template:
            assert route.long_running, route
