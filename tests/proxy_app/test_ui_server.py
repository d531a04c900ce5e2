"""MLflow's UI in front of SageMaker: which server answers a route, the page's headers, and a UI server that is down."""

import itertools
import re
from typing import Any
from urllib.parse import unquote, unquote_plus

import pytest

from proxy_app.auth import Role
from proxy_app.routing import MLFLOW_ROUTES, UI_ROUTES, UNAVAILABLE_GROUPS, Route
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, FakeUpstream, response_with_length
from tests.doubles.raw_client import RawClient, request
from tests.doubles.running_proxy import NON_IDEMPOTENT_WRITE, READ, RunningProxy

from .conftest import StartProxy, StartUpstream

# Answered by the proxy itself.
ANSWERED: dict[str, Any] = {
    "GET /ajax-api/3.0/mlflow/ui-telemetry": {
        "disable_ui_telemetry": True,
        "disable_ui_events": [],
        "ui_rollout_percentage": 0,
    },
    "GET /ajax-api/2.0/mlflow/users/current": {"user": None},
    "GET /ajax-api/2.0/mlflow/gateway-proxy": {"endpoints": []},
    "GET /ajax-api/3.0/mlflow/assistant/config": {"providers": {}, "projects": {}, "remote_access_allowed": False},
    "GET /ajax-api/3.0/mlflow/assistant/providers": {
        "providers": [],
        "resolved": None,
        "gateway_vendor_options": {},
    },
    "POST /ajax-api/2.0/mlflow/experiments/search-datasets": {"dataset_summaries": []},
}
UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture
async def sagemaker(start_upstream: StartUpstream) -> FakeUpstream:
    return await start_upstream(fake_upstreams.respond_with(*itertools.repeat(OK, 1000)))


@pytest.fixture
async def ui_server(start_upstream: StartUpstream) -> FakeUpstream:
    return await start_upstream(fake_upstreams.respond_with(*itertools.repeat(OK, 1000)))


@pytest.fixture
async def proxy(sagemaker: FakeUpstream, ui_server: FakeUpstream, start_proxy: StartProxy) -> RunningProxy:
    return await start_proxy(sagemaker.origin, signed=True, ui_url=ui_server.origin)


def path_of(route: Route) -> str:
    return re.sub(r"<[^>]+>", "x", route.template)


async def send_all(proxy: RunningProxy, routes: list[Route]) -> list[int]:
    """The statuses of an admin's requests of these routes, one after the other."""
    statuses: list[int] = []
    async with proxy.connect() as client:
        for route in routes:
            body = None if route.method == "GET" else b"{}"
            data = request(route.method, path_of(route), body=body, token=proxy.tokens.admin)
            statuses.append((await client.round_trip(data)).status)
    return statuses


async def test_ui_server_gets_the_page_s_routes_unsigned_and_sagemaker_all_others_signed(
    proxy: RunningProxy, sagemaker: FakeUpstream, ui_server: FakeUpstream
) -> None:
    routes = [
        route
        for route in MLFLOW_ROUTES
        if route.resource_group not in UNAVAILABLE_GROUPS and f"{route.method} {route.template}" not in ANSWERED
    ]
    assert len(routes) > 400
    assert set(await send_all(proxy, routes)) == {200}
    page = [route for route in routes if (route.method, route.template) in UI_ROUTES]
    assert len(page) == len(UI_ROUTES)
    assert [received.line.split()[:2] for received in ui_server.requests] == [
        [route.method, path_of(route)] for route in page
    ]
    # SageMaker's API has no /ajax-api/.
    assert [unquote(received.line).split()[:2] for received in sagemaker.requests] == [
        [route.method, path_of(route).replace("/ajax-api/", "/api/")] for route in routes if route not in page
    ]
    assert all(received.header("authorization") for received in sagemaker.requests)
    credentials = ("authorization", "x-amz-security-token", "x-mlflow-sm-tracking-server-arn", "cookie")
    assert not [name for received in ui_server.requests for name in credentials if received.header(name)]


@pytest.mark.parametrize("path", ["/ajax%2Dapi/2.0/mlflow/runs/get", "/%61jax-api/2.0/mlflow/runs/get"])
async def test_encoded_ajax_path_is_sent_to_sagemaker_as_api(
    proxy: RunningProxy, sagemaker: FakeUpstream, path: str
) -> None:
    assert (await proxy.send(request("GET", f"{path}?run_id=1", token=proxy.tokens.viewer))).status == 200
    assert sagemaker.requests[0].line == "GET /api/2.0/mlflow/runs/get?run_id=1 HTTP/1.1"


