"""Creates or upgrades the database's schema: one instance at a time, and only if that is safe.

MLflow's own upgrade takes no lock, and MySQL cannot roll it back: two concurrent upgrades break a database, and so does
one that is interrupted.
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

from .database import ACCESS_DENIED, database_uri
from .settings import Settings

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
# The timeout of one GET_LOCK call: a message is logged after each.
_LOCK_CALL_SECONDS = 10.0
_LOG_INTERVAL_SECONDS = 30.0
# A table that marks a database whose first schema is not complete.
_UNFINISHED = "mlflow_app_unfinished"
_VERSION_TABLE = "alembic_version"
_UNKNOWN_DATABASE = 1049

_untyped: Any = mlflow_db


class SchemaError(Exception):
    """MLflow cannot start with this database; the message contains the reason and the remedy."""


def prepare_database(settings: Settings, artifact_root: str) -> None:
    """Create or upgrade the schema, and create MLflow's default experiment. Raises SchemaError."""
    uri = database_uri(settings)
    # One connection for everything: if it breaks, the lock is released, and the work cannot continue without it.
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.StaticPool)
    try:
        _wait_for_database(engine, settings)
        with _lock(engine, settings):
            _make_current(engine, settings)
            # Inside the lock, because it creates the default experiment.
            initialize_backend_stores(uri, uri, artifact_root)
    except SQLAlchemyError as error:
        raise SchemaError(f"The database {settings.database_name} failed: {_cause(error)}.") from error
    finally:
        engine.dispose()


def _wait_for_database(engine: Engine, settings: Settings) -> None:
    end = time.monotonic() + settings.database_startup_timeout
    logged, logged_at = "", 0.0
    while True:
        try:
            with engine.connect():
                return
        except OperationalError as error:
            problem = _cause(error)
            hint = ""
            if _number(error) == _UNKNOWN_DATABASE:
                hint = f" Create the database {settings.database_name}, or set MLFLOW_APP_DATABASE_NAME."
            if _number(error) == ACCESS_DENIED and settings.database_iam_login:
                hint = (
                    " For MLFLOW_APP_DATABASE_IAM_LOGIN, the service account needs roles/cloudsql.instanceUser and a "
                    "user in the instance, whose flag cloudsql_iam_authentication must be on."
                )
            if time.monotonic() >= end:
                raise SchemaError(
                    f"No login to the database within {settings.database_startup_timeout:g} s: {problem}.{hint}"
                ) from error
            if problem != logged or time.monotonic() - logged_at > _LOG_INTERVAL_SECONDS:
                logged, logged_at = problem, time.monotonic()
                log.warning("Waiting for the database: %s.%s", problem, hint)
        time.sleep(_RETRY_SECONDS)


@contextlib.contextmanager
def _uninterrupted() -> Generator[None]:
    """Ignore SIGINT and SIGTERM in this block; only SIGKILL interrupts it."""
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextlib.contextmanager
def _lock(engine: Engine, settings: Settings) -> Generator[None]:
    """Only one instance at a time is in this block. The lock belongs to the connection and ends with this process."""
    # One lock per database of the server; a lock's name has at most 64 characters.
    name = "mlflow-schema-" + hashlib.sha256(settings.database_name.encode()).hexdigest()[:32]
    wait = settings.schema_lock_timeout
    end = time.monotonic() + wait
    while not _scalar(engine, "SELECT GET_LOCK(:name, :seconds)", name=name, seconds=min(_LOCK_CALL_SECONDS, wait)):
        if (wait := end - time.monotonic()) <= 0:
            raise SchemaError(
                f"Another instance has held the schema lock for {settings.schema_lock_timeout:g} s. If it upgrades a "
                "large database, let it finish, or increase MLFLOW_APP_SCHEMA_LOCK_TIMEOUT_SECONDS."
            )
        log.info("Waiting for the schema lock, which another instance holds")
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
        log.info("Created the schema in an empty database, at revision %s", head)
        return
    current = _revision(engine, tables, settings)
    if current == head:
        log.info("The schema is up to date, at revision %s", head)
        return
    if not settings.schema_upgrade:
        raise SchemaError(
            f"The schema is at revision {current}, and MLflow {mlflow.__version__} requires {head}. Back up the "
            "database, then upgrade it: run this image once with the argument `upgrade`, or without "
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
            f"The upgrade of the schema from revision {current} failed: {_cause(error)}. MySQL cannot roll it back: "
            "restore the backup from before the upgrade, and fix the cause before the next start."
        ) from error
    log.info("Upgraded the schema to revision %s in %.1f s", head, time.monotonic() - started)


def _create(engine: Engine, tables: set[str]) -> None:
    """Create the first schema. An incomplete one is deleted: nothing can have been stored in it."""
    with engine.begin() as connection:
        if tables:
            log.warning("The first start was interrupted before the schema was complete: creating the schema again")
            _drop(connection, tables - {_UNFINISHED})
        connection.execute(text(f"CREATE TABLE IF NOT EXISTS {_UNFINISHED} (since TIMESTAMP DEFAULT NOW())"))
    try:
        _untyped._initialize_tables(engine)
    except SQLAlchemyError as error:
        raise SchemaError(f"Creating the schema in the empty database failed: {_cause(error)}.") from error
    with engine.begin() as connection:
        _drop(connection, {_UNFINISHED})


def _drop(connection: Connection, tables: set[str]) -> None:
    quoted = connection.dialect.identifier_preparer.quote_identifier
    connection.execute(text("SET FOREIGN_KEY_CHECKS = 0"))
    for table in tables:
        connection.execute(text(f"DROP TABLE {quoted(table)}"))
    connection.execute(text("SET FOREIGN_KEY_CHECKS = 1"))


def _revision(engine: Engine, tables: set[str], settings: Settings) -> str:
    """The schema's revision. Raises SchemaError if this version of MLflow does not know it."""
    found: list[str] = []
    if _VERSION_TABLE in tables:
        with engine.connect() as connection:
            found = [str(row[0]) for row in connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}"))]  # noqa: S608
    if not found:
        examples = ", ".join(sorted(tables)[:3])
        raise SchemaError(
            f"The database {settings.database_name} is not empty ({examples}, ...), and its tables are not those of "
            "MLflow 1.0 or newer: set MLFLOW_APP_DATABASE_NAME to a database of MLflow, or to an empty one."
        )
    config = _untyped._get_alembic_config("")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if len(found) > 1 or found[0] not in known:
        raise SchemaError(
            f"The schema is at revision {', '.join(found)}, which MLflow {mlflow.__version__} does not know: a newer "
            "version of MLflow upgraded it. Run an image with that version, or restore the backup from before the "
            "upgrade."
        )
    return found[0]


def _refuse_mixed_collations(engine: Engine, settings: Settings) -> None:
    """Raise SchemaError if new tables would have another collation than the existing ones.

    MySQL rejects foreign keys between columns of two collations, which breaks upgrades from MLflow 2:
    mlflow/mlflow#17896.
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
        f"The schema cannot be upgraded: the database's collation is {default}, and tables have the collation "
        f"{', '.join(others)}; the upgrade would fail at a foreign key between them. Back up the database, then: "
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
    """The database's own message, on one line."""
    arguments = getattr(getattr(error, "orig", None), "args", ())
    message = str(arguments[-1]) if arguments else str(error)
    return message.strip().splitlines()[0].rstrip(".") if message.strip() else type(error).__name__
