"""The standard AWS chain for real: botocore asks, and strict doubles of AWS's endpoints answer."""

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
    StsRefusing,
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


def lives_for_about(loaded: Loaded, seconds: float) -> bool:
    return loaded.expires is not None and abs(loaded.expires - time.time() - seconds) < 60


# --- Where keys come from


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    source = aws_chain()
    assert source() == Loaded(KEYS, None)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    assert source() == Loaded(Credentials("AKIDENV", SECRET, TOKEN), None), "each call asks anew"


def test_a_profile_of_the_credentials_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home / ".aws" / "credentials"
    file.write_text(
        f"[default]\naws_access_key_id=A\naws_secret_access_key=B\n[team]\naws_access_key_id=AKIDENV\n"
        f"aws_secret_access_key={SECRET}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "team")
    source = aws_chain()
    assert source() == Loaded(KEYS, None)
    file.write_text(file.read_text().replace("AKIDENV", "AKIDNEW"))
    assert source().credentials.access_key == "AKIDNEW", "an edited file is read again"


def test_a_process_of_the_config_file(home: Path) -> None:
    script = home / "keys.py"
    given = {"Version": 1, "AccessKeyId": "AKIDENV", "SecretAccessKey": SECRET, "Expiration": "2099-01-01T00:00:00Z"}
    script.write_text(f"print({json.dumps(given)!r})")
    (home / ".aws" / "config").write_text(f"[default]\ncredential_process = {sys.executable} {script}\n")
    assert aws_chain()() == Loaded(KEYS, 4070908800.0)


def test_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(ContainerEndpoint()) as endpoint:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{endpoint.url}/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "task-token")
        loaded = aws_chain()()
    assert loaded.credentials == Credentials("AKIDDOUBLE", SECRET, TOKEN)
    assert lives_for_about(loaded, 3600)
    assert len(endpoint.seen) == 1


def test_a_task_of_ecs(monkeypatch: pytest.MonkeyPatch) -> None:
    # All that ECS tells a task; where the agent listens (169.254.170.2) is in botocore.
    with serving(TaskEndpoint()) as agent:
        monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.IP_ADDRESS", agent.url.removeprefix("http://"))
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", agent.PATH)
        source = aws_chain()
        first, second = source(), source()
    assert first.credentials == Credentials("ASIATASK1", SECRET, TOKEN)
    assert second.credentials.access_key == "ASIATASK2", "each call asks anew"
    assert lives_for_about(second, 6 * 3600)


def test_keys_near_their_end_are_taken_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nearer than botocore likes; they hold all the same, and the keeper looks again soon.
    with serving(ContainerEndpoint(json.dumps(keys(life=300)))) as endpoint:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{endpoint.url}/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "task-token")
        assert lives_for_about(aws_chain()(), 300)


def test_an_instance_by_the_second_version_of_its_metadata_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with serving(InstanceMetadata()) as endpoint:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.url)
        loaded = aws_chain()()
    assert loaded.credentials == Credentials("AKIDDOUBLE", SECRET, TOKEN)
    assert lives_for_about(loaded, 3600)
    assert [received.method for received in endpoint.seen] == ["PUT", "GET", "GET"]


def test_a_role_that_the_proxy_is_told_to_assume(sts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts)
    first, second = aws_chain(ROLE, REGION)(), aws_chain(ROLE, REGION)()
    assert lives_for_about(first, 3600)
    assert first.credentials.token
    assert first.credentials != second.credentials, "each call asks anew"
    assert whose(first.credentials) == "arn:aws:sts::123456789012:assumed-role/mlflow/mlflow-proxy"


