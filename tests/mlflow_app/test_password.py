"""The password from Secret Manager: read once, read again after a rejection, and errors."""

from collections.abc import Generator

import pytest
from google.auth.exceptions import DefaultCredentialsError

from mlflow_app import password as module
from mlflow_app.password import PasswordError, SecretPassword, StaticPassword
from tests.doubles import secret_manager
from tests.doubles.secret_manager import PROJECT, SecretManager


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Generator[SecretManager]:
    """A fake Secret Manager with the secret `password`."""
    monkeypatch.setattr(module, "_MIN_REFRESH_INTERVAL_SECONDS", 0.0)
    with secret_manager.running() as server:
        server.secrets["password"] = [b"first"]
        yield server


def password(manager: SecretManager, name: str = "password", version: str = "latest") -> SecretPassword:
    return SecretPassword(manager.url, f"projects/{PROJECT}/secrets/{name}/versions/{version}", manager.new_token)


def test_secret_is_read_once(manager: SecretManager) -> None:
    read = password(manager)
    assert [read.current(), read.current()] == [b"first", b"first"]
    assert manager.reads == [("password", "latest")]


def test_latest_version_is_read_after_rejection(manager: SecretManager) -> None:
    read = password(manager)
    assert read.current() == b"first"
    manager.secrets["password"].append(b"second")
    assert read.current() == b"first"
    assert read.newer_than(b"first") == b"second"
    assert read.current() == b"second"


def test_known_newer_password_needs_no_read(manager: SecretManager) -> None:
    read = password(manager)
    manager.secrets["password"].append(b"second")
    assert read.current() == b"second"
    assert read.newer_than(b"first") == b"second"
    assert len(manager.reads) == 1


def test_unchanged_secret_gives_no_newer_password(manager: SecretManager, monkeypatch: pytest.MonkeyPatch) -> None:
    read = password(manager)
    assert read.newer_than(read.current()) is None
    assert len(manager.reads) == 2
    # The secret is not read again within the interval.
    monkeypatch.setattr(module, "_MIN_REFRESH_INTERVAL_SECONDS", 60.0)
    assert read.newer_than(read.current()) is None
    assert len(manager.reads) == 2


def test_pinned_version_is_read(manager: SecretManager) -> None:
    manager.secrets["password"].append(b"second")
    assert password(manager, version="1").current() == b"first"


@pytest.mark.parametrize(
    ("stored", "expected"), [(b"a b \n", b"a b "), (b"x\r\n", b"x"), (b"x\n\n", b"x\n"), ("ö".encode(), "ö".encode())]
)
def test_trailing_newline_is_removed(manager: SecretManager, stored: bytes, expected: bytes) -> None:
    manager.secrets["password"].append(stored)
    assert password(manager).current() == expected


def test_error_has_googles_message(manager: SecretManager) -> None:
    manager.forbidden.add("password")
    with pytest.raises(PasswordError, match=r"/secrets/password/versions/latest failed: 403 Permission '"):
        password(manager).current()
    with pytest.raises(PasswordError, match=r"404 Secret Version .* not found"):
        password(manager, "nowhere").current()


def test_wrong_checksum_raises_error(manager: SecretManager) -> None:
    manager.damaged.add("password")
    with pytest.raises(PasswordError, match="the checksum does not match"):
        password(manager).current()


def test_response_of_another_service_raises_error(manager: SecretManager) -> None:
    with pytest.raises(PasswordError, match="404 no such method"):
        SecretPassword(manager.url, "unknown", manager.new_token).current()


def test_invalid_access_token_raises_error(manager: SecretManager) -> None:
    with pytest.raises(PasswordError, match="401 Request had invalid authentication credentials"):
        SecretPassword(manager.url, f"projects/{PROJECT}/secrets/password/versions/1", lambda: "ya29.other").current()


def test_missing_google_credentials_raise_error(manager: SecretManager) -> None:
    def no_credentials() -> str:
        raise DefaultCredentialsError("Your default credentials were not found.")

    with pytest.raises(PasswordError, match="failed: Your default credentials were not found"):
        SecretPassword(manager.url, f"projects/{PROJECT}/secrets/password/versions/1", no_credentials).current()


def test_static_password_has_no_newer_one() -> None:
    password = StaticPassword("ö")
    assert password.current() == "ö".encode()
    assert password.newer_than("ö".encode()) is None
