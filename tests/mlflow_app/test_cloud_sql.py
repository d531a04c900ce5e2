"""Connections to a Cloud SQL instance: certificates, logins, errors."""

import contextlib
import dataclasses
import datetime
import gc
import logging
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.exceptions import RefreshError
from sqlalchemy.exc import OperationalError

from local.fake_sagemaker import Authority
from mlflow_app import cloud_sql
from mlflow_app.cloud_sql import CloudSql
from mlflow_app.settings import Settings
from tests.doubles.cloud_sql import CloudSql as Instance
from tests.doubles.mysql import Database
from tests.doubles.secret_manager import ACCOUNT, PROJECT
from tests.mlflow_app.backends import Backends
from tests.mlflow_app.login import AccountCredentials, log_in, select_database, settings_from

# The first test downloads MySQL.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def database(backends: Backends) -> Database:
    return backends.server.database()


@dataclasses.dataclass(frozen=True)
class Client:
    """One connector, as a process of MLflow has it."""

    settings: Settings
    cloud_sql: CloudSql

    def select_database(self) -> str:
        """Log in on a new connection; returns the name of the selected database."""
        return select_database(self.settings, self.cloud_sql)


@contextlib.contextmanager
def client(backends: Backends, database: Database, **changes: str) -> Generator[Client]:
    settings = settings_from(backends.settings(database, **changes))
    own = CloudSql(settings, AccountCredentials(backends.secrets))
    try:
        yield Client(settings, own)
    finally:
        own.close()


@pytest.mark.parametrize("options", [[], ["--tls-version="]], ids=["MySQL with TLS", "MySQL without TLS"])
def test_login_with_cold_and_warm_password_cache(backends: Backends, database: Database, options: list[str]) -> None:
    """MySQL 8.4 has caching_sha2_password by default: a restart empties its cache; TLS ends at Cloud SQL's proxy."""
    plugin = "SELECT plugin FROM mysql.user WHERE user = %s"
    assert backends.server.execute(plugin, (database.user,)) == [("caching_sha2_password",)]
    backends.server.stop()
    backends.server.start(*options)
    try:
        with client(backends, database) as own:
            assert [own.select_database() for _ in ("cold", "warm")] == [database.name] * 2
        new = backends.server.change_password(database, "another password")
        assert log_in(backends, backends.settings(new)) == database.name
    finally:
        backends.server.stop()
        backends.server.start()


def test_one_certificate_serves_many_connections(backends: Backends, database: Database) -> None:
    used = len(backends.instance.used)
    with client(backends, database) as own:
        for _ in range(3):
            own.select_database()
    assert len(backends.instance.used) == used + 3
    assert len(set(backends.instance.used[used:])) == 1


def test_expired_certificate_is_replaced(backends: Backends, database: Database) -> None:
    backends.instance.lifetime = 1
    try:
        with client(backends, database) as own:
            own.select_database()
            first = backends.instance.used[-1]
            wait_for_expiry(backends.instance, first)
            assert own.select_database() == database.name
            assert backends.instance.used[-1] != first
    finally:
        backends.instance.lifetime = 3600


def wait_for_expiry(instance: Instance, serial: int) -> None:
    left = instance.issued[serial].expires - datetime.datetime.now(datetime.UTC)
    # Certificates have whole seconds.
    time.sleep(max(left.total_seconds(), 0) + 1)


@pytest.mark.parametrize("lifetime", [None, -30, 60], ids=["no certificate", "expired", "valid"])
def test_double_admits_valid_certificates_only(backends: Backends, lifetime: float | None) -> None:
    """Otherwise the tests above would show nothing."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    context = ssl.create_default_context(cadata=backends.instance.ca_pem)
    context.check_hostname = False
    if lifetime is not None:
        backends.instance.lifetime = lifetime
        pem = backends.instance.issue(key.public_key(), login=False)
        backends.instance.lifetime = 3600
        load(context, key, pem)
    with socket.create_connection((backends.instance.addresses["PRIMARY"], 3307), 10) as plain:
        refused = pytest.raises((ssl.SSLError, ConnectionError)) if lifetime != 60 else contextlib.nullcontext()
        with refused, context.wrap_socket(plain) as encrypted:
            # With TLS 1.3, the client learns of a refusal when it reads.
            if not encrypted.recv(1):
                raise ConnectionError


def load(context: ssl.SSLContext, key: rsa.RSAPrivateKey, certificate: str) -> None:
    with tempfile.NamedTemporaryFile("w") as file:
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write(pem.decode() + certificate)
        file.flush()
        context.load_cert_chain(file.name)


@pytest.mark.parametrize(("ip_type", "kind"), [("public", "PRIMARY"), ("private", "PRIVATE")])
def test_address_of_the_configured_type_is_used(
    backends: Backends, database: Database, monkeypatch: pytest.MonkeyPatch, ip_type: str, kind: str
) -> None:
    # Nothing listens at the other one.
    addresses = dict.fromkeys(backends.instance.addresses, "127.0.0.1") | {kind: backends.instance.addresses[kind]}
    monkeypatch.setattr(backends.instance, "addresses", addresses)
    assert log_in(backends, backends.settings(database, MLFLOW_APP_DATABASE_IP_TYPE=ip_type)) == database.name


def test_closed_connector_has_no_threads_and_starts_again(backends: Backends, database: Database) -> None:
    """MLflow's server connects, closes and forks."""
    threads = threading.active_count()
    with client(backends, database) as own:
        connection = own.cloud_sql.connect(user=database.user, password=database.password, database=database.name)
        assert threading.active_count() > threads
        own.cloud_sql.close()
        assert threading.active_count() == threads
        connection.ping(reconnect=False)
        connection.close()
        assert own.select_database() == database.name