@pytest.mark.parametrize(("name", "content"), ANSWERED.items())
async def test_proxy_answers_for_features_that_are_off(
    proxy: RunningProxy, sagemaker: FakeUpstream, ui_server: FakeUpstream, name: str, content: Any
) -> None:
    method, path = name.split()
    body = None if method == "GET" else b"{}"
    response = await proxy.send(request(method, path, body=body, token=proxy.tokens.viewer))
    assert (response.status, response.json()) == (200, content)
    assert (await proxy.send(request(method, path, body=body))).status == 401
    assert sagemaker.connections + ui_server.connections == 0


@pytest.mark.parametrize("ui", [True, False])
async def test_assistant_is_not_served(
    sagemaker: FakeUpstream, ui_server: FakeUpstream, start_proxy: StartProxy, *, ui: bool
) -> None:
    proxy = await start_proxy(sagemaker.origin, signed=True, ui_url=ui_server.origin if ui else "")
    routes = [
        route
        for route in MLFLOW_ROUTES
        if route.resource_group in UNAVAILABLE_GROUPS and f"{route.method} {route.template}" not in ANSWERED
    ]
    assert len(routes) > 5
    assert set(await send_all(proxy, routes)) <= {404, 405}
    assert sagemaker.connections + ui_server.connections == 0


