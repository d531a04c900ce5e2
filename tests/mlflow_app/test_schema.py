"""One instance makes or upgrades the schema, and only where that is safe."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.doubles.mariadb import Database, MariaDb
from tests.mlflow_app.conftest import FourAtOnce
from tests.mlflow_app.place import Place
from tests.mlflow_app.schema_runner import Made, SchemaRunner

# An upgrade is some sixty steps, and other tests run beside it.
pytestmark = pytest.mark.timeout(300)

WORKED = ("has been made", "has been upgraded")


def revision(server: MariaDb, database: Database) -> str:
    return str(server.execute("SELECT version_num FROM alembic_version", database=database.name)[0][0])


def one_worked(made: list[Made], done: str) -> bool:
    """And the others waited, and found nothing to do."""
    assert [instance.code for instance in made] == [0] * 4, made
    worked = [instance for instance in made if any(word in instance.said for word in WORKED)]
    assert all("The schema is current" in instance.said for instance in made if instance not in worked)
    return len(worked) == 1 and done in worked[0].said


def test_of_four_instances_at_once_one_makes_the_schema_and_the_others_wait(
    place: Place, empty_for_four: FourAtOnce
) -> None:
    database, made = empty_for_four
    assert one_worked(made, "has been made")
    assert place.server.execute("SELECT name FROM experiments", database=database.name) == [("Default",)]


def test_of_four_instances_at_once_one_upgrades_the_schema(
    place: Place, old_for_four: FourAtOnce, current: Database
) -> None:
    database, made = old_for_four
    assert one_worked(made, "has been upgraded")
    assert revision(place.server, database) == revision(place.server, current)


def test_a_schema_of_mlflow_1_26_is_upgraded(place: Place, schemas: SchemaRunner, current: Database) -> None:
    """What getindata/mlflow-appengine-terraform runs, made by MLflow's own steps up to that version's."""
    database = place.server.database()
    assert schemas.run(place.settings(database), revision="bd07f7e963c5")[0].code == 0
    place.server.execute(
        "INSERT INTO experiments VALUES (7, 'old', 'gs://old-bucket/7', 'active')", database=database.name
    )
    place.server.execute("INSERT INTO runs (run_uuid, experiment_id) VALUES ('r', 7)", database=database.name)
    place.server.execute("INSERT INTO metrics VALUES ('loss', 0.5, 1, 'r', 0, 0)", database=database.name)
    made = schemas.run(place.settings(database))[0]
    assert made.code == 0
    assert "Upgrading the schema from revision bd07f7e963c5" in made.said
    assert revision(place.server, database) == revision(place.server, current)
    rows = (
        "SELECT artifact_location, value FROM experiments JOIN runs USING (experiment_id) JOIN metrics USING (run_uuid)"
    )
    assert place.server.execute(rows, database=database.name) == [("gs://old-bucket/7", 0.5)]


def test_a_current_schema_is_left_as_it_is(place: Place, schemas: SchemaRunner, current: Database) -> None:
    made = schemas.run(place.settings(current))
    assert made[0].code == 0
    assert "The schema is current" in made[0].said
    assert not any(word in made[0].said for word in WORKED)


def test_an_older_schema_is_refused_where_upgrades_are_off(
    place: Place, schemas: SchemaRunner, old_database: Database
) -> None:
    before = revision(place.server, old_database)
    made = schemas.run(place.settings(old_database, MLFLOW_APP_SCHEMA_UPGRADE="off"))
    assert made[0].code == 2
    assert "run this image once with the argument `upgrade`" in made[0].said
    assert revision(place.server, old_database) == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("UPDATE alembic_version SET version_num = 'fedcba987654'", "a newer MLflow has upgraded it"),
        ("INSERT INTO alembic_version VALUES ('fedcba987654')", "a newer MLflow has upgraded it"),
        ("DROP TABLE alembic_version", "is not empty (assessments, "),
        ("DELETE FROM alembic_version", "is not empty (alembic_version, "),
    ],
)
def test_a_schema_that_this_mlflow_does_not_know_is_refused(
    place: Place, schemas: SchemaRunner, current: Database, change: str, sentence: str
) -> None:
    database = place.server.copy(current)
    place.server.execute(change, database=database.name)
    tables = place.server.execute("SHOW TABLES", database=database.name)
    made = schemas.run(place.settings(database))
    assert made[0].code == 2
    assert sentence in made[0].said
    assert place.server.execute("SHOW TABLES", database=database.name) == tables


def test_an_upgrade_that_would_stop_at_a_foreign_key_is_refused_until_the_remedy_is_done(
    place: Place, schemas: SchemaRunner, old_database: Database
) -> None:
    """mlflow/mlflow#17896: the tables are of another character set than the database, as after a move."""
    database = place.server.copy(old_database)
    before = revision(place.server, database)
    place.server.execute(f"ALTER DATABASE {database.name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
    refused = schemas.run(place.settings(database))[0]
    assert refused.code == 2
    assert revision(place.server, database) == before
    remedy = refused.messages[-1].split("then: ")[1].removesuffix(".")
    assert remedy == f"ALTER DATABASE `{database.name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
    place.server.execute(remedy)
    begun = schemas.run(place.settings(database), kill_at="Upgrading the schema from")
    assert begun[0].code == -9


def test_an_upgrade_that_breaks_off_says_where_and_what_to_do(
    place: Place, schemas: SchemaRunner, old_database: Database
) -> None:
    database = place.server.copy(old_database)
    place.server.execute("CREATE TABLE logged_models (stray INT)", database=database.name)
    made = schemas.run(place.settings(database))[0]
    assert made.code == 2
    assert "broke off: Table 'logged_models' already exists." in made.said
    assert "restore the backup from before it" in made.said


def test_a_first_start_that_was_cut_off_is_done_again_from_the_start(place: Place, schemas: SchemaRunner) -> None:
    database = place.server.database()
    killed = schemas.run(place.settings(database), kill_at="add model registry tables")[0]
    assert killed.code == -9
    again = schemas.run(place.settings(database), instances=2)
    assert [instance.code for instance in again] == [0, 0], again
    assert sum("The first start was cut off" in instance.said for instance in again) == 1
    assert place.server.execute("SELECT name FROM experiments", database=database.name) == [("Default",)]
    assert ("mlflow_app_unfinished",) not in place.server.execute("SHOW TABLES", database=database.name)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"MLFLOW_APP_DATABASE_NAME": "nowhere"}, "Access denied"),
        ({"MLFLOW_APP_DATABASE_PASSWORD": "wrong"}, "Access denied"),
        ({"MLFLOW_APP_DATABASE_SOCKET": "/nowhere/socket"}, "Can't connect to MySQL server"),
    ],
    ids=["name", "password", "socket"],
)
def test_a_database_that_lets_nobody_in_is_waited_for_and_then_told(
    place: Place, schemas: SchemaRunner, current: Database, changes: dict[str, str], sentence: str
) -> None:
    made = schemas.run(place.settings(current, MLFLOW_APP_DATABASE_STARTUP_TIMEOUT_SECONDS="1", **changes))[0]
    assert made.code == 2
    assert "Waiting for the database: " in made.messages[0]
    assert "lets nobody in after 1 s" in made.messages[-1]
    assert sentence in made.messages[-1]


