"""The password from Secret Manager: read once, read again when it is refused, and what is said when it cannot be."""

from collections.abc import Generator

import pytest
from google.auth.exceptions import DefaultCredentialsError

from mlflow_app import password as module
from mlflow_app.password import GivenPassword, PasswordError, SecretPassword
from tests.doubles import secret_manager
from tests.doubles.secret_manager import PROJECT, SecretManager


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Generator[SecretManager]:
    """With the secret `password`."""
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    with secret_manager.running() as server:
        server.secrets["password"] = [b"first"]
        yield server


def password(manager: SecretManager, name: str = "password", version: str = "latest") -> SecretPassword:
    return SecretPassword(manager.url, f"projects/{PROJECT}/secrets/{name}/versions/{version}", manager.new_token)


def test_it_is_read_once_and_kept(manager: SecretManager) -> None:
    read = password(manager)
    assert [read.current(), read.current()] == [b"first", b"first"]
    assert manager.reads == [("password", "latest")]


def test_when_it_is_refused_the_latest_version_is_read(manager: SecretManager) -> None:
    read = password(manager)
    assert read.current() == b"first"
    manager.secrets["password"].append(b"second")
    assert read.current() == b"first"
    assert read.other_than(b"first") == b"second"
    assert read.current() == b"second"


def test_who_was_refused_with_one_from_before_gets_the_known_one_without_a_read(manager: SecretManager) -> None:
    read = password(manager)
    manager.secrets["password"].append(b"second")
    assert read.current() == b"second"
    assert read.other_than(b"first") == b"second"
    assert len(manager.reads) == 1


def test_there_is_none_while_the_secret_stays_the_same(manager: SecretManager, monkeypatch: pytest.MonkeyPatch) -> None:
    read = password(manager)
    assert read.other_than(read.current()) is None
    assert len(manager.reads) == 2
    # And for a while nobody asks again.
    monkeypatch.setattr(module, "_PAUSE", 60.0)
    assert read.other_than(read.current()) is None
    assert len(manager.reads) == 2


def test_a_version_that_is_held_on_to_stays(manager: SecretManager) -> None:
    manager.secrets["password"].append(b"second")
    assert password(manager, version="1").current() == b"first"


@pytest.mark.parametrize(
    ("stored", "meant"), [(b"a b \n", b"a b "), (b"x\r\n", b"x"), (b"x\n\n", b"x\n"), ("ö".encode(), "ö".encode())]
)
def test_the_end_of_a_line_is_no_part_of_it(manager: SecretManager, stored: bytes, meant: bytes) -> None:
    manager.secrets["password"].append(stored)
    assert password(manager).current() == meant


def test_what_google_says_of_a_missing_permission_is_passed_on(manager: SecretManager) -> None:
    manager.forbidden.add("password")
    with pytest.raises(PasswordError, match=r"/secrets/password/versions/latest cannot be read: 403 Permission '"):
        password(manager).current()
    with pytest.raises(PasswordError, match=r"404 Secret Version .* not found"):
        password(manager, "nowhere").current()


def test_a_damaged_one_is_not_taken(manager: SecretManager) -> None:
    manager.damaged.add("password")
    with pytest.raises(PasswordError, match="damaged on its way"):
        password(manager).current()


def test_an_answer_of_somebody_elses_is_not_taken(manager: SecretManager) -> None:
    with pytest.raises(PasswordError, match="404 no such method"):
        SecretPassword(manager.url, "elsewhere", manager.new_token).current()


def test_a_token_that_is_not_googles_is_refused(manager: SecretManager) -> None:
    with pytest.raises(PasswordError, match="401 Request had invalid authentication credentials"):
        SecretPassword(manager.url, f"projects/{PROJECT}/secrets/password/versions/1", lambda: "ya29.other").current()


def test_a_machine_without_an_account_at_google_says_so(manager: SecretManager) -> None:
    def nobody() -> str:
        raise DefaultCredentialsError("Your default credentials were not found.")

    with pytest.raises(PasswordError, match="cannot be read: Your default credentials were not found"):
        SecretPassword(manager.url, f"projects/{PROJECT}/secrets/password/versions/1", nobody).current()


def test_a_given_one_has_no_other() -> None:
    given = GivenPassword("ö")
    assert given.current() == "ö".encode()
    assert given.other_than("ö".encode()) is None
