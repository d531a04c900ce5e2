"""A real MariaDB, Cloud Storage and Secret Manager, once in a test run; settings for the image on them."""

from collections.abc import Generator
from typing import NamedTuple

import pytest

from tests.doubles import gcs, mariadb, secret_manager
from tests.doubles.mariadb import Database, MariaDb
from tests.doubles.running_proxy import Tokens
from tests.doubles.secret_manager import SecretManager
from tests.mlflow_app.mlflow2 import database_of_mlflow2
from tests.mlflow_app.place import Place
from tests.mlflow_app.schema_runner import Made, SchemaRunner


@pytest.fixture(scope="session")
def database_server() -> Generator[MariaDb]:
    mariadb.require_mariadb()
    with mariadb.running() as server:
        yield server


@pytest.fixture(scope="session")
def bucket() -> Generator[dict[str, str]]:
    """What a process needs to use Cloud Storage."""
    with gcs.running() as environ:
        yield environ


@pytest.fixture(scope="session")
def secrets() -> Generator[SecretManager]:
    with secret_manager.running() as server:
        yield server


@pytest.fixture(scope="session")
def place(database_server: MariaDb, bucket: dict[str, str], secrets: SecretManager, tokens: Tokens) -> Place:
    return Place(database_server, bucket, secrets, tokens)


@pytest.fixture(scope="session")
def schemas(database_server: MariaDb) -> Generator[SchemaRunner]:
    """Makes schemas ready without a container around it."""
    runner = SchemaRunner()
    try:
        yield runner
    finally:
        runner.end()


@pytest.fixture(scope="session")
def old_database(database_server: MariaDb) -> Database:
    """As MLflow 2.22.5 left it, with a run and a model in it. Nobody changes this one: take a copy."""
    return database_of_mlflow2(database_server)


class FourAtOnce(NamedTuple):
    """A database, and what four instances did to it that started together. Nobody changes it: take a copy."""

    database: Database
    made: list[Made]


@pytest.fixture(scope="session")
def empty_for_four(place: Place, schemas: SchemaRunner) -> FourAtOnce:
    """It was empty."""
    database = place.server.database()
    return FourAtOnce(database, schemas.run(place.settings(database), instances=4))


@pytest.fixture(scope="session")
def old_for_four(place: Place, schemas: SchemaRunner, old_database: Database) -> FourAtOnce:
    """It was MLflow 2's."""
    database = place.server.copy(old_database)
    return FourAtOnce(database, schemas.run(place.settings(database), instances=4))


@pytest.fixture(scope="session")
def current(empty_for_four: FourAtOnce) -> Database:
    """A database of this MLflow's. Nobody changes it: take a copy."""
    return empty_for_four.database