def denied(server: MariaDb) -> str:
    """How many were let in nowhere."""
    return server.execute("SHOW GLOBAL STATUS LIKE 'Access_denied_errors'")[0][1]


def test_a_database_that_comes_up_later_is_waited_for(place: Place, schemas: SchemaRunner, current: Database) -> None:
    database = place.server.copy(current)
    given = place.settings(database)
    place.server.change_password(database, "not yet")
    before = denied(place.server)
    with ThreadPoolExecutor() as pool:
        later = pool.submit(schemas.run, given)
        while denied(place.server) == before and not later.done():
            time.sleep(0.02)
        place.server.change_password(database, database.password)
        (made,) = later.result()
    assert made.code == 0
    assert "Waiting for the database: Access denied" in made.messages[0]


def test_who_waits_too_long_for_another_instance_says_so(
    place: Place, schemas: SchemaRunner, current: Database
) -> None:
    name = "mlflow-schema-" + hashlib.sha256(current.name.encode()).hexdigest()[:32]
    with place.server.connected() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, 0)", (name,))
        made = schemas.run(place.settings(current, MLFLOW_APP_SCHEMA_LOCK_TIMEOUT_SECONDS="1"))[0]
    assert made.code == 2
    assert "Another instance has been at work on the schema for 1 s" in made.said
    assert schemas.run(place.settings(current))[0].code == 0
