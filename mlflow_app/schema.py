"""The database's schema: made or upgraded by one instance, however many start together, when that is safe.

MLflow's own upgrade takes no lock, and on MySQL what it does cannot be rolled back: two at once break a database, and
so does one that stops half way.
"""

import contextlib
import hashlib
import logging
import signal
import time
from collections.abc import Generator
from typing import Any, cast

import mlflow
import sqlalchemy
from alembic.script import ScriptDirectory
from mlflow.server.handlers import initialize_backend_stores
from mlflow.store.db import utils as mlflow_db
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from .database_uri import database_uri
from .settings import Settings

log = logging.getLogger(__name__)

_RETRY = 1.0
# How long one call waits for the lock: each one says that there is still somebody before us.
_LOCK_SLICE = 10.0
_SAY_AGAIN = 30.0
# Stands in a database that was empty, until its first schema is complete.
_UNFINISHED = "mlflow_app_unfinished"
_VERSION = "alembic_version"
_UNKNOWN_DATABASE = 1049

_untyped: Any = mlflow_db


class SchemaError(Exception):
    """MLflow cannot be started on this database; the message says why, and what to do."""


def make_ready(settings: Settings, artifact_root: str) -> None:
    """The schema is this MLflow's, and what every database of its holds is there. Raises SchemaError."""
    uri = database_uri(settings)
    # One connection for all: should it break, the lock is lost together with the way to work on without it.
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.StaticPool)
    try:
        _wait_for_database(engine, settings)
        with _lock(engine, settings):
            _make_current(engine, settings)
            # In the lock, since it makes the default experiment.
            initialize_backend_stores(uri, uri, artifact_root)
    except SQLAlchemyError as error:
        raise SchemaError(f"The database {settings.database_name} fails: {_cause(error)}.") from error
    finally:
        engine.dispose()


def _wait_for_database(engine: Engine, settings: Settings) -> None:
    end = time.monotonic() + settings.database_wait
    said, said_at = "", 0.0
    while True:
        try:
            with engine.connect():
                return
        except OperationalError as error:
            problem = _cause(error)
            hint = ""
            if _number(error) == _UNKNOWN_DATABASE:
                hint = f" Create the database {settings.database_name}, or set MLFLOW_APP_DATABASE_NAME."
            if time.monotonic() >= end:
                raise SchemaError(
                    f"The database lets nobody in after {settings.database_wait:g} s: {problem}.{hint}"
                ) from error
            if problem != said or time.monotonic() - said_at > _SAY_AGAIN:
                said, said_at = problem, time.monotonic()
                log.warning("Waiting for the database: %s.%s", problem, hint)
        time.sleep(_RETRY)


@contextlib.contextmanager
def _uninterrupted() -> Generator[None]:
    """Ctrl-C and SIGTERM do nothing in this block: whoever means to end it half way has SIGKILL."""
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextlib.contextmanager
def _lock(engine: Engine, settings: Settings) -> Generator[None]:
    """No other instance is in this block. The lock is the connection's, so it cannot outlive this process."""
    # The server's other databases have names of their own; a lock's name may have 64 characters.
    name = "mlflow-schema-" + hashlib.sha256(settings.database_name.encode()).hexdigest()[:32]
    wait = settings.schema_wait
    end = time.monotonic() + wait
    while not _scalar(engine, "SELECT GET_LOCK(:name, :seconds)", name=name, seconds=min(_LOCK_SLICE, wait)):
        if (wait := end - time.monotonic()) <= 0:
            raise SchemaError(
                f"Another instance has been at work on the schema for {settings.schema_wait:g} s. If it is an upgrade "
                "of a large database, let it finish, or set MLFLOW_APP_SCHEMA_LOCK_TIMEOUT_SECONDS higher."
            )
        log.info("Another instance is at work on the schema: waiting for it")
    try:
        yield
    finally:
        with contextlib.suppress(SQLAlchemyError):
            _scalar(engine, "SELECT RELEASE_LOCK(:name)", name=name)


def _make_current(engine: Engine, settings: Settings) -> None:
    head: str = _untyped._get_latest_schema_revision()
    tables = _tables(engine)
    if not tables or _UNFINISHED in tables:
        _create(engine, tables)
        log.info("The schema of an empty database has been made, at revision %s", head)
        return
    current = _revision(engine, tables, settings)
    if current == head:
        log.info("The schema is current, at revision %s", head)
        return
    if not settings.schema_upgrade:
        raise SchemaError(
            f"The schema is at revision {current}, and MLflow {mlflow.__version__} needs {head}. Back the database up, "
            "then upgrade it: run this image once with the argument `upgrade`, or without "
            "MLFLOW_APP_SCHEMA_UPGRADE=off."
        )
    _refuse_mixed_collations(engine, settings)
    log.info("Upgrading the schema from revision %s to %s", current, head)
    started = time.monotonic()
    try:
        with _uninterrupted():
            _untyped._upgrade_db(engine)
    except Exception as error:
        raise SchemaError(
            f"The upgrade of the schema from revision {current} broke off: {_cause(error)}. MySQL cannot take half an "
            "upgrade back: restore the backup from before it, and put the cause right before the next start."
        ) from error
    log.info("The schema has been upgraded to revision %s in %.1f s", head, time.monotonic() - started)


