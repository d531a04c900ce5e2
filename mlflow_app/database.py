"""The database's URI, and the connections of SQLAlchemy: to a Cloud SQL instance, with the current password.

SQLAlchemy calls the listener for each new connection, so a changed password needs no restart: existing connections stay
open, and a new one whose password is rejected uses the secret's latest version.
https://docs.sqlalchemy.org/en/21/core/engines.html#generating-dynamic-authentication-tokens
"""

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pymysql
import sqlalchemy.event
from sqlalchemy.engine import Engine

from .cloud_sql import CloudSql
from .password import PasswordError, PasswordSource, password_source
from .settings import Settings

log = logging.getLogger(__name__)

ACCESS_DENIED = 1045
# Outside MySQL's own range. MLflow maps an OperationalError to 503, which clients retry.
_NO_PASSWORD = 50_000

Connect = Callable[..., Any]
"""Takes PyMySQL's options and returns a connection."""


def database_uri(settings: Settings) -> str:
    """The URI for SQLAlchemy, mysql+pymysql://..., with every part escaped and without the password."""
    user, name = quote(settings.database_user, safe=""), quote(settings.database_name, safe="")
    return f"mysql+pymysql://{user}@{settings.database_address or ''}/{name}?charset=utf8mb4"


def configure_login(settings: Settings) -> CloudSql | None:
    """Make the connections of every SQLAlchemy engine in this process, including MLflow's.

    Returns the instance, to close it before a fork; None for another server.
    """
    instance = CloudSql(settings) if settings.database_instance else None
    connect = instance.connect if instance else pymysql.connect
    password = None if settings.database_iam_login else password_source(settings)
    sqlalchemy.event.listen(Engine, "do_connect", connection_listener(connect, password))
    return instance


def connection_listener(connect: Connect, password: PasswordSource | None) -> Callable[..., Any]:
    """A listener for SQLAlchemy's event do_connect."""

    def do_connect(dialect: Any, _: object, __: object, options: dict[str, Any]) -> Any:
        if dialect.name != "mysql":
            return None
        return connect(**options) if password is None else _connect(connect, password, options)

    return do_connect


def _connect(connect: Connect, password: PasswordSource, options: dict[str, Any]) -> Any:
    try:
        current = password.current()
        while True:
            try:
                # As bytes: PyMySQL encodes a str as Latin-1.
                return connect(**{**options, "password": current})
            except pymysql.err.OperationalError as error:
                if error.args[0] != ACCESS_DENIED or (newer := password.newer_than(current)) is None:
                    raise
                log.info("The database rejected the password; retrying with the secret's latest version")
                current = newer
    except PasswordError as error:
        raise pymysql.err.OperationalError(_NO_PASSWORD, f"No database password: {error}") from error
