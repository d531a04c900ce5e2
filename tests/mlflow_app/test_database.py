"""The database's URI and login."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, make_url
from sqlalchemy.exc import OperationalError

from local.fake_sagemaker import Authority
from mlflow_app.database import connection_listener, database_uri
from mlflow_app.password import PasswordError, PasswordSource, password_source
from mlflow_app.settings import Settings
from proxy_app.setting_values import Address
from tests.mlflow_app.backends import Backends

# Surrogates cannot be encoded, and an environment variable has no NUL.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(user=TEXT, name=TEXT, socket=TEXT)
def test_uri_with_socket_round_trips(user: str, name: str, socket: str) -> None:
    uri = database_uri(Settings(database_user=user, database_name=name, database_socket="/" + socket))
    _, options = driver_arguments(uri)
    assert options["user"] == user
    assert options["database"] == name
    assert options["unix_socket"] == "/" + socket
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


def log_in(environ: dict[str, str], password: PasswordSource | None = None) -> str:
    """Log in; returns the name of the selected database."""
    settings = Settings.from_env({name: text for name, text in environ.items() if name.startswith("MLFLOW_APP_")})
    engine = sqlalchemy.create_engine(database_uri(settings))
    event.listen(engine, "do_connect", connection_listener(settings, password or password_source(settings)))
    try:
        with engine.connect() as connection:
            return str(connection.scalar(sqlalchemy.text("SELECT DATABASE()")))
    finally:
        engine.dispose()


@pytest.mark.parametrize("connection", ["socket", "address"])
def test_names_and_passwords_may_have_any_characters(backends: Backends, connection: str) -> None:
    changes = backends.over_tcp() if connection == "address" else {}
    database = backends.server.database(
        f"ml/flow `{connection}` %_ü?#", f"an@n:{connection} 'é\"", "p@ss:w/ö?r#d% \\'\"日本 "
    )
    assert log_in(backends.settings(database, **changes)) == database.name


def test_wrong_password_raises_error(backends: Backends) -> None:
    database = backends.server.database()
    with pytest.raises(OperationalError, match="Access denied"):
        log_in(backends.settings(database, MLFLOW_APP_DATABASE_PASSWORD="wrong"))


class Unreadable:
    """A secret without permission to read it."""

    def current(self) -> bytes:
        raise PasswordError("403 Permission denied")

    def newer_than(self, rejected: bytes) -> bytes | None:
        return None


def test_unreadable_secret_is_an_operational_error(backends: Backends) -> None:
    """MLflow maps it to 503, which clients retry."""
    with pytest.raises(OperationalError, match="No database password: 403 Permission denied"):
        log_in(backends.settings(backends.server.database()), Unreadable())


def test_ca_certificate_requires_tls_and_verifies_the_server(backends: Backends, tmp_path: Path) -> None:
    trusted, untrusted = Authority.create(tmp_path / "trusted"), Authority.create(tmp_path / "untrusted")
    both = tmp_path / "trusted" / "fake-sagemaker.pem"  # the server's key and certificate
    database = backends.server.database()
    backends.server.execute("ALTER USER %s@'%%' REQUIRE SSL", (database.user,))
    plain = backends.settings(database, **backends.over_tcp())
    backends.server.stop()
    backends.server.start(f"--ssl-cert={both}", f"--ssl-key={both}")
    try:
        # Encrypted, but the server is not verified.
        assert log_in(plain) == database.name
        assert log_in({**plain, "MLFLOW_APP_DATABASE_CA_PEM": trusted.ca_file.read_text()}) == database.name
        in_one_line = trusted.ca_file.read_text().replace("\n", "\\n")
        assert log_in({**plain, "MLFLOW_APP_DATABASE_CA_PEM": in_one_line}) == database.name
        with pytest.raises(OperationalError, match="certificate verify failed"):
            log_in({**plain, "MLFLOW_APP_DATABASE_CA_PEM": untrusted.ca_file.read_text()})
    finally:
        backends.server.stop()
        backends.server.start()
