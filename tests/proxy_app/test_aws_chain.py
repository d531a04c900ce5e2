"""The standard AWS credential chain: botocore with strict fakes of AWS's endpoints."""

import json
import logging
import sys
import time
from collections.abc import Callable, Generator
from hashlib import sha1
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from proxy_app.credentials import CredentialsError, Loaded, aws_chain
from proxy_app.sigv4 import Credentials
from tests.doubles.aws_endpoints import (
    SECRET,
    TOKEN,
    ContainerEndpoint,
    InstanceMetadata,
    SsoPortal,
    StsDenyingAccess,
    TaskEndpoint,
    keys,
    serving,
)
from tests.doubles.aws_home import empty_aws_home, moto_server

ROLE = "arn:aws:iam::123456789012:role/mlflow"
REGION = "eu-west-1"
KEYS = Credentials("AKIDENV", SECRET)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    empty_aws_home(tmp_path, monkeypatch)
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    return tmp_path


@pytest.fixture(scope="module")
def sts() -> Generator[str]:
    with moto_server() as origin:
        yield origin


def expires_in_about(loaded: Loaded, seconds: float) -> bool:
    return loaded.expires is not None and abs(loaded.expires - time.time() - seconds) < 60


# --- Sources


def test_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    source = aws_chain()
    assert source() == Loaded(KEYS, None)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    assert source() == Loaded(Credentials("AKIDENV", SECRET, TOKEN), None), "each call loads the credentials again"


def test_profile_of_the_credentials_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home / ".aws" / "credentials"
    file.write_text(
        f"[default]\naws_access_key_id=A\naws_secret_access_key=B\n[team]\naws_access_key_id=AKIDENV\n"
        f"aws_secret_access_key={SECRET}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "team")
    source = aws_chain()
    assert source() == Loaded(KEYS, None)
    file.write_text(file.read_text().replace("AKIDENV", "AKIDNEW"))
    assert source().credentials.access_key == "AKIDNEW", "each call reads the file again"


def test_credential_process(home: Path) -> None:
    script = home / "keys.py"
    output = {"Version": 1, "AccessKeyId": "AKIDENV", "SecretAccessKey": SECRET, "Expiration": "2099-01-01T00:00:00Z"}
    script.write_text(f"print({json.dumps(output)!r})")
    (home / ".aws" / "config").write_text(f"[default]\ncredential_process = {sys.executable} {script}\n")
    assert aws_chain()() == Loaded(KEYS, 4070908800.0)


def test_container_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(ContainerEndpoint()) as endpoint:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{endpoint.url}/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "task-token")
        loaded = aws_chain()()
    assert loaded.credentials == Credentials("AKIDDOUBLE", SECRET, TOKEN)
    assert expires_in_about(loaded, 3600)
    assert len(endpoint.requests) == 1


def test_ecs_task(monkeypatch: pytest.MonkeyPatch) -> None:
    # ECS sets only the relative URI; botocore has the agent's address (169.254.170.2).
    with serving(TaskEndpoint()) as agent:
        monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.IP_ADDRESS", agent.url.removeprefix("http://"))
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", agent.PATH)
        source = aws_chain()
        first, second = source(), source()
    assert first.credentials == Credentials("ASIATASK1", SECRET, TOKEN)
    assert second.credentials.access_key == "ASIATASK2", "each call loads the credentials again"
    assert expires_in_about(second, 6 * 3600)


def test_credentials_about_to_expire_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    # botocore would refresh them before use; they are still valid, and the keeper reloads them soon.
    with serving(ContainerEndpoint(json.dumps(keys(lifetime=300)))) as endpoint:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{endpoint.url}/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "task-token")
        assert expires_in_about(aws_chain()(), 300)


def test_instance_metadata_service_version_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with serving(InstanceMetadata()) as endpoint:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.url)
        loaded = aws_chain()()
    assert loaded.credentials == Credentials("AKIDDOUBLE", SECRET, TOKEN)
    assert expires_in_about(loaded, 3600)
    assert [received.method for received in endpoint.requests] == ["PUT", "GET", "GET"]


def test_configured_role_is_assumed(sts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts)
    first, second = aws_chain(ROLE, REGION)(), aws_chain(ROLE, REGION)()
    assert expires_in_about(first, 3600)
    assert first.credentials.token
    assert first.credentials != second.credentials, "each call loads the credentials again"
    assert identity_arn(first.credentials) == "arn:aws:sts::123456789012:assumed-role/mlflow/mlflow-proxy"


