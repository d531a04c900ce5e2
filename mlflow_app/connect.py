"""How SQLAlchemy logs in: with the password of the moment, encrypted if there is an authority to believe.

SQLAlchemy asks here for each connection, so a password that changes needs no restart: connections that there are go on,
and a new one that is refused takes the secret's latest version.
https://docs.sqlalchemy.org/en/21/core/engines.html#generating-dynamic-authentication-tokens
"""

import logging
from collections.abc import Callable
from typing import Any

import pymysql
import sqlalchemy.event
from sqlalchemy.engine import Engine

from . import tls
from .password import Password, PasswordError, password_of
from .settings import Settings

log = logging.getLogger(__name__)

_ACCESS_DENIED = 1045
# In the range that MySQL leaves to others: MLflow answers 503 to a caller then, which clients try again.
_NO_PASSWORD = 50_000


def log_in_as(settings: Settings) -> None:
    """Every engine of this process logs in so from now on, MLflow's too."""
    sqlalchemy.event.listen(Engine, "do_connect", connector(settings, password_of(settings)))


def connector(settings: Settings, password: Password) -> Callable[..., Any]:
    """What SQLAlchemy calls for a connection: its event do_connect."""
    encrypted = {"ssl": tls.trusting(settings.database_ca)} if settings.database_ca else {}

    def connect(dialect: Any, _: object, arguments: list[Any], options: dict[str, Any]) -> Any:
        if dialect.name != "mysql":
            return None
        return _connection(password, dialect.loaded_dbapi, arguments, {**options, **encrypted})

    return connect


def _connection(password: Password, driver: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    try:
        shown = password.current()
        while True:
            try:
                # In bytes: from a text PyMySQL would make Latin-1.
                return driver.connect(*arguments, **{**options, "password": shown})
            except pymysql.err.OperationalError as error:
                if error.args[0] != _ACCESS_DENIED or (other := password.other_than(shown)) is None:
                    raise
                log.info("The database refuses the password, and the secret has another one by now: taking that")
                shown = other
    except PasswordError as error:
        raise pymysql.err.OperationalError(_NO_PASSWORD, f"No password for the database: {error}") from error
