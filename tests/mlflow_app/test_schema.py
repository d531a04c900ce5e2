"""One instance creates or upgrades the schema, and only if that is safe."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.doubles.cloud_sql import REGION
from tests.doubles.mysql import Database, MySql
from tests.doubles.secret_manager import ACCOUNT, PROJECT
from tests.mlflow_app.backends import Backends
from tests.mlflow_app.conftest import FourInstances
from tests.mlflow_app.schema_runner import Result, SchemaRunner

# An upgrade has about sixty steps, and other tests run at the same time.
pytestmark = pytest.mark.timeout(300)

CHANGED = ("Created the schema", "Upgraded the schema")


def revision(server: MySql, database: Database) -> str:
    return str(server.execute("SELECT version_num FROM alembic_version", database=database.name)[0][0])


def one_changed(results: list[Result], done: str) -> bool:
    """Whether one instance logged `done`; the others must have found the schema up to date."""
    assert [instance.code for instance in results] == [0] * 4, results
    changed = [instance for instance in results if any(word in instance.log for word in CHANGED)]
    assert all("The schema is up to date" in instance.log for instance in results if instance not in changed)
    return len(changed) == 1 and done in changed[0].log


def test_one_of_four_instances_creates_the_schema(backends: Backends, created_by_four: FourInstances) -> None:
    database, results = created_by_four
    assert one_changed(results, "Created the schema")
    assert backends.server.execute("SELECT name FROM experiments", database=database.name) == [("Default",)]


def test_iam_user_creates_the_schema(
    backends: Backends, schemas: SchemaRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With google-auth's own credentials, which get the login token from the metadata server."""
    user, database = ACCOUNT.partition("@")[0], backends.server.database()
    monkeypatch.setitem(backends.instance.iam_users, user, database)
    login = {
        "MLFLOW_APP_DATABASE_IAM_LOGIN": "on",
        "MLFLOW_APP_DATABASE_USER": user,
        "MLFLOW_APP_DATABASE_PASSWORD": "",
    }
    (result,) = schemas.run(backends.settings(database, **login))
    assert result.code == 0
    assert "Created the schema" in result.log


def test_refused_iam_login_names_the_remedy(backends: Backends, schemas: SchemaRunner, current: Database) -> None:
    login = {"MLFLOW_APP_DATABASE_IAM_LOGIN": "on", "MLFLOW_APP_DATABASE_PASSWORD": ""}
    result = schemas.run(backends.settings(current, MLFLOW_APP_DATABASE_STARTUP_TIMEOUT_SECONDS="1", **login))[0]
    assert result.code == 2
    assert "needs roles/cloudsql.instanceUser" in result.messages[-1]


def test_one_of_four_instances_upgrades_the_schema(
    backends: Backends, upgraded_by_four: FourInstances, current: Database
) -> None:
    database, results = upgraded_by_four
    assert one_changed(results, "Upgraded the schema")
    assert revision(backends.server, database) == revision(backends.server, current)


def test_schema_of_mlflow_1_26_is_upgraded(backends: Backends, schemas: SchemaRunner, current: Database) -> None:
    """The version that getindata/mlflow-appengine-terraform runs; MLflow's own migrations create its schema."""
    database = backends.server.database()
    assert schemas.run(backends.settings(database), revision="bd07f7e963c5")[0].code == 0
    backends.server.execute(
        "INSERT INTO experiments VALUES (7, 'old', 'gs://old-bucket/7', 'active')", database=database.name
    )
    backends.server.execute("INSERT INTO runs (run_uuid, experiment_id) VALUES ('r', 7)", database=database.name)
    backends.server.execute("INSERT INTO metrics VALUES ('loss', 0.5, 1, 'r', 0, 0)", database=database.name)
    result = schemas.run(backends.settings(database))[0]
    assert result.code == 0
    assert "Upgrading the schema from revision bd07f7e963c5" in result.log
    assert revision(backends.server, database) == revision(backends.server, current)
    rows = (
        "SELECT artifact_location, value FROM experiments JOIN runs USING (experiment_id) JOIN metrics USING (run_uuid)"
    )
    assert backends.server.execute(rows, database=database.name) == [("gs://old-bucket/7", 0.5)]


def test_current_schema_is_not_changed(backends: Backends, schemas: SchemaRunner, current: Database) -> None:
    results = schemas.run(backends.settings(current))
    assert results[0].code == 0
    assert "The schema is up to date" in results[0].log
    assert not any(word in results[0].log for word in CHANGED)