def iam(**changes: str) -> dict[str, str]:
    return {
        "MLFLOW_APP_DATABASE_IAM_LOGIN": "on",
        "MLFLOW_APP_DATABASE_PASSWORD": "",
        "MLFLOW_APP_DATABASE_USER": ACCOUNT.partition("@")[0],
        **changes,
    }


def test_iam_login_needs_no_password(backends: Backends, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.instance.iam_users, ACCOUNT.partition("@")[0], database)
    with client(backends, database, **iam()) as own:
        assert own.select_database() == database.name
    assert backends.instance.issued[backends.instance.used[-1]].login


def test_iam_login_gets_a_new_token_before_the_last_expires(
    backends: Backends, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate has the token, whose lifetime may be shorter."""
    monkeypatch.setitem(backends.instance.iam_users, ACCOUNT.partition("@")[0], database)
    monkeypatch.setattr(backends.secrets, "token_lifetime", 60)
    with client(backends, database, **iam()) as own:
        own.select_database()
        first = backends.instance.used[-1]
        own.select_database()
    assert backends.instance.used[-1] != first


def test_iam_login_without_a_database_user_is_refused(backends: Backends, database: Database) -> None:
    with client(backends, database, **iam()) as own, pytest.raises(OperationalError, match="Access denied"):
        own.select_database()


def other_ca() -> str:
    with tempfile.TemporaryDirectory() as folder:
        return Authority.create(Path(folder)).ca_file.read_text()


@pytest.mark.parametrize(
    ("attribute", "value", "changes", "message"),
    [
        ("fault", "disabled", {}, "gcloud services enable sqladmin.googleapis.com"),
        ("fault", "no role", {}, "Grant roles/cloudsql.client on the project to this container's service account"),
        ("fault", "", {"MLFLOW_APP_DATABASE_INSTANCE": f"{PROJECT}:europe-west1:x"}, "MLFLOW_APP_DATABASE_INSTANCE"),
        ("fault", "", {"MLFLOW_APP_DATABASE_INSTANCE": f"{PROJECT}:europe-west4:mlflow"}, "names a wrong region"),
        ("addresses", {"PRIMARY": "127.0.0.1"}, {"MLFLOW_APP_DATABASE_IP_TYPE": "private"}, "has no private address"),
        ("addresses", {"PRIMARY": "127.0.0.1"}, {}, "refused"),
        ("url", "", {"MLFLOW_APP_SQL_ADMIN_URL": "http://127.0.0.1:1"}, "no response from the Cloud SQL Admin API"),
        ("ca_pem", other_ca, {}, "TLS with its public address failed: .*certificate verify failed"),
    ],
    ids=["API disabled", "no role", "no instance", "region", "no address", "refused", "no API", "another CA"],
)
def test_error_names_the_remedy_and_is_an_operational_error(
    backends: Backends,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    attribute: str,
    value: object,
    changes: dict[str, str],
    message: str,
) -> None:
    """MLflow maps it to 503, which clients retry."""
    value = value() if callable(value) else value
    if value:
        monkeypatch.setattr(backends.instance, attribute, value)
    with client(backends, database, **changes) as own:
        with pytest.raises(OperationalError, match=message) as raised:
            own.select_database()
        assert "\n" not in str(raised.value.orig)
        assert not any(token in str(raised.value) for token in backends.secrets.tokens)
        monkeypatch.undo()
        # It is tried again with each connection.
        if not changes:
            assert own.select_database() == database.name


def test_failed_requests_log_no_access_token(
    backends: Backends, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio logs the error of a cancelled task that is not awaited; aiohttp's contains the request's headers."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(backends.instance, "fault", "no role")
    with client(backends, database) as own:
        with contextlib.suppress(OperationalError):
            own.select_database()
        gc.collect()
    assert "Task exception was never retrieved" in caplog.text
    assert not any(token in caplog.text for token in backends.secrets.tokens)


def test_missing_credentials_are_an_operational_error(
    backends: Backends, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RefreshError("no metadata server")

    monkeypatch.setattr(AccountCredentials, "refresh", refuse)
    with pytest.raises(OperationalError, match="no access token of this container's Google account"):
        log_in(backends, backends.settings(database))


def test_hanging_address_is_given_up_and_tried_again(
    backends: Backends, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_sql, "_SOCKET_TIMEOUT", 0.5)
    with silent_listener() as address, client(backends, database) as own:
        monkeypatch.setattr(backends.instance, "addresses", {"PRIMARY": address})
        began = time.monotonic()
        with pytest.raises(OperationalError, match="its public address does not answer"):
            own.select_database()
        assert time.monotonic() - began < 10
        monkeypatch.undo()
        assert own.select_database() == database.name


def test_hanging_api_is_given_up(backends: Backends, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_sql, "_TIMEOUT", 1)
    with (
        silent_listener(port=0) as address,
        client(backends, database, MLFLOW_APP_SQL_ADMIN_URL=f"http://{address}") as own,
    ):
        with pytest.raises(OperationalError, match="has answered within 1 s"):
            own.select_database()
        monkeypatch.undo()


@contextlib.contextmanager
def silent_listener(port: int = 3307) -> Generator[str]:
    """The address of a listener that answers nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1" if port == 0 else "127.255.0.9", port))
        listener.listen()
        host, own = listener.getsockname()
        yield host if port else f"{host}:{own}"
