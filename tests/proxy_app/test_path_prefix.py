"""The proxy below a path of a shared host."""

import pytest

from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import FakeUpstream, response_with_length
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARTIFACT, READ

from .conftest import StartProxy, StartUpstream

MESSAGE = "This MLflow is below /team/mlflow/ (MLFLOW_PROXY_PATH_PREFIX): append /team/mlflow to the tracking URI."


@pytest.fixture
async def fake_upstream(start_upstream: StartUpstream) -> FakeUpstream:
    return await start_upstream(fake_upstreams.respond_by(fake_upstreams.echo))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("target", "forwarded"),
    [
        (f"/team/mlflow{READ}", READ),
        (f"/team/mlflow/{READ}", READ),
        (f"//team/mlflow/{READ}", READ),
        (f"/team/mlflow{ARTIFACT}%20b", f"{ARTIFACT}%20b"),
    ],
)
async def test_prefix_is_removed(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, signed: bool, target: str, forwarded: str
) -> None:
    proxy = await start_proxy(fake_upstream.origin, signed=signed, path_prefix="/team/mlflow")
    assert (await proxy.send(request("GET", target, token=proxy.tokens.viewer))).status == 200
    assert [received.line for received in fake_upstream.requests] == [f"GET {forwarded} HTTP/1.1"]


@pytest.mark.parametrize(
    "target",
    [
        READ,
        "/",
        f"/team{READ}",
        f"/team/mlflow2{READ}",
        f"/TEAM/mlflow{READ}",
        f"/team%2Fmlflow{READ}",
        f"/%74eam/mlflow{READ}",
        f"/team/mlflow/team/mlflow{READ}",
        "/team/mlflow/healthz",
    ],
)
async def test_other_path_is_404_with_the_prefix(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, target: str
) -> None:
    proxy = await start_proxy(fake_upstream.origin, path_prefix="/team/mlflow")
    response = await proxy.send(request("GET", target, token=proxy.tokens.admin))
    assert response.error == (404, "ENDPOINT_NOT_FOUND")
    assert (response.message == MESSAGE) == (not target.startswith("/team/mlflow/"))
    assert fake_upstream.connections == 0
    # The prefix is no secret to those who sign in, and nothing to others.
    assert (await proxy.send(request("GET", target))).status == 401


async def test_role_is_that_of_the_route_below_the_prefix(fake_upstream: FakeUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(fake_upstream.origin, path_prefix="/team/mlflow")
    data = request("POST", "/team/mlflow/api/2.0/mlflow/runs/delete", body=b"{}", token=proxy.tokens.editor)
    assert (await proxy.send(data)).error == (403, "PERMISSION_DENIED")
    assert fake_upstream.connections == 0


async def test_prefix_without_a_slash_is_redirected_for_relative_links(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin, path_prefix="/team/mlflow")
    response = await proxy.send(request("GET", "/team/mlflow?a=b", token=proxy.tokens.viewer))
    assert (response.status, response.header("location")) == (303, "/team/mlflow/?a=b")


@pytest.mark.parametrize("location", ["{origin}/static-files/", "/static-files/"])
async def test_redirect_of_the_upstream_stays_below_the_prefix(
    start_upstream: StartUpstream, start_proxy: StartProxy, location: str
) -> None:
    fake_upstream = await start_upstream(
        fake_upstreams.respond_by(
            lambda _: response_with_length(
                b"", b"Location: " + location.format(origin=fake_upstream.origin).encode(), status=b"307 Temporary"
            )
        )
    )
    proxy = await start_proxy(fake_upstream.origin, path_prefix="/team/mlflow")
    response = await proxy.send(request("GET", f"/team/mlflow{READ}", token=proxy.tokens.viewer))
    assert response.header("location") == "/team/mlflow/static-files/"


async def test_health_checks_are_at_the_root(fake_upstream: FakeUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(fake_upstream.origin, path_prefix="/team/mlflow")
    assert (await proxy.send(request("GET", "/healthz"))).status == 200


async def test_home_page_shows_the_tracking_uri_with_the_prefix(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(
        fake_upstream.origin, signed=True, path_prefix="/team/mlflow", public_url="https://shared.example.com"
    )
    page = (await proxy.send(request("GET", "/team/mlflow/", token=proxy.tokens.admin))).body.decode()
    assert "export MLFLOW_TRACKING_URI=https://shared.example.com/team/mlflow" in page
    assert 'action="/team/mlflow/proxy/ui-link"' in page
