"""A login to the database as SQLAlchemy makes it, in this process."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Literal

import pymysql
import sqlalchemy
from google.auth.credentials import Credentials, Scoped
from sqlalchemy import event

from mlflow_app.cloud_sql import CloudSql
from mlflow_app.database import connection_listener, database_uri
from mlflow_app.password import PasswordSource, password_source
from mlflow_app.settings import Settings
from tests.doubles.secret_manager import SecretManager
from tests.mlflow_app.backends import Backends


class AccountCredentials(Scoped, Credentials):
    """The credentials of a VM: google-auth reads the address of the metadata server at import, which is too early."""

    def __init__(self, accounts: SecretManager, scopes: Sequence[str] = ()) -> None:
        super().__init__()
        self._accounts = accounts
        self._own_scopes = scopes

    @property
    def requires_scopes(self) -> Literal[False]:
        return False

    def with_scopes(self, scopes: Sequence[str], default_scopes: Sequence[str] | None = None) -> "AccountCredentials":
        return AccountCredentials(self._accounts, scopes)

    def refresh(self, request: object) -> None:
        self.token = self._accounts.new_token(*self._own_scopes)
        lifetime = datetime.timedelta(seconds=self._accounts.token_lifetime)
        # google-auth's times have no time zone.
        self.expiry = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + lifetime


def settings_from(environ: Mapping[str, str]) -> Settings:
    """The image's settings, without the other variables."""
    return Settings.from_env({name: text for name, text in environ.items() if name.startswith("MLFLOW_APP_")})


def log_in(backends: Backends, environ: Mapping[str, str], password: PasswordSource | None = None) -> str:
    """Log in on a new connection, with a new connector; returns the name of the selected database."""
    settings = settings_from(environ)
    instance = CloudSql(settings, AccountCredentials(backends.secrets)) if settings.database_instance else None
    try:
        return select_database(settings, instance, password)
    finally:
        if instance:
            instance.close()


def select_database(settings: Settings, instance: CloudSql | None, password: PasswordSource | None = None) -> str:
    """Log in on a new connection; returns the name of the selected database."""
    if not settings.database_iam_login:
        password = password or password_source(settings)
    engine = sqlalchemy.create_engine(database_uri(settings))
    listener = connection_listener(instance.connect if instance else pymysql.connect, password)
    event.listen(engine, "do_connect", listener)
    try:
        with engine.connect() as connection:
            return str(connection.scalar(sqlalchemy.text("SELECT DATABASE()")))
    finally:
        engine.dispose()