def test_a_role_of_a_profile(sts: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".aws" / "config").write_text(
        f"[profile base]\naws_access_key_id=AKIDENV\naws_secret_access_key={SECRET}\n"
        f"[profile team]\nrole_arn={ROLE}\nsource_profile=base\nrole_session_name=me\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "team")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts)
    loaded = aws_chain(region=REGION)()
    assert lives_for_about(loaded, 3600)
    assert whose(loaded.credentials) == "arn:aws:sts::123456789012:assumed-role/mlflow/me"


def test_a_web_identity(sts: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "token").write_text("web-identity-token")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_ROLE_SESSION_NAME", "pod")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts)
    loaded = aws_chain(region=REGION)()
    assert lives_for_about(loaded, 3600)
    assert whose(loaded.credentials) == "arn:aws:sts::123456789012:assumed-role/mlflow/pod"


def whose(credentials: Credentials) -> str:
    """What STS says about the keys."""
    client: Any = botocore.session.Session().create_client(
        "sts",
        region_name=REGION,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.token,
    )
    return client.get_caller_identity()["Arn"]


def signed_in(home: Path, expires: str) -> None:
    """What `aws sso login` leaves behind."""
    (home / ".aws" / "config").write_text(
        "[default]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = MLflow\n"
        "[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://corp.awsapps.example/start\n"
    )
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    token = {"accessToken": "sso-token", "expiresAt": expires, "region": REGION}
    (cache / f"{sha1(b'corp').hexdigest()}.json").write_text(json.dumps(token))


def test_single_sign_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signed_in(home, "2099-01-01T00:00:00Z")
    with serving(SsoPortal()) as portal:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", portal.url)
        loaded = aws_chain(region=REGION)()
    assert loaded.credentials == Credentials("AKIDDOUBLE", SECRET, TOKEN)
    assert lives_for_about(loaded, 3600)
    assert len(portal.seen) == 1


# --- What goes wrong

ReadError = Callable[[Path, pytest.MonkeyPatch], None]


def nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pass


def half_an_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")


def an_empty_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".aws" / "credentials").write_text(f"[default]\naws_access_key_id=\naws_secret_access_key={SECRET}\n")


def a_garbled_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".aws" / "credentials").write_text(f"aws_secret_access_key={SECRET}\n")


def a_missing_profile(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "team")


def a_process_that_prints_no_json(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".aws" / "config").write_text(f"[default]\ncredential_process = echo {SECRET}\n")


def a_session_that_is_over(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signed_in(home, "2020-01-01T00:00:00Z")


WORDS: dict[ReadError, str] = {
    nothing: "the standard chain (environment, profile, SSO, container, instance role) is empty",
    half_an_environment: "AWS_SECRET_ACCESS_KEY",
    an_empty_key: "an access key or its secret is empty",
    a_garbled_file: "Unable to parse config file",
    a_missing_profile: "The config profile (team) could not be found",
    a_process_that_prints_no_json: "could not be loaded",
    a_session_that_is_over: "has expired",
}


@pytest.mark.parametrize("broken", WORDS, ids=lambda broken: broken.__name__)
def test_an_error_says_what_is_missing_and_no_secret(
    broken: ReadError, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    broken(home, monkeypatch)
    with pytest.raises(CredentialsError) as failed:
        aws_chain(region=REGION)()
    assert WORDS[broken] in str(failed.value)
    assert "AWS credentials" in str(failed.value)
    assert SECRET not in f"{failed.value} {caplog.text}"


@pytest.mark.parametrize(
    ("status", "said"),
    [(200, f'{{"SecretAccessKey": "{SECRET}"}}'), (200, SECRET), (500, "out of order"), (403, "who are you")],
    ids=["incomplete", "no-json", "fault", "refused"],
)
def test_a_container_endpoint_out_of_order_is_an_error_without_its_secrets(
    status: int, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with serving(ContainerEndpoint(said, status)) as endpoint:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{endpoint.url}/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "task-token")
        with pytest.raises(CredentialsError, match="could not be loaded") as failed:
            aws_chain()()
    assert SECRET not in f"{failed.value} {caplog.text}"
    assert "task-token" not in f"{failed.value} {caplog.text}"


def test_a_role_that_may_not_be_assumed_is_said_in_stss_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with serving(StsRefusing()) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint.url)
        with pytest.raises(CredentialsError, match="is not authorized to perform: sts:AssumeRole") as failed:
            aws_chain(ROLE, REGION)()
    assert len(endpoint.seen) == 1
    assert f"RoleArn={ROLE.replace(':', '%3A').replace('/', '%2F')}".encode() in endpoint.seen[0].body
    assert SECRET not in str(failed.value)