def test_role_of_a_profile_is_assumed(sts: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".aws" / "config").write_text(
        f"[profile base]\naws_access_key_id=AKIDENV\naws_secret_access_key={SECRET}\n"
        f"[profile team]\nrole_arn={ROLE}\nsource_profile=base\nrole_session_name=me\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "team")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts)
    loaded = aws_chain(region=REGION)()
    assert expires_in_about(loaded, 3600)
    assert identity_arn(loaded.credentials) == "arn:aws:sts::123456789012:assumed-role/mlflow/me"


def test_web_identity(sts: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "token").write_text("web-identity-token")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_ROLE_SESSION_NAME", "pod")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts)
    loaded = aws_chain(region=REGION)()
    assert expires_in_about(loaded, 3600)
    assert identity_arn(loaded.credentials) == "arn:aws:sts::123456789012:assumed-role/mlflow/pod"


def identity_arn(credentials: Credentials) -> str:
    """The ARN that STS returns for the credentials."""
    client: Any = botocore.session.Session().create_client(
        "sts",
        region_name=REGION,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.token,
    )
    return client.get_caller_identity()["Arn"]


def write_sso_session(home: Path, expires: str) -> None:
    """Write the files that `aws sso login` writes."""
    (home / ".aws" / "config").write_text(
        "[default]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = MLflow\n"
        "[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://corp.awsapps.example/start\n"
    )
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    token = {"accessToken": "sso-token", "expiresAt": expires, "region": REGION}
    (cache / f"{sha1(b'corp').hexdigest()}.json").write_text(json.dumps(token))


def test_sso_session(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sso_session(home, "2099-01-01T00:00:00Z")
    with serving(SsoPortal()) as portal:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", portal.url)
        loaded = aws_chain(region=REGION)()
    assert loaded.credentials == Credentials("AKIDDOUBLE", SECRET, TOKEN)
    assert expires_in_about(loaded, 3600)
    assert len(portal.requests) == 1


# --- Errors

Setup = Callable[[Path, pytest.MonkeyPatch], None]


def no_source(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pass


def access_key_without_secret(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")


def empty_access_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".aws" / "credentials").write_text(f"[default]\naws_access_key_id=\naws_secret_access_key={SECRET}\n")


def malformed_credentials_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".aws" / "credentials").write_text(f"aws_secret_access_key={SECRET}\n")


def missing_profile(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "team")


def credential_process_without_json(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".aws" / "config").write_text(f"[default]\ncredential_process = echo {SECRET}\n")


def expired_sso_session(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sso_session(home, "2020-01-01T00:00:00Z")


EXPECTED_MESSAGES: dict[Setup, str] = {
    no_source: "the standard chain (environment, profile, SSO, container, instance role) is empty",
    access_key_without_secret: "AWS_SECRET_ACCESS_KEY",
    empty_access_key: "an access key or its secret is empty",
    malformed_credentials_file: "Unable to parse config file",
    missing_profile: "The config profile (team) could not be found",
    credential_process_without_json: "could not be loaded",
    expired_sso_session: "has expired",
}


@pytest.mark.parametrize("setup", EXPECTED_MESSAGES, ids=lambda setup: setup.__name__)
def test_error_names_the_cause_and_no_secret(
    setup: Setup, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    setup(home, monkeypatch)
    with pytest.raises(CredentialsError) as failed:
        aws_chain(region=REGION)()
    assert EXPECTED_MESSAGES[setup] in str(failed.value)
    assert "AWS credentials" in str(failed.value)
    assert SECRET not in f"{failed.value} {caplog.text}"


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, f'{{"SecretAccessKey": "{SECRET}"}}'), (200, SECRET), (500, "internal error"), (403, "forbidden")],
    ids=["incomplete", "not JSON", "500", "403"],
)
def test_error_of_the_container_endpoint_contains_no_secret(
    status: int, body: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with serving(ContainerEndpoint(body, status)) as endpoint:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{endpoint.url}/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "task-token")
        with pytest.raises(CredentialsError, match="could not be loaded") as failed:
            aws_chain()()
    assert SECRET not in f"{failed.value} {caplog.text}"
    assert "task-token" not in f"{failed.value} {caplog.text}"


def test_denied_role_raises_an_error_with_the_message_of_sts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with serving(StsDenyingAccess()) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint.url)
        with pytest.raises(CredentialsError, match="is not authorized to perform: sts:AssumeRole") as failed:
            aws_chain(ROLE, REGION)()
    assert len(endpoint.requests) == 1
    assert f"RoleArn={ROLE.replace(':', '%3A').replace('/', '%2F')}".encode() in endpoint.requests[0].body
    assert SECRET not in str(failed.value)
