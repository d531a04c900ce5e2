"""The database's URI, and SQLAlchemy's login with the current password.

SQLAlchemy calls the listener for each new connection, so a changed password needs no restart: existing connections stay
open, and a new one whose password is rejected uses the secret's latest version.
https://docs.sqlalchemy.org/en/21/core/engines.html#generating-dynamic-authentication-tokens
"""

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pymysql
import sqlalchemy.event
from sqlalchemy.engine import Engine

from . import tls
from .password import PasswordError, PasswordSource, password_source
from .settings import Settings

log = logging.getLogger(__name__)

_ACCESS_DENIED = 1045
# Outside MySQL's own range. MLflow maps an OperationalError to 503, which clients retry.
_NO_PASSWORD = 50_000


def database_uri(settings: Settings) -> str:
    """The URI for SQLAlchemy, mysql+pymysql://..., with every part escaped and without the password."""
    user, name = quote(settings.database_user, safe=""), quote(settings.database_name, safe="")
    address = str(settings.database_address or "")
    query = {"charset": "utf8mb4"}
    if settings.database_socket:
        query["unix_socket"] = settings.database_socket
    return f"mysql+pymysql://{user}@{address}/{name}?{urlencode(query, quote_via=quote, safe='')}"


def configure_login(settings: Settings) -> None:
    """Add the password and TLS to the connections of every SQLAlchemy engine in this process, including MLflow's."""
    sqlalchemy.event.listen(Engine, "do_connect", connection_listener(settings, password_source(settings)))


def connection_listener(settings: Settings, password: PasswordSource) -> Callable[..., Any]:
    """A listener for SQLAlchemy's event do_connect."""
    tls_options = {"ssl": tls.create_ssl_context(settings.database_ca_pem)} if settings.database_ca_pem else {}

    def connect(dialect: Any, _: object, arguments: list[Any], options: dict[str, Any]) -> Any:
        if dialect.name != "mysql":
            return None
        return _connect(password, dialect.loaded_dbapi, arguments, {**options, **tls_options})

    return connect


def _connect(password: PasswordSource, driver: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    try:
        current = password.current()
        while True:
            try:
                # As bytes: PyMySQL encodes a str as Latin-1.
                return driver.connect(*arguments, **{**options, "password": current})
            except pymysql.err.OperationalError as error:
                if error.args[0] != _ACCESS_DENIED or (newer := password.newer_than(current)) is None:
                    raise
                log.info("The database rejected the password; retrying with the secret's latest version")
                current = newer
    except PasswordError as error:
        raise pymysql.err.OperationalError(_NO_PASSWORD, f"No database password: {error}") from error
