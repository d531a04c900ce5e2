"""The control plane, presigned URLs and credentials of the fake SageMaker, tested with botocore's clients."""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from typing import Any, cast

import aiohttp
import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys
from botocore.exceptions import ClientError
from botocore.model import ServiceModel

from local.fake_sagemaker import APP_ARN, FakeSageMaker
from local.fake_sagemaker.control_plane import OPERATIONS

SERVER = {"TrackingServerName": "local"}


class Clock:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


async def client(service: str, fake_sagemaker: FakeSageMaker, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A botocore client, configured by environment variables."""
    for name, value in fake_sagemaker.environ.items():
        monkeypatch.setenv(name, value)
    # No retries: they would hide errors.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return await call(botocore.session.Session().create_client, service_name=service)


async def call(function: Callable[..., Any], **parameters: Any) -> Any:
    """Call the function in a thread, since the fake SageMaker runs in this event loop."""
    return await asyncio.to_thread(lambda: function(**parameters))


async def error_code(function: Callable[..., Any], **parameters: Any) -> str:
    """The error code of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        await call(function, **parameters)
    return cast("Any", caught.value.response)["Error"]["Code"]


async def get(url: str, session: aiohttp.ClientSession) -> int:
    async with session.get(url) as response:
        await response.read()
        return response.status


def browser() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def test_presigned_url_opens_ui_once(fake_sagemaker: FakeSageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    sagemaker = await client("sagemaker", fake_sagemaker, monkeypatch)
    link = (await call(sagemaker.create_presigned_mlflow_tracking_server_url, **SERVER))["AuthorizedUrl"]
    assert link.startswith(fake_sagemaker.ui_endpoint + "/auth?authToken=")
    async with browser() as first, browser() as second:
        async with first.get(link) as page:
            assert page.status == 200
            assert "MLflow" in await page.text()
        assert (
            await get(fake_sagemaker.ui_endpoint + "/ajax-api/2.0/mlflow/experiments/search?max_results=1", first)
            == 200
        )
        assert await get(link, second) == 403
        assert await get(fake_sagemaker.ui_endpoint, second) == 403


async def test_ui_accepts_writes_with_an_origin_header(
    fake_sagemaker: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sagemaker = await client("sagemaker", fake_sagemaker, monkeypatch)
    link = (await call(sagemaker.create_presigned_mlflow_tracking_server_url, **SERVER))["AuthorizedUrl"]
    async with browser() as session:
        assert await get(link, session) == 200
        async with session.post(
            fake_sagemaker.ui_endpoint + "/ajax-api/2.0/mlflow/experiments/create",
            json={"name": f"from the UI {time.time_ns()}"},
            headers={"Origin": "https://app.example.com"},
        ) as response:
            assert response.status == 200, await response.text()


async def test_presigned_url_expires(start_fake_sagemaker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    fake_sagemaker = await start_fake_sagemaker(clock=clock)
    sagemaker = await client("sagemaker", fake_sagemaker, monkeypatch)
    create = sagemaker.create_presigned_mlflow_tracking_server_url
    link = (await call(create, **SERVER, ExpiresInSeconds=5))["AuthorizedUrl"]
    clock.ahead = 6
    async with browser() as session:
        assert await get(link, session) == 403


async def test_ui_session_expires(start_fake_sagemaker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    fake_sagemaker = await start_fake_sagemaker(clock=clock)
    sagemaker = await client("sagemaker", fake_sagemaker, monkeypatch)
    create = sagemaker.create_presigned_mlflow_tracking_server_url
    link = (await call(create, **SERVER, SessionExpirationDurationInSeconds=1800))["AuthorizedUrl"]
    async with browser() as session:
        assert await get(link, session) == 200
        clock.ahead = 1801
        assert await get(fake_sagemaker.ui_endpoint + "/", session) == 403


async def test_presigned_url_of_app_requires_its_arn(
    fake_sagemaker_app: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sagemaker = await client("sagemaker", fake_sagemaker_app, monkeypatch)
    create = sagemaker.create_presigned_mlflow_app_url
    async with browser() as session:
        assert await get((await call(create, Arn=APP_ARN))["AuthorizedUrl"], session) == 200
    assert await error_code(create, Arn=APP_ARN + "X") == "ResourceNotFound"
    assert await error_code(sagemaker.create_presigned_mlflow_tracking_server_url, **SERVER) == "ResourceNotFound"


@pytest.mark.parametrize(
    "parameters",
    [
        {"ExpiresInSeconds": 4},
        {"ExpiresInSeconds": 301},
        {"ExpiresInSeconds": True},
        {"SessionExpirationDurationInSeconds": 1799},
        {"SessionExpirationDurationInSeconds": 43201},
        {"TrackingServerName": "no spaces"},
        {"TrackingServerName": 7},
        {"Unknown": 1},
    ],
)
async def test_invalid_parameter_returns_validation_exception(
    fake_sagemaker: FakeSageMaker, parameters: dict[str, Any]
) -> None:
    # botocore itself rejects some of these, so they are sent with aiohttp.
    url, keys = fake_sagemaker.control_endpoint + "/", fake_sagemaker.credentials.current()
    body = json.dumps({**SERVER, **parameters}).encode()
    request = AWSRequest("POST", url, data=body, headers={"X-Amz-Target": f"SageMaker.{next(iter(OPERATIONS))}"})
    signing = Keys(keys.access_key, keys.secret_key, keys.token)
    SigV4Auth(signing, "sagemaker", fake_sagemaker.target.region).add_auth(request)
    tls = ssl.create_default_context(cafile=str(fake_sagemaker.ca_file))
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
        session.post(url, data=body, headers=dict(request.headers.items())) as response,
    ):
        result = await response.json(content_type="application/x-amz-json-1.1")
    assert (response.status, result["__type"]) == (400, "ValidationException"), result
    assert f"'{next(iter(parameters))}'" in result["message"]


def test_limits_match_botocores_model() -> None:
    model: ServiceModel = botocore.session.Session().get_service_model("sagemaker")
    for operation, fields in OPERATIONS.items():
        shape = model.operation_model(operation).input_shape
        assert shape is not None
        assert set(shape.members) == set(fields)
        for name, field in fields.items():
            real = shape.members[name]
            assert {"string": str, "integer": int}[real.type_name] is field.kind
            assert (real.metadata["min"], real.metadata["max"]) == (field.low, field.high)
            assert real.metadata.get("pattern", "") == field.pattern
            assert (name in shape.required_members) == field.required


async def test_control_plane_rejects_invalid_signatures(
    fake_sagemaker: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = (await client("sagemaker", fake_sagemaker, monkeypatch)).create_presigned_mlflow_tracking_server_url
    await call(create, **SERVER)
    fake_sagemaker.faults.expire_credentials()
    # The client still uses the expired credentials.
    assert await error_code(create, **SERVER) == "ExpiredTokenException"
    other_region = dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), "eu-west-1")
    monkeypatch.setattr(FakeSageMaker, "environ", {**fake_sagemaker.environ, **other_region})
    other = await client("sagemaker", fake_sagemaker, monkeypatch)
    assert await error_code(other.create_presigned_mlflow_tracking_server_url, **SERVER) == "InvalidSignatureException"


async def test_faults_are_injected_into_control_plane(
    fake_sagemaker: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = (await client("sagemaker", fake_sagemaker, monkeypatch)).create_presigned_mlflow_tracking_server_url
    fake_sagemaker.faults.add("throttle", where="control")
    assert await error_code(create, **SERVER) == "ThrottlingException"
    fake_sagemaker.faults.add("error", where="control", status=500)
    assert await error_code(create, **SERVER) == "InternalServerException"
    assert (await call(create, **SERVER))["AuthorizedUrl"]


async def test_assume_role_returns_valid_credentials(
    fake_sagemaker: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = "arn:aws:iam::000000000000:role/team/reader"
    sts = await client("sts", fake_sagemaker, monkeypatch)
    result = await call(sts.assume_role, RoleArn=role, RoleSessionName="me", DurationSeconds=900)
    assert result["AssumedRoleUser"]["Arn"] == "arn:aws:sts::000000000000:assumed-role/reader/me"
    keys = result["Credentials"]
    credential = fake_sagemaker.credentials.find(keys["AccessKeyId"], keys["SessionToken"])
    assert credential.secret_key == keys["SecretAccessKey"]
    assert keys["Expiration"].timestamp() == pytest.approx(time.time() + 900, abs=30)


async def test_credentials_rotate_at_half_of_their_lifetime(start_fake_sagemaker: Any) -> None:
    clock = Clock()
    fake_sagemaker = await start_fake_sagemaker(clock=clock, lifetime=100)
    async with aiohttp.ClientSession() as session:

        async def fetch() -> dict[str, str]:
            async with session.get(fake_sagemaker.credentials_url) as response:
                return await response.json()

        first = await fetch()
        assert set(first) == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
        clock.ahead = 40
        assert await fetch() == first
        clock.ahead = 60
        second = await fetch()
        assert second["AccessKeyId"] != first["AccessKeyId"]
        # The old credentials remain valid until they expire.
        assert fake_sagemaker.credentials.find(first["AccessKeyId"], first["Token"])


async def test_faults_are_injected_into_credentials_endpoint(fake_sagemaker: FakeSageMaker) -> None:
    fake_sagemaker.faults.add("error", where="credentials", status=500, times=2)
    async with aiohttp.ClientSession() as session:
        assert [await get(fake_sagemaker.credentials_url, session) for _ in range(3)] == [500, 500, 200]
