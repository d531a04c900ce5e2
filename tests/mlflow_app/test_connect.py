"""The way to the database: what its URI says, and how a connection logs in."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, make_url
from sqlalchemy.exc import OperationalError

from local.fake_sagemaker import Authority
from mlflow_app.connect import connector
from mlflow_app.database_uri import database_uri
from mlflow_app.password import Password, PasswordError, password_of
from mlflow_app.settings import Settings
from proxy_app.setting_values import Address
from tests.mlflow_app.place import Place

# Surrogates are no text, and NUL is in no environment.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(user=TEXT, name=TEXT, socket=TEXT)
def test_a_uri_says_of_a_socket_what_it_was_given(user: str, name: str, socket: str) -> None:
    uri = database_uri(Settings(database_user=user, database_name=name, database_socket="/" + socket))
    _, options = driver_arguments(uri)
    assert options["user"] == user
    assert options["database"] == name
    assert options["unix_socket"] == "/" + socket
    assert "password" not in options


@given(
    user=TEXT, name=TEXT, host=st.sampled_from(["10.0.0.1", "db.example.org", "fd00::1"]), port=st.integers(1, 65535)
)
def test_a_uri_says_of_an_address_what_it_was_given(user: str, name: str, host: str, port: int) -> None:
    uri = database_uri(Settings(database_user=user, database_name=name, database_address=Address(host, port)))
    _, options = driver_arguments(uri)
    assert (options["user"], options["database"]) == (user, name)
    assert (options["host"], options["port"]) == (host, port)


def driver_arguments(uri: str) -> tuple[Any, dict[str, Any]]:
    """What PyMySQL is called with."""
    url = make_url(uri)
    untyped: Any = url.get_dialect()()
    return untyped.create_connect_args(url)


def log_in(environ: dict[str, str], password: Password | None = None) -> str:
    """The name of the database that one gets into."""
    settings = Settings.from_env({name: text for name, text in environ.items() if name.startswith("MLFLOW_APP_")})
    engine = sqlalchemy.create_engine(database_uri(settings))
    event.listen(engine, "do_connect", connector(settings, password or password_of(settings)))
    try:
        with engine.connect() as connection:
            return str(connection.scalar(sqlalchemy.text("SELECT DATABASE()")))
    finally:
        engine.dispose()


@pytest.mark.parametrize("way", ["socket", "address"])
def test_names_and_passwords_of_any_letters_get_in(place: Place, way: str) -> None:
    changes = place.by_address() if way == "address" else {}
    database = place.server.database(f"ml/flow `{way}` %_ü?#", f"an@n:{way} 'é\"", "p@ss:w/ö?r#d% \\'\"日本 ")
    assert log_in(place.settings(database, **changes)) == database.name


def test_a_wrong_password_stays_wrong(place: Place) -> None:
    database = place.server.database()
    with pytest.raises(OperationalError, match="Access denied"):
        log_in(place.settings(database, MLFLOW_APP_DATABASE_PASSWORD="wrong"))


class Unreadable:
    """A secret that this process may not read."""

    def current(self) -> bytes:
        raise PasswordError("403 Permission denied")

    def other_than(self, refused: bytes) -> bytes | None:
        return None


def test_a_secret_that_cannot_be_read_is_a_failure_of_the_database(place: Place) -> None:
    """So MLflow answers 503, and clients try again."""
    with pytest.raises(OperationalError, match="No password for the database: 403 Permission denied"):
        log_in(place.settings(place.server.database()), Unreadable())


def test_with_an_authority_a_connection_is_encrypted_and_the_server_is_known(place: Place, tmp_path: Path) -> None:
    ours, stranger = Authority.create(tmp_path / "ours"), Authority.create(tmp_path / "stranger")
    both = tmp_path / "ours" / "fake-sagemaker.pem"  # the server's key and certificate
    database = place.server.database()
    place.server.execute("ALTER USER %s@'%%' REQUIRE SSL", (database.user,))
    plain = place.settings(database, **place.by_address())
    place.server.stop()
    place.server.start(f"--ssl-cert={both}", f"--ssl-key={both}")
    try:
        # Encrypted, too, but to anybody.
        assert log_in(plain) == database.name
        assert log_in({**plain, "MLFLOW_APP_DATABASE_CA_PEM": ours.ca_file.read_text()}) == database.name
        in_one_line = ours.ca_file.read_text().replace("\n", "\\n")
        assert log_in({**plain, "MLFLOW_APP_DATABASE_CA_PEM": in_one_line}) == database.name
        with pytest.raises(OperationalError, match="certificate verify failed"):
            log_in({**plain, "MLFLOW_APP_DATABASE_CA_PEM": stranger.ca_file.read_text()})
    finally:
        place.server.stop()
        place.server.start()
