"""The fake SageMaker accepts what SageMaker accepts and rejects what it rejects. botocore signs the requests."""

import time
from typing import Any

import pytest
from multidict import CIMultiDict

from local.fake_sagemaker import APP_ARN, TRACKING_SERVER_ARN, Credential, FakeSageMaker
from tests.doubles.signed_requests import SEARCH, open_response, send, sign
from tests.local.conftest import Recorder

CREATE = "/api/2.0/mlflow/experiments/create"


async def assert_accepted(fake_sagemaker: FakeSageMaker, target: str = SEARCH, **options: Any) -> None:
    status, result, _ = await send(fake_sagemaker, sign(fake_sagemaker, target, **options), target)
    assert status == 200, result


async def assert_mismatch(
    fake_sagemaker: FakeSageMaker, headers: CIMultiDict[str], target: str = SEARCH, **options: Any
) -> None:
    status, result, kind = await send(fake_sagemaker, headers, target, **options)
    assert (status, kind) == (403, "InvalidSignatureException"), result
    assert "does not match the signature you provided" in result["message"]


async def test_signed_request_is_accepted(either: FakeSageMaker) -> None:
    await assert_accepted(either)


async def test_signed_body_is_forwarded(either: FakeSageMaker) -> None:
    body = f'{{"name": "signed {time.time_ns()}"}}'.encode()
    content = {"Content-Type": "application/json"}
    headers = sign(either, CREATE, method="POST", body=body, headers=content)
    status, result, _ = await send(either, headers, CREATE, method="POST", body=body)
    assert status == 200, result
    assert result["experiment_id"]


