"""Signatures of this process's service account: kinds of credentials, tokens, failures, and their time."""

import dataclasses
import json
import socket
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from google.auth.credentials import Signing

from mlflow_app import artifacts, signing
from mlflow_app.signing import ServiceAccount, SigningError
from tests.doubles import iam_credentials
from tests.doubles.google.accounts import JOB, Accounts, Clock, Key
from tests.doubles.iam_credentials import IamCredentials
from tests.doubles.secret_manager import ACCOUNT, SecretManager

CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS"


@pytest.fixture
def iam(secrets: SecretManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[IamCredentials]:
    """The API; this process's account is that of the fake metadata server."""
    monkeypatch.delenv(CREDENTIALS, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in secrets.environ.items():
        monkeypatch.setenv(name, value)
    # google-auth reads its variables on import.
    for name in ("_GCE_METADATA_HOST", "_GCE_DEFAULT_MDS_IP"):
        monkeypatch.setattr(f"google.auth.compute_engine._metadata.{name}", secrets.environ["GCE_METADATA_HOST"])
    with iam_credentials.running(secrets) as iam:
        yield iam


def sign(account: ServiceAccount, message: bytes = b"text") -> bytes:
    credentials: Any = account.signing()
    return credentials.sign_bytes(message)


def test_signature_is_that_of_the_accounts_key(iam: IamCredentials) -> None:
    account = ServiceAccount(iam.url)
    credentials: Any = account.signing()
    assert credentials.signer_email == ACCOUNT
    # generate_signed_url requires it.
    assert isinstance(credentials, Signing)
    iam.key.public_key().verify(sign(account, b"\x00\xff"), b"\x00\xff", padding.PKCS1v15(), hashes.SHA256())


def test_token_is_fetched_again_before_it_expires(
    iam: IamCredentials, secrets: SecretManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = ServiceAccount(iam.url)
    sign(account)
    sign(account)
    assert len(set(iam.signed)) == 1
    # google-auth counts a token as expired 225 s early.
    monkeypatch.setattr(secrets, "token_lifetime", 200)
    account = ServiceAccount(iam.url)
    sign(account)
    sign(account)
    assert len(set(iam.signed)) == 3


def test_private_key_signs_without_iam(iam: IamCredentials, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = Key.new()
    file = tmp_path / "key.json"
    file.write_text(json.dumps(Accounts(Clock(), key, key).key_file(JOB)))
    monkeypatch.setenv(CREDENTIALS, str(file))
    signature = sign(ServiceAccount(iam.url))
    key.private.public_key().verify(signature, b"text", padding.PKCS1v15(), hashes.SHA256())
    assert iam.signed == []


def test_user_credentials_cannot_sign(iam: IamCredentials, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "user.json"
    user = {"type": "authorized_user", "client_id": "1", "client_secret": "2", "refresh_token": "3"}
    file.write_text(json.dumps(user))
    monkeypatch.setenv(CREDENTIALS, str(file))

    def refresh(credentials: Any, request: Any) -> None:
        pass

    monkeypatch.setattr("google.oauth2.credentials.Credentials.refresh", refresh)
    with pytest.raises(SigningError, match="not those of a service account"):
        sign(ServiceAccount(iam.url))


def test_missing_credentials_are_an_error(iam: IamCredentials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CREDENTIALS, "no-such-file.json")
    with pytest.raises(SigningError, match=r"No access token: .*no-such-file\.json"):
        sign(ServiceAccount(iam.url))


def test_error_has_reason_and_role_but_no_token(iam: IamCredentials) -> None:
    iam.allowed = False
    with pytest.raises(SigningError) as caught:
        sign(ServiceAccount(iam.url))
    assert "403 Permission 'iam.serviceAccounts.signBlob' denied" in str(caught.value)
    assert f"signBlob for {ACCOUNT}" in str(caught.value)
    assert "roles/iam.serviceAccountTokenCreator on itself" in str(caught.value)
    assert not any(token in str(caught.value) for token in iam.metadata.tokens)


def test_failing_api_is_tried_three_times(iam: IamCredentials) -> None:
    account = ServiceAccount(iam.url)
    iam.faults[:] = [503, 429]
    sign(account)
    iam.faults[:] = [500] * 4
    with pytest.raises(SigningError) as caught:
        sign(account)
    assert len(iam.faults) == 1
    assert "roles/" not in str(caught.value)


def test_silent_api_is_given_up(iam: IamCredentials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        account = ServiceAccount(f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(SigningError, match="timed out"):
            sign(account)
        assert time.monotonic() - began < 5


@dataclasses.dataclass
class SlowBlob:
    """A signature takes `seconds`."""

    seconds: float

    def generate_signed_url(self, **_: object) -> str:
        time.sleep(self.seconds)
        return "https://storage.googleapis.com/"


def test_time_for_all_parts_is_limited(iam: IamCredentials, monkeypatch: pytest.MonkeyPatch) -> None:
    untyped: Any = artifacts
    credentials = ServiceAccount(iam.url).signing()
    began = time.monotonic()
    # Sixteen at a time.
    assert len(untyped._part_urls(credentials, SlowBlob(0.1), "id", 64)) == 64
    assert time.monotonic() - began < 2
    monkeypatch.setattr(artifacts, "_SIGNING_SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(SigningError, match=r"1000 parts were not signed within 0\.3 s"):
        untyped._part_urls(credentials, SlowBlob(0.1), "id", 1000)
    assert time.monotonic() - began < 2
