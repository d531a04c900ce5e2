"""Presigned links to SageMaker's MLflow UI: the API call, the redirect of the home page, and errors."""

import json

import pytest

from proxy_app.credentials import Loaded
from proxy_app.errors import ApiError
from proxy_app.sigv4 import Credentials
from proxy_app.target import sagemaker_target
from proxy_app.upstream.ui_link import ui_link
from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.aws_home import empty_aws_home
from tests.doubles.fake_upstreams import FakeUpstream, response_with_length
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARN

from .conftest import StartProxy, StartUpstream

APP_ARN = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-1"
URL = "https://team.eu-west-1.experiments.sagemaker.aws/auth?authToken=secret"
KEYS = Credentials("AKIDLINK", "secret-key", "session-token")
JSON = b"Content-Type: application/x-amz-json-1.1"


@pytest.fixture(autouse=True)
def aws_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    empty_aws_home(tmp_path_factory.mktemp("home"), monkeypatch)


@pytest.fixture
async def control_plane(start_upstream: StartUpstream, monkeypatch: pytest.MonkeyPatch) -> FakeUpstream:
    """SageMaker's API, which returns URL."""
    body = json.dumps({"AuthorizedUrl": URL}).encode()
    fake = await start_upstream(fake_upstreams.respond_with(response_with_length(body, JSON)))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", fake.origin)
    return fake


@pytest.mark.parametrize(
    ("arn", "action", "resource"),
    [
        (ARN, "CreatePresignedMlflowTrackingServerUrl", {"TrackingServerName": "team"}),
        (APP_ARN, "CreatePresignedMlflowAppUrl", {"Arn": APP_ARN}),
    ],
    ids=["tracking server", "app"],
)
async def test_link_is_requested_for_one_minute_and_a_session_of_twelve_hours(
    control_plane: FakeUpstream, arn: str, action: str, resource: dict[str, str]
) -> None:
    assert await ui_link(sagemaker_target(arn), KEYS) == URL
    [received] = control_plane.requests
    assert received.header("x-amz-target") == f"SageMaker.{action}"
    assert json.loads(received.body) == {
        **resource,
        "ExpiresInSeconds": 60,
        "SessionExpirationDurationInSeconds": 12 * 3600,
    }
    assert "Credential=AKIDLINK/" in (received.header("authorization") or "")
    assert received.header("x-amz-security-token") == "session-token"


async def test_link_is_requested_with_long_term_keys(control_plane: FakeUpstream) -> None:
    assert await ui_link(sagemaker_target(ARN), Credentials("AKIDLONG", "secret-key")) == URL
    assert control_plane.requests[0].header("x-amz-security-token") is None


async def test_error_of_sagemaker_is_a_502_with_its_message(
    start_upstream: StartUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"__type": "AccessDeniedException", "message": "not authorized to perform"}).encode()
    response = response_with_length(body, JSON).replace(b"200 OK", b"400 Bad Request")
    fake = await start_upstream(fake_upstreams.respond_with(response))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", fake.origin)
    with pytest.raises(ApiError, match="not authorized to perform") as caught:
        await ui_link(sagemaker_target(ARN), KEYS)
    assert (caught.value.status, caught.value.reason) == (502, "ui-link-failed")


async def test_admins_are_redirected_to_the_link_and_others_are_not(
    start_upstream: StartUpstream, start_proxy: StartProxy, control_plane: FakeUpstream
) -> None:
    mlflow = await start_upstream(fake_upstreams.respond_with(fake_upstreams.OK))
    proxy = await start_proxy(mlflow.origin, signed=True, source=lambda: Loaded(KEYS, None))
    path = "/proxy/ui-link"
    for token in (proxy.tokens.viewer, proxy.tokens.editor):
        denied = await proxy.send(request("POST", path, token=token, body=b""))
        assert denied.error == (403, "PERMISSION_DENIED")
    assert control_plane.requests == []
    opened = await proxy.send(request("POST", path, token=proxy.tokens.admin, body=b""))
    assert (opened.status, opened.header("location")) == (303, URL)
    assert (opened.header("cache-control"), opened.header("referrer-policy")) == ("no-store", "no-referrer")
    assert URL not in "".join(proxy.written)


async def test_home_page_shows_the_link_to_admins_only(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    mlflow = await start_upstream(fake_upstreams.respond_with(fake_upstreams.OK))
    signed = await start_proxy(mlflow.origin, signed=True)
    plain = await start_proxy(mlflow.origin)
    form = b'action="/proxy/ui-link"'
    shown = {
        (proxy is signed, role): form in (await proxy.send(request("GET", "/", token=token))).body
        for proxy in (signed, plain)
        for role, token in proxy.tokens.all.items()
    }
    assert [key for key, shows in shown.items() if shows] == [(True, "admin")]
    assert (await plain.send(request("POST", "/proxy/ui-link", token=plain.tokens.admin, body=b""))).status == 404
