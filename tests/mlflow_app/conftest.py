"""Session fixtures: a real MySQL, fakes of Google's services, and settings of the image for them."""

from collections.abc import Generator
from typing import NamedTuple

import pytest

from tests.doubles import cloud_sql, gcs, mysql, secret_manager
from tests.doubles.cloud_sql import CloudSql
from tests.doubles.mysql import Database, MySql
from tests.doubles.running_proxy import Tokens
from tests.doubles.secret_manager import SecretManager
from tests.mlflow_app.backends import Backends
from tests.mlflow_app.mlflow2 import database_of_mlflow2
from tests.mlflow_app.schema_runner import Result, SchemaRunner


@pytest.fixture(scope="session")
def database_server() -> Generator[MySql]:
    mysql.require_mysql()
    with mysql.running() as server:
        yield server


@pytest.fixture(scope="session")
def bucket() -> Generator[dict[str, str]]:
    """The environment variables for the fake Cloud Storage."""
    with gcs.running() as environ:
        yield environ


@pytest.fixture(scope="session")
def secrets() -> Generator[SecretManager]:
    with secret_manager.running() as server:
        yield server


@pytest.fixture(scope="session")
def instance(database_server: MySql, secrets: SecretManager) -> Generator[CloudSql]:
    with cloud_sql.running(database_server, secrets) as instance:
        yield instance


@pytest.fixture(scope="session")
def backends(
    database_server: MySql, instance: CloudSql, bucket: dict[str, str], secrets: SecretManager, tokens: Tokens
) -> Backends:
    return Backends(database_server, instance, bucket, secrets, tokens)


@pytest.fixture(scope="session")
def schemas(secrets: SecretManager) -> Generator[SchemaRunner]:
    """Creates and upgrades schemas without the rest of the container."""
    runner = SchemaRunner(secrets.environ)
    try:
        yield runner
    finally:
        runner.end()


@pytest.fixture(scope="session")
def old_database(database_server: MySql) -> Database:
    """A database of MLflow 2.22.5 with a run and a model. Read-only: tests that write use a copy."""
    return database_of_mlflow2(database_server)


class FourInstances(NamedTuple):
    """A database after four instances started on it at once. Read-only: tests that write use a copy."""

    database: Database
    results: list[Result]


@pytest.fixture(scope="session")
def created_by_four(backends: Backends, schemas: SchemaRunner) -> FourInstances:
    """Four instances on an empty database."""
    database = backends.server.database()
    return FourInstances(database, schemas.run(backends.settings(database), instances=4))


@pytest.fixture(scope="session")
def upgraded_by_four(backends: Backends, schemas: SchemaRunner, old_database: Database) -> FourInstances:
    """Four instances on a database of MLflow 2."""
    database = backends.server.copy(old_database)
    return FourInstances(database, schemas.run(backends.settings(database), instances=4))


@pytest.fixture(scope="session")
def current(created_by_four: FourInstances) -> Database:
    """A database of the current MLflow. Read-only: tests that write use a copy."""
    return created_by_four.database