async def test_mlflow_errors_are_forwarded(either: FakeSageMaker) -> None:
    target = "/api/2.0/mlflow/runs/get?run_id=none"
    status, result, _ = await send(either, sign(either, target), target)
    assert (status, result["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


async def test_aws_headers_are_not_forwarded_to_mlflow(start_fake_sagemaker: Any, recorder: Recorder) -> None:
    fake_sagemaker = await start_fake_sagemaker(upstream=recorder.url)
    async with open_response(fake_sagemaker, sign(fake_sagemaker, headers={"X-Mlflow-Workspace": "w"})) as response:
        assert response.status == 200
    names = {name.lower() for name in recorder.requests[0]}
    assert "x-mlflow-workspace" in names
    assert not {name for name in names if name.startswith("x-amz-")}
    assert not names & {"authorization", fake_sagemaker.target.header}
    assert recorder.requests[0]["Host"] == recorder.url.removeprefix("http://")


async def test_missing_signature_returns_403(either: FakeSageMaker) -> None:
    headers = sign(either)
    del headers["Authorization"]
    status, result, kind = await send(either, headers)
    assert (status, kind) == (403, "MissingAuthenticationTokenException")
    assert result == {"message": "Missing Authentication Token"}


async def test_bearer_token_returns_403(fake_sagemaker: FakeSageMaker) -> None:
    headers = sign(fake_sagemaker)
    headers["Authorization"] = "Bearer mine"
    status, result, kind = await send(fake_sagemaker, headers)
    assert (status, kind) == (403, "IncompleteSignatureException"), result


async def test_wrong_signature_returns_403(either: FakeSageMaker) -> None:
    headers = sign(either)
    last = headers["Authorization"][-1]
    headers["Authorization"] = headers["Authorization"][:-1] + ("0" if last != "0" else "1")
    await assert_mismatch(either, headers)


async def test_changed_query_returns_403(fake_sagemaker: FakeSageMaker) -> None:
    target = "/api/2.0/mlflow/experiments/search?max_results=2"
    await assert_mismatch(fake_sagemaker, sign(fake_sagemaker, target, signed_target=SEARCH), target)


async def test_changed_method_returns_403(fake_sagemaker: FakeSageMaker) -> None:
    await assert_mismatch(fake_sagemaker, sign(fake_sagemaker, method="GET"), method="DELETE")


async def test_changed_header_returns_403(fake_sagemaker: FakeSageMaker) -> None:
    headers = sign(fake_sagemaker, headers={"X-Amz-Meta": "signed"})
    headers["X-Amz-Meta"] = "sent"
    await assert_mismatch(fake_sagemaker, headers)


async def test_wrong_region_returns_403(either: FakeSageMaker) -> None:
    status, result, _ = await send(either, sign(either, region="eu-west-1"))
    assert (status, "valid region" in result["message"]) == (403, True)


@pytest.mark.parametrize("service", ["sagemaker", "sagemaker-mlflow", "execute-api"])
async def test_only_service_of_its_kind_is_accepted(either: FakeSageMaker, service: str) -> None:
    status, result, _ = await send(either, sign(either, service=service))
    if service == either.target.service:
        assert status == 200
    else:
        assert (status, result["message"]) == (
            403,
            f"Credential should be scoped to correct service: '{either.target.service}'.",
        )


@pytest.mark.parametrize(("seconds", "message"), [(400, "Signature expired"), (-400, "Signature not yet current")])
async def test_clock_skew_over_five_minutes_returns_403(
    start_fake_sagemaker: Any, seconds: float, message: str
) -> None:
    fake_sagemaker = await start_fake_sagemaker(clock=lambda: time.time() + seconds)
    status, result, _ = await send(fake_sagemaker, sign(fake_sagemaker))
    assert (status, result["message"].startswith(message)) == (403, True), result


async def test_clock_skew_of_four_minutes_is_accepted(start_fake_sagemaker: Any) -> None:
    await assert_accepted(await start_fake_sagemaker(clock=lambda: time.time() + 240))


async def test_date_outside_credential_scope_returns_403(fake_sagemaker: FakeSageMaker) -> None:
    headers = sign(fake_sagemaker)
    headers["X-Amz-Date"] = "20200101T000000Z"
    status, result, _ = await send(fake_sagemaker, headers)
    assert (status, "Date in Credential scope" in result["message"]) == (403, True), result


async def test_changed_body_returns_403(either: FakeSageMaker) -> None:
    headers = sign(either, CREATE, method="POST", body=b'{"name": "a"}')
    status, result, _ = await send(either, headers, CREATE, method="POST", body=b'{"name": "b"}')
    assert (status, "x-amz-content-sha256" in result["message"]) == (403, True), result


async def test_unsigned_payload_returns_403(fake_sagemaker: FakeSageMaker) -> None:
    headers = sign(fake_sagemaker, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    status, result, _ = await send(fake_sagemaker, headers)
    assert (status, "x-amz-content-sha256" in result["message"]) == (403, True), result


@pytest.mark.parametrize("name", ["X-Amz-Content-SHA256", "X-Amz-Date", "X-Amz-Security-Token", "arn"])
async def test_missing_or_unsigned_required_header_is_rejected(either: FakeSageMaker, name: str) -> None:
    name = either.target.header if name == "arn" else name
    headers = sign(either)
    headers["Authorization"] = headers["Authorization"].replace(f";{name.lower()}", "")
    status, result, _ = await send(either, headers)
    assert (status, f"'{name.lower()}'" in result["message"]) == (403, True), result
    del headers[name]
    status, result, _ = await send(either, headers)
    assert status in {400, 403}, result


@pytest.mark.parametrize("name", ["TE", "Upgrade", "Keep-Alive"])
async def test_signed_hop_by_hop_header_returns_403(fake_sagemaker: FakeSageMaker, name: str) -> None:
    # botocore does not sign these, so SignedHeaders is edited.
    headers = sign(fake_sagemaker, headers={"z": "1"})
    headers[name] = "1"
    names = sorted(["host", "z", name.lower(), *(n.lower() for n in headers if n.lower().startswith("x-"))])
    authorization = headers["Authorization"].split(", ")
    authorization[1] = f"SignedHeaders={';'.join(names)}"
    headers["Authorization"] = ", ".join(authorization)
    status, result, _ = await send(fake_sagemaker, headers)
    assert (status, f"'{name.lower()}'" in result["message"]) == (403, True), result


async def test_arn_header_of_other_kind_returns_400(either: FakeSageMaker) -> None:
    other = {"x-sm-mlflow-app-arn": APP_ARN, "x-mlflow-sm-tracking-server-arn": TRACKING_SERVER_ARN}
    del other[either.target.header]
    status, result, _ = await send(either, sign(either, headers=other))
    assert (status, next(iter(other)) in result["message"]) == (400, True), result


async def test_other_arn_returns_access_denied(either: FakeSageMaker) -> None:
    headers = sign(either, headers={either.target.header: either.target.arn + "x"})
    status, result, kind = await send(either, headers)
    assert (status, kind) == (403, "AccessDeniedException")
    assert result["message"].startswith("User: arn:aws:sts::000000000000:assumed-role/")
    assert "is not authorized to perform: sagemaker" in result["message"]


async def test_unknown_access_key_returns_403(either: FakeSageMaker) -> None:
    unknown = Credential("ASIAUNKNOWN", "secret", "token", time.time() + 60, "")
    status, result, kind = await send(either, sign(either, credential=unknown))
    assert (status, kind) == (403, "UnrecognizedClientException"), result


async def test_session_token_of_other_credentials_returns_403(fake_sagemaker: FakeSageMaker) -> None:
    first, second = fake_sagemaker.credentials.issue(60), fake_sagemaker.credentials.issue(60)
    mixed = Credential(first.access_key, first.secret_key, second.token, first.expires, "")
    status, result, kind = await send(fake_sagemaker, sign(fake_sagemaker, credential=mixed))
    assert (status, kind) == (403, "UnrecognizedClientException"), result


async def test_expired_token_returns_403(either: FakeSageMaker) -> None:
    status, result, kind = await send(either, sign(either, credential=either.credentials.issue(-1)))
    assert (status, kind) == (403, "ExpiredTokenException")
    assert result == {"message": "The security token included in the request is expired"}


@pytest.mark.parametrize("raw", ["name='a'", "name%3D'a'", "a/b", "a:b", "a+b", "a!b", "a*b", "(a)"])
async def test_query_signed_without_encoding_returns_403(fake_sagemaker: FakeSageMaker, raw: str) -> None:
    target = f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={raw}"
    await assert_mismatch(fake_sagemaker, sign(fake_sagemaker, target), target)


@pytest.mark.parametrize(
    ("sent", "canonical"),
    [
        ("it's", "it%27s"),
        ("a+b", "a%20b"),
        ("a%2bb", "a%2Bb"),
        ("caf%c3%a9", "caf%C3%A9"),
        ("%7Ea", "~a"),
        ("a=b", "a%3Db"),
        ("100%25", "100%25"),
    ],
)
async def test_query_signed_in_canonical_form_is_accepted(
    fake_sagemaker: FakeSageMaker, sent: str, canonical: str
) -> None:
    start = "/api/2.0/mlflow/experiments/get-by-name?experiment_name="
    headers = sign(fake_sagemaker, start + sent, signed_target=start + canonical)
    status, result, _ = await send(fake_sagemaker, headers, start + sent)
    assert (status, result["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST"), result


async def test_repeated_and_empty_query_values_are_sorted(fake_sagemaker: FakeSageMaker) -> None:
    start = "/ajax-api/2.0/mlflow/metrics/get-history-bulk?"
    sent = "run_ids=b&metric_key=&run_ids=a&&flag"
    canonical = "flag=&metric_key=&run_ids=a&run_ids=b"
    headers = sign(fake_sagemaker, start + sent, signed_target=start + canonical)
    status, result, _ = await send(fake_sagemaker, headers, start + sent)
    assert status != 403, result


@pytest.mark.parametrize("path", ["/api//2.0", "/api/./2.0", "/api/../api", "/api/%2e%2e/api", "//api", "/a:b", "/a=b"])
async def test_ambiguous_path_returns_403(fake_sagemaker: FakeSageMaker, path: str) -> None:
    await assert_mismatch(fake_sagemaker, sign(fake_sagemaker, path), path)


@pytest.mark.parametrize("path", ["/a%3Ab", "/a%2Fb", "/a%20b", "/caf%C3%A9", "/a%2Bb", "/a%2525b", "/~a_b-c.d"])
async def test_encoded_path_is_accepted(fake_sagemaker: FakeSageMaker, path: str) -> None:
    target = "/api/2.0/mlflow" + path
    async with open_response(fake_sagemaker, sign(fake_sagemaker, target), target) as response:
        assert response.status == 404  # MLflow's response: the route does not exist


@pytest.mark.parametrize(
    "name",
    ["Cookie", "Origin", "Referer", "Forwarded", "X-Forwarded-For", "x-amzn-oidc-data", "X-Forwarded-Host"],
)
async def test_client_header_returns_400(either: FakeSageMaker, name: str) -> None:
    headers = sign(either)
    headers[name] = "a=b"
    status, result, _ = await send(either, headers)
    assert status == 400
    assert result["message"].startswith(f"The header {name} was forwarded")


async def test_client_host_returns_400(fake_sagemaker: FakeSageMaker) -> None:
    status, result, _ = await send(fake_sagemaker, sign(fake_sagemaker, headers={"Host": "mlflow.example.com"}))
    assert (status, "Host" in result["message"]) == (400, True), result


async def test_body_over_limit_returns_413(fake_sagemaker: FakeSageMaker) -> None:
    body = bytes(64 * 1024 * 1024 + 1)
    headers = sign(fake_sagemaker, CREATE, method="POST", body=body)
    status, _, kind = await send(fake_sagemaker, headers, CREATE, method="POST", body=body)
    assert (status, kind) == (413, "RequestEntityTooLarge")


async def test_requests_are_recorded(fake_sagemaker: FakeSageMaker) -> None:
    await assert_accepted(fake_sagemaker)
    request = fake_sagemaker.recorded_requests[-1]
    assert (request.method, request.target, request.status) == ("GET", SEARCH, 200)
    assert request.headers[fake_sagemaker.target.header] == fake_sagemaker.target.arn
