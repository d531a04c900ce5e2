"""`check URL` reports each kind of problem with a remedy and an exit code."""

import json

import pytest

from mlflow_iap import IapAuth
from mlflow_iap.check import CheckError, ExitCode, check
from tests.doubles.google.accounts import ANN, DESKTOP_CLIENT, IAP_CLIENT, JOB, OTHER_CLIENT, Key
from tests.doubles.google.http import Response
from tests.doubles.google.world import HOST, OTHER_HOST, UNTRUSTED, URL, World

CREATE = "/api/2.0/mlflow-artifacts/mpu/create/mlflow-iap-check"
ABORT = "/api/2.0/mlflow-artifacts/mpu/abort/mlflow-iap-check"


@pytest.fixture(autouse=True)
def _token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setup without problems."""
    monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", str(world.file("job.json", world.accounts.key_file(JOB))))
    monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", IAP_CLIENT)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URL)
    part = {"url": "https://storage.googleapis.com/bucket/mlflow-iap-check?X-Goog-Signature=00", "part_number": 1}
    world.iap.responses[CREATE] = Response.of_json({"upload_id": "first", "credentials": [part]})
    world.iap.responses[ABORT] = Response.of_json({})


def outcome(world: World, url: str = URL, ahead: float = 0) -> tuple[ExitCode, str]:
    """(exit code, report); this machine's clock is `ahead` of Google's by the given number of seconds."""
    lines: list[str] = []

    def now() -> float:
        return world.clock.now() + ahead

    try:
        check(url, IapAuth(now=now, sleep=lambda _: None), lambda step, result: lines.append(f"{step}: {result}"), now)
    except CheckError as error:
        return error.code, "\n".join([*lines, f"{error.step}: {error}"])
    return ExitCode.OK, "\n".join(lines)


def test_every_step_is_reported_on_success(world: World) -> None:
    code, report = outcome(world)
    assert code == ExitCode.OK
    assert report.splitlines() == [
        f"connection: {HOST} responds",
        f"IAP: is on, with the OAuth client {IAP_CLIENT}",
        f"token: from the key {world.folder}/job.json, of {JOB}, valid for 60 minutes",
        f"access: IAP allows {JOB}, and MLflow responds",
        "uploads: large files go to storage.googleapis.com in parts",
    ]


def test_upload_is_aborted_whatever_becomes_of_its_part(world: World) -> None:
    for response in (world.part_response, Response(403, b"<Code>SignatureDoesNotMatch</Code>")):
        world.part_response = response
        world.iap.passed.clear()
        code, report = outcome(world)
        assert code == (ExitCode.OK if response.status == 200 else ExitCode.UPLOADS)
        assert [request.path for request in world.iap.passed[-2:]] == [CREATE, ABORT]
        assert json.loads(world.iap.passed[-1].body)["upload_id"] == "first"
    assert "storage.googleapis.com, which responds 403: <Code>SignatureDoesNotMatch</Code>" in report


def test_cloud_storage_is_unreachable(world: World) -> None:
    del world.internet.sites["storage.googleapis.com"]
    code, report = outcome(world)
    assert code == ExitCode.UPLOADS
    assert "Parts are sent to storage.googleapis.com. No connection" in report
    assert "X-Goog" not in report
    assert world.iap.passed[-1].path == ABORT
    world.internet.unexpected_hosts.clear()


def test_server_that_takes_no_parts(world: World) -> None:
    world.iap.responses[CREATE] = Response.of_json({"message": "Multipart upload is not supported"}, 501)
    code, report = outcome(world)
    assert code == ExitCode.UPLOADS
    assert "roles/iam.serviceAccountTokenCreator on itself" in report


def test_uploads_of_a_viewer_are_not_checked(world: World) -> None:
    world.iap.responses[CREATE] = Response.of_json({"message": "needs the role editor"}, 403)
    code, report = outcome(world)
    assert code == ExitCode.OK
    assert 'uploads: not checked: the server responds 403: {"message": "needs the role editor"}' in report


def test_variable_that_prevents_uploads_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "524288000")
    code, report = outcome(world)
    assert code == ExitCode.SETTINGS
    assert "Set MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE to 16000000, or remove it: it is 524288000." in report
    monkeypatch.setenv("MLFLOW_IAP_MAX_REQUEST_BYTES", "0")
    assert outcome(world)[0] == ExitCode.OK


def test_account_without_access(world: World) -> None:
    world.iap.members = {ANN}
    code, report = outcome(world)
    assert code == ExitCode.NOT_A_MEMBER
    assert f"IAP authenticates {JOB} and denies access" in report
    assert "roles/iap.httpsResourceAccessor" in report


def test_wrong_audience(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", OTHER_CLIENT)
    code, report = outcome(world)
    assert code == ExitCode.AUDIENCE
    assert f"The token's audience is {OTHER_CLIENT}: set MLFLOW_IAP_AUDIENCE={IAP_CLIENT}." in report


def test_url_audience_of_another_host(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_HOSTS", HOST)
    for audience in (f"https://{OTHER_HOST}/*", f"https://{HOST}/", f"https://{HOST}"):
        monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", audience)
        code, report = outcome(world)
        assert code == ExitCode.AUDIENCE
        assert f"The token's audience is {audience}: set MLFLOW_IAP_AUDIENCE=https://{HOST}/*." in report


def test_missing_audience_shows_client_id_of_sign_in_redirect(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", "")
    code, report = outcome(world)
    assert code == ExitCode.SETTINGS
    assert "settings: MLFLOW_IAP_AUDIENCE is not set" in report
    assert f"IAP's OAuth client id at this URL is {IAP_CLIENT}." in report


def test_programmatic_client_is_accepted_if_iap_accepts_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", DESKTOP_CLIENT)
    assert outcome(world)[0] == ExitCode.AUDIENCE
    world.iap.programmatic_clients.add(DESKTOP_CLIENT)
    assert outcome(world)[0] == ExitCode.OK


def test_deleted_key(world: World) -> None:
    world.token_endpoint.deleted_keys.add(world.accounts.key_of[JOB].id)
    code, report = outcome(world)
    assert code == ExitCode.NO_TOKEN
    assert "The key was deleted or has expired: create a new one" in report


def test_deleted_key_that_signs_tokens_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", f"https://{HOST}/*")
    assert outcome(world)[0] == ExitCode.OK
    world.accounts.key_of[JOB] = Key.new()
    code, report = outcome(world)
    assert code == ExitCode.TOKEN_REJECTED
    assert "JWT signature is invalid The key that signed it was deleted or has expired." in report


def test_wrong_clock(world: World) -> None:
    for ahead, expected in ((900, "15 minutes ahead"), (-900, "15 minutes behind")):
        code, report = outcome(world, ahead=ahead)
        assert code == ExitCode.CLOCK
        assert f"clock is {expected}: set it" in report


def test_clock_skew_of_45_seconds_is_accepted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", f"https://{HOST}/*")
    for ahead in (45, -45):
        assert outcome(world, ahead=ahead)[0] == ExitCode.OK


def test_expired_token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_IAP_KEY_FILE")
    monkeypatch.setenv("MLFLOW_IAP_TOKEN", world.accounts.id_token(IAP_CLIENT, JOB))
    assert outcome(world)[0] == ExitCode.OK
    world.clock.forward(hours=2)
    code, report = outcome(world)
    assert code == ExitCode.CLOCK
    assert "The IAP token expired at" in report


def test_token_that_iap_calls_expired(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.accounts.lifetime = 200
    token = world.accounts.id_token(IAP_CLIENT, JOB)
    monkeypatch.delenv("MLFLOW_IAP_KEY_FILE")
    monkeypatch.setenv("MLFLOW_IAP_TOKEN", token)
    # Less than the skew that is reported as a wrong clock.
    world.clock.forward(minutes=235 / 60)
    code, report = outcome(world, ahead=-230)
    assert code == ExitCode.CLOCK
    assert "IAP's message: OpenID Connect token expired: JWT has expired" in report


def test_token_without_email(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_IAP_KEY_FILE")
    monkeypatch.setenv("MLFLOW_IAP_TOKEN", world.accounts.id_token(IAP_CLIENT, JOB, with_email=False))
    code, report = outcome(world)
    assert code == ExitCode.TOKEN_REJECTED
    assert "The token has no claim `email`, which IAP requires" in report


def test_iap_is_off(world: World) -> None:
    world.iap.on = False
    code, report = outcome(world)
    assert code == ExitCode.NO_IAP
    assert "is 200, not from IAP. IAP is off for this service" in report
    assert all("eyJ" not in str(request.headers) for request in world.internet.requests_to(HOST))


def test_failing_server_behind_iap(world: World) -> None:
    for response in (Response(503, b"no instance"), Response(403, b'{"message": "viewer"}'), Response(200, b"<html>")):
        world.iap.application_response = response
        code, report = outcome(world)
        assert code == ExitCode.BACKEND
        assert (
            f"IAP allows {JOB}, and the server behind it responds {response.status}: {response.body.decode()}" in report
        )


def test_host_that_is_not_configured(world: World) -> None:
    code, report = outcome(world, f"https://{OTHER_HOST}")
    assert code == ExitCode.SETTINGS
    assert f"No token is sent to {OTHER_HOST}: MLFLOW_IAP_HOSTS or MLFLOW_TRACKING_URI is {HOST}." in report


def test_plain_http_url_and_invalid_url(world: World) -> None:
    assert outcome(world, f"http://{HOST}") == (
        ExitCode.SETTINGS,
        f"settings: No token is sent to {HOST} over http://: use https:// in MLFLOW_TRACKING_URI.",
    )
    assert outcome(world, "mlflow")[0] == ExitCode.SETTINGS


def test_untrusted_certificate(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_HOSTS", UNTRUSTED)
    code, report = outcome(world, f"https://{UNTRUSTED}")
    assert code == ExitCode.UNREACHABLE
    assert "TLS failed" in report
    assert "set REQUESTS_CA_BUNDLE" in report


def test_unknown_host_name_and_closed_port(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setenv("MLFLOW_IAP_HOSTS", "no-such-host.invalid, localhost:9")
    code, report = outcome(world, "https://no-such-host.invalid")
    assert code == ExitCode.UNREACHABLE
    assert "The host name does not resolve" in report
    code, report = outcome(world, "https://localhost:9")
    assert code == ExitCode.UNREACHABLE
    assert "No connection" in report


def test_unreachable_host_and_missing_credentials_are_reported_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setenv("MLFLOW_IAP_HOSTS", "no-such-host.invalid")
    monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", "no-such-key.json")
    code, report = outcome(world, "https://no-such-host.invalid")
    assert code == ExitCode.UNREACHABLE
    assert "does not resolve" in report
    assert "no-such-key.json" in report