async def test_roles_and_origin_checks_hold_for_the_ui_server(proxy: RunningProxy, ui_server: FakeUpstream) -> None:
    assert {route.role for route in MLFLOW_ROUTES if (route.method, route.template) in UI_ROUTES} == {Role.VIEWER}
    for data in (
        request("POST", "/graphql", body=b"{}"),
        request("GET", "/", token="mlp_unknown"),
        request("POST", "/graphql", "Origin: https://other.example", body=b"{}", token=proxy.tokens.admin),
        request("GET", "/", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: iframe", token=proxy.tokens.admin),
    ):
        assert (await proxy.send(data)).status in {401, 403}
    assert ui_server.connections == 0


# --- The page


async def test_page_may_not_be_framed_by_other_sites(
    proxy: RunningProxy, sagemaker: FakeUpstream, start_proxy: StartProxy
) -> None:
    for each in (proxy, await start_proxy(sagemaker.origin)):
        page = await each.send(request("GET", "/", token=each.tokens.viewer))
        assert page.header("content-security-policy") == "frame-ancestors 'self'"


async def test_home_page_of_the_proxy_is_at_its_own_path_and_at_the_root_only_without_a_page_of_mlflow(
    proxy: RunningProxy, sagemaker: FakeUpstream, start_proxy: StartProxy
) -> None:
    without_page, plain = await start_proxy(sagemaker.origin, signed=True), await start_proxy(sagemaker.origin)

    async def shows_home_page(client: RunningProxy, path: str) -> bool:
        response = await client.send(request("GET", path, token=client.tokens.viewer))
        assert response.status == 200
        return b"MLFLOW_TRACKING_URI" in response.body

    for each, at_root in ((proxy, False), (plain, False), (without_page, True)):
        assert await shows_home_page(each, "/proxy")
        assert await shows_home_page(each, "/") == at_root


# --- A UI server that is down


async def test_api_and_readiness_do_not_depend_on_the_ui_server(
    sagemaker: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(sagemaker.origin, signed=True, ui_url=UNREACHABLE)
    for path in ("/startupz", "/readyz", "/healthz"):
        assert (await proxy.send(request("GET", path))).status == 200
    assert (await proxy.send(request("GET", READ, token=proxy.tokens.viewer))).status == 200
    write = request("POST", NON_IDEMPOTENT_WRITE, body=b"{}", token=proxy.tokens.editor)
    assert (await proxy.send(write)).status == 200
    page = await proxy.send(request("GET", "/", "Accept: text/html", token=proxy.tokens.viewer))
    assert (page.status, page.header("content-type")) == (502, "text/html; charset=utf-8")
    assert "MLflow&#x27;s UI does not respond; the API is not affected." in page.body.decode()
    answer = await proxy.send(request("POST", "/graphql", body=b"{}", token=proxy.tokens.viewer))
    assert answer.error == (502, "TEMPORARILY_UNAVAILABLE")
    assert [line["error"] for line in proxy.lines if "error" in line] == ["ui-unavailable"] * 2


async def test_ui_server_that_closes_the_connection_or_stalls_is_unavailable(
    sagemaker: FakeUpstream, start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    for behaviour in (fake_upstreams.close_at_once, fake_upstreams.stall()):
        broken = await start_upstream(behaviour)
        proxy = await start_proxy(sagemaker.origin, signed=True, ui_url=broken.origin, upstream_timeout=0.2)
        async with proxy.connect() as client:
            await _expect_unavailable(client, proxy)


async def _expect_unavailable(client: RawClient, proxy: RunningProxy) -> None:
    response = await client.round_trip(request("GET", "/", token=proxy.tokens.viewer))
    assert response.error == (502, "TEMPORARILY_UNAVAILABLE")
    assert proxy.lines[-1]["error"] == "ui-unavailable"


# --- An MLflow of SageMaker that is older than the page

SEARCH_EXPERIMENTS = "/ajax-api/2.0/mlflow/experiments/search?max_results=25&order_by=last_update_time+DESC"
NO_GATEWAY = "tags.%60mlflow.experiment.isGateway%60+IS+NULL"


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        (f"&filter={NO_GATEWAY}", ""),
        (f"&filter={NO_GATEWAY}&page_token=abc", "&page_token=abc"),
        (f"&filter=name+ILIKE+%27%25a%25%27+AND+{NO_GATEWAY}", "&filter=name%20ILIKE%20%27%25a%25%27"),
        (f"&filter=name+%3D+%27+AND+{NO_GATEWAY}%27", f"&filter=name+%3D+%27+AND+{NO_GATEWAY}%27"),
        (f"&page_token=filter={NO_GATEWAY}", f"&page_token=filter%3D{NO_GATEWAY}"),
    ],
)
async def test_condition_that_older_versions_reject_is_removed_from_the_page_s_search(
    proxy: RunningProxy, sagemaker: FakeUpstream, query: str, sent: str
) -> None:
    assert (await proxy.send(request("GET", SEARCH_EXPERIMENTS + query, token=proxy.tokens.viewer))).status == 200
    [received] = sagemaker.requests
    expected = SEARCH_EXPERIMENTS.replace("/ajax-api/", "/api/") + sent
    assert unquote_plus(received.line.split()[1]).rstrip("&") == unquote_plus(expected)


async def test_search_of_a_client_is_sent_as_it_is(proxy: RunningProxy, sagemaker: FakeUpstream) -> None:
    target = SEARCH_EXPERIMENTS.replace("/ajax-api/", "/api/") + f"&filter={NO_GATEWAY}"
    assert (await proxy.send(request("GET", target, token=proxy.tokens.viewer))).status == 200
    assert unquote_plus(sagemaker.requests[0].line.split()[1]) == unquote_plus(target)


async def test_page_gets_a_message_about_a_route_that_sagemaker_does_not_have(
    start_upstream: StartUpstream, ui_server: FakeUpstream, start_proxy: StartProxy
) -> None:
    flask = response_with_length(b"<!doctype html>", b"Content-Type: text/html", status=b"404 NOT FOUND")
    mlflow = response_with_length(b"{}", b"Content-Type: application/json", status=b"404 NOT FOUND")
    sagemaker = await start_upstream(fake_upstreams.respond_with(flask, flask, mlflow))
    proxy = await start_proxy(sagemaker.origin, signed=True, ui_url=ui_server.origin)
    page, client = "/ajax-api/3.0/mlflow/traces/metrics", "/api/3.0/mlflow/traces/metrics"
    answer = await proxy.send(request("POST", page, body=b"{}", token=proxy.tokens.viewer))
    assert answer.error == (404, "ENDPOINT_NOT_FOUND")
    assert answer.message == "SageMaker's MLflow is older than this page and does not have 3.0/mlflow/traces/metrics."
    # A client's, and MLflow's own 404.
    for path in (client, page):
        response = await proxy.send(request("POST", path, body=b"{}", token=proxy.tokens.viewer))
        assert (response.status, response.body) == (404, b"<!doctype html>" if path == client else b"{}")