def test_older_schema_is_refused_without_automatic_upgrade(
    backends: Backends, schemas: SchemaRunner, old_database: Database
) -> None:
    before = revision(backends.server, old_database)
    results = schemas.run(backends.settings(old_database, MLFLOW_APP_SCHEMA_UPGRADE="off"))
    assert results[0].code == 2
    assert "run this image once with the argument `upgrade`" in results[0].log
    assert revision(backends.server, old_database) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE alembic_version SET version_num = 'fedcba987654'", "a newer version of MLflow upgraded it"),
        ("INSERT INTO alembic_version VALUES ('fedcba987654')", "a newer version of MLflow upgraded it"),
        ("DROP TABLE alembic_version", "is not empty (assessments, "),
        ("DELETE FROM alembic_version", "is not empty (alembic_version, "),
    ],
)
def test_unknown_schema_is_refused(
    backends: Backends, schemas: SchemaRunner, current: Database, change: str, message: str
) -> None:
    database = backends.server.copy(current)
    backends.server.execute(change, database=database.name)
    tables = backends.server.execute("SHOW TABLES", database=database.name)
    results = schemas.run(backends.settings(database))
    assert results[0].code == 2
    assert message in results[0].log
    assert backends.server.execute("SHOW TABLES", database=database.name) == tables


def test_mixed_collations_are_refused_until_fixed(
    backends: Backends, schemas: SchemaRunner, old_database: Database
) -> None:
    """mlflow/mlflow#17896: the tables have another collation than the database, as after a migration."""
    database = backends.server.copy(old_database)
    before = revision(backends.server, database)
    backends.server.execute(f"ALTER DATABASE {database.name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
    refused = schemas.run(backends.settings(database))[0]
    assert refused.code == 2
    assert revision(backends.server, database) == before
    remedy = refused.messages[-1].split("then: ")[1].removesuffix(".")
    assert remedy == f"ALTER DATABASE `{database.name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
    backends.server.execute(remedy)
    begun = schemas.run(backends.settings(database), kill_at="Upgrading the schema from")
    assert begun[0].code == -9


def test_failed_upgrade_logs_cause_and_remedy(
    backends: Backends, schemas: SchemaRunner, old_database: Database
) -> None:
    database = backends.server.copy(old_database)
    backends.server.execute("CREATE TABLE logged_models (id INT)", database=database.name)
    result = schemas.run(backends.settings(database))[0]
    assert result.code == 2
    assert "failed: Table 'logged_models' already exists." in result.log
    assert "restore the backup from before the upgrade" in result.log


def test_interrupted_first_start_is_repeated(backends: Backends, schemas: SchemaRunner) -> None:
    database = backends.server.database()
    killed = schemas.run(backends.settings(database), kill_at="add model registry tables")[0]
    assert killed.code == -9
    repeated = schemas.run(backends.settings(database), instances=2)
    assert [instance.code for instance in repeated] == [0, 0], repeated
    assert sum("The first start was interrupted" in instance.log for instance in repeated) == 1
    assert backends.server.execute("SELECT name FROM experiments", database=database.name) == [("Default",)]
    assert ("mlflow_app_unfinished",) not in backends.server.execute("SHOW TABLES", database=database.name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MLFLOW_APP_DATABASE_NAME": "nowhere"}, "Access denied"),
        ({"MLFLOW_APP_DATABASE_PASSWORD": "wrong"}, "Access denied"),
        ({"MLFLOW_APP_DATABASE_INSTANCE": f"{PROJECT}:{REGION}:other"}, "must be that of an existing instance"),
        ({"MLFLOW_APP_DATABASE_INSTANCE": "", "MLFLOW_APP_DATABASE_ADDRESS": "127.0.0.1:1"}, "Can't connect to MySQL"),
    ],
    ids=["name", "password", "instance", "address"],
)
def test_failing_login_is_retried_then_reported(
    backends: Backends, schemas: SchemaRunner, current: Database, changes: dict[str, str], message: str
) -> None:
    result = schemas.run(backends.settings(current, MLFLOW_APP_DATABASE_STARTUP_TIMEOUT_SECONDS="1", **changes))[0]
    assert result.code == 2
    assert "Waiting for the database: " in result.messages[0]
    assert "No login to the database within 1 s" in result.messages[-1]
    assert message in result.messages[-1]


def denied(server: MySql) -> str:
    """The number of rejected logins."""
    return server.execute("SHOW GLOBAL STATUS LIKE 'Aborted_connects'")[0][1]


def test_start_waits_for_the_database(backends: Backends, schemas: SchemaRunner, current: Database) -> None:
    database = backends.server.copy(current)
    settings = backends.settings(database)
    backends.server.change_password(database, "not yet")
    before = denied(backends.server)
    with ThreadPoolExecutor() as pool:
        later = pool.submit(schemas.run, settings)
        while denied(backends.server) == before and not later.done():
            time.sleep(0.02)
        backends.server.change_password(database, database.password)
        (result,) = later.result()
    assert result.code == 0
    assert "Waiting for the database: Access denied" in result.messages[0]


def test_lock_timeout_is_reported(backends: Backends, schemas: SchemaRunner, current: Database) -> None:
    name = "mlflow-schema-" + hashlib.sha256(current.name.encode()).hexdigest()[:32]
    with backends.server.connected() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, 0)", (name,))
        result = schemas.run(backends.settings(current, MLFLOW_APP_SCHEMA_LOCK_TIMEOUT_SECONDS="1"))[0]
    assert result.code == 2
    assert "Another instance has held the schema lock for 1 s" in result.log
    assert schemas.run(backends.settings(current))[0].code == 0
