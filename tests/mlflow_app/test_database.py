"""The database's URI and login."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from mlflow_app.database import database_uri
from mlflow_app.password import PasswordError
from mlflow_app.settings import Settings
from proxy_app.setting_values import Address
from tests.mlflow_app.backends import Backends
from tests.mlflow_app.login import log_in

# The first test downloads MySQL.
pytestmark = pytest.mark.timeout(300)

# Surrogates cannot be encoded, and an environment variable has no NUL.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(user=TEXT, name=TEXT)
def test_uri_of_an_instance_round_trips(user: str, name: str) -> None:
    uri = database_uri(Settings(database_user=user, database_name=name, database_instance="p:r1:i"))
    _, options = driver_arguments(uri)
    assert (options["user"], options["database"], options["charset"]) == (user, name, "utf8mb4")
    assert "password" not in options


@given(
    user=TEXT, name=TEXT, host=st.sampled_from(["10.0.0.1", "db.example.org", "fd00::1"]), port=st.integers(1, 65535)
)
def test_uri_with_address_round_trips(user: str, name: str, host: str, port: int) -> None:
    uri = database_uri(Settings(database_user=user, database_name=name, database_address=Address(host, port)))
    _, options = driver_arguments(uri)
    assert (options["user"], options["database"]) == (user, name)
    assert (options["host"], options["port"]) == (host, port)


def driver_arguments(uri: str) -> tuple[Any, dict[str, Any]]:
    """The arguments that SQLAlchemy passes to PyMySQL."""
    url = make_url(uri)
    untyped: Any = url.get_dialect()()
    return untyped.create_connect_args(url)


@pytest.mark.parametrize("connection", ["instance", "address"])
def test_names_and_passwords_may_have_any_characters(backends: Backends, connection: str) -> None:
    changes = backends.by_address() if connection == "address" else {}
    database = backends.server.database(
        f"ml/flow `{connection}` %_ü?#", f"an@n:{connection} 'é\"", "p@ss:w/ö?r#d% \\'\"日本 "
    )
    assert log_in(backends, backends.settings(database, **changes)) == database.name


def test_wrong_password_raises_error(backends: Backends) -> None:
    database = backends.server.database()
    with pytest.raises(OperationalError, match="Access denied"):
        log_in(backends, backends.settings(database, MLFLOW_APP_DATABASE_PASSWORD="wrong"))


class Unreadable:
    """A secret without permission to read it."""

    def current(self) -> bytes:
        raise PasswordError("403 Permission denied")

    def newer_than(self, rejected: bytes) -> bytes | None:
        return None


def test_unreadable_secret_is_an_operational_error(backends: Backends) -> None:
    """MLflow maps it to 503, which clients retry."""
    with pytest.raises(OperationalError, match="No database password: 403 Permission denied"):
        log_in(backends, backends.settings(backends.server.database()), Unreadable())