def _create(engine: Engine, tables: set[str]) -> None:
    """The first schema. One that was not completed is thrown away: nothing can have been stored in it."""
    with engine.begin() as connection:
        if tables:
            log.warning("The first start was cut off before the schema was complete: starting again")
            _drop(connection, tables - {_UNFINISHED})
        connection.execute(text(f"CREATE TABLE IF NOT EXISTS {_UNFINISHED} (since TIMESTAMP DEFAULT NOW())"))
    try:
        _untyped._initialize_tables(engine)
    except SQLAlchemyError as error:
        raise SchemaError(f"The schema cannot be made in the empty database: {_cause(error)}.") from error
    with engine.begin() as connection:
        _drop(connection, {_UNFINISHED})


def _drop(connection: Connection, tables: set[str]) -> None:
    quoted = connection.dialect.identifier_preparer.quote_identifier
    connection.execute(text("SET FOREIGN_KEY_CHECKS = 0"))
    for table in tables:
        connection.execute(text(f"DROP TABLE {quoted(table)}"))
    connection.execute(text("SET FOREIGN_KEY_CHECKS = 1"))


def _revision(engine: Engine, tables: set[str], settings: Settings) -> str:
    """The revision of a schema that this MLflow knows. Raises SchemaError for any other."""
    found: list[str] = []
    if _VERSION in tables:
        with engine.connect() as connection:
            found = [str(row[0]) for row in connection.execute(text(f"SELECT version_num FROM {_VERSION}"))]  # noqa: S608
    if not found:
        some = ", ".join(sorted(tables)[:3])
        raise SchemaError(
            f"The database {settings.database_name} is not empty ({some}, ...), and no MLflow since 1.0 has made what "
            "is there: set MLFLOW_APP_DATABASE_NAME to one of MLflow's, or to an empty one."
        )
    config = _untyped._get_alembic_config("")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if len(found) > 1 or found[0] not in known:
        raise SchemaError(
            f"The schema is at revision {', '.join(found)}, which MLflow {mlflow.__version__} does not know: a newer "
            "MLflow has upgraded it. Run an image with that version, or restore the backup from before the upgrade."
        )
    return found[0]


def _refuse_mixed_collations(engine: Engine, settings: Settings) -> None:
    """MySQL takes no foreign key between texts of two collations, so new tables have to get that of the old ones.

    Raises SchemaError. It is what breaks upgrades from MLflow 2 half way: mlflow/mlflow#17896.
    """
    with engine.connect() as connection:
        default, charset = connection.execute(
            text(
                "SELECT default_collation_name, default_character_set_name FROM information_schema.schemata "
                "WHERE schema_name = DATABASE()"
            )
        ).one()
        rows = connection.execute(
            text(
                "SELECT DISTINCT table_collation FROM information_schema.tables "
                "WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY 1"
            )
        )
        collations = [str(row[0]) for row in rows]
    others = [collation for collation in collations if collation != default]
    if not others:
        return
    if len(collations) == 1:
        remedy = (
            f"ALTER DATABASE `{settings.database_name}` CHARACTER SET {others[0].split('_')[0]} COLLATE {others[0]}"
        )
    else:
        remedy = f"ALTER TABLE ... CONVERT TO CHARACTER SET {charset} COLLATE {default}, for each of the others"
    raise SchemaError(
        f"The schema cannot be upgraded as it is: the database's collation is {default}, and it has tables of "
        f"{', '.join(others)}; MySQL would stop half way, at a foreign key between them. Back the database up, then: "
        f"{remedy}."
    )


def _tables(engine: Engine) -> set[str]:
    return set(sqlalchemy.inspect(engine).get_table_names())


def _scalar(engine: Engine, statement: str, **values: object) -> Any:
    with engine.connect() as connection:
        return connection.execute(text(statement), values).scalar()


def _number(error: BaseException) -> int:
    """MySQL's error number; 0 if there is none."""
    arguments = getattr(getattr(error, "orig", None), "args", ())
    return cast("int", arguments[0]) if arguments and isinstance(arguments[0], int) else 0


def _cause(error: BaseException) -> str:
    """What the database itself said, on one line."""
    arguments = getattr(getattr(error, "orig", None), "args", ())
    said = str(arguments[-1]) if arguments else str(error)
    return said.strip().splitlines()[0].rstrip(".") if said.strip() else type(error).__name__
