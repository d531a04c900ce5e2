"""Starts that fail, and the commands beside serving."""

import contextlib
import dataclasses
import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.doubles.mariadb import Database, MariaDb
from tests.mlflow_app.app_process import AppProcess, environment, together
from tests.mlflow_app.place import Place

# Each of them imports MLflow, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)


def run(folder: Path, *arguments: str, **settings: str) -> tuple[int, list[str]]:
    """The exit code, and the messages or lines."""
    done = subprocess.run(
        [sys.executable, "-m", "mlflow_app", *arguments],
        cwd=folder,
        env=environment(folder, settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = (done.stdout + done.stderr).splitlines()
    return done.returncode, [json.loads(line)["message"] if line.startswith("{") else line for line in lines]


def test_wrong_settings_end_it_with_a_line_for_each(tmp_path: Path) -> None:
    code, messages = run(tmp_path, MLFLOW_APP_ARTIFACTS_DESTINATION="s3://bucket", MLFLOW_PROXY_AUTH="no")
    assert code == 2
    assert messages[0] == "The container cannot start."
    assert [message.split(":")[0] for message in messages[1:3]] == [
        "MLFLOW_APP_ARTIFACTS_DESTINATION",
        "Set one of MLFLOW_APP_DATABASE_SOCKET and MLFLOW_APP_DATABASE_ADDRESS.",
    ]
    assert messages[-1].startswith("MLFLOW_PROXY_AUTH")


def test_help_lists_every_setting(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "--help")
    assert code == 0
    assert "  MLFLOW_APP_DATABASE_PASSWORD_SECRET" in lines


def test_the_health_check_finds_nobody(tmp_path: Path) -> None:
    code, lines = run(
        tmp_path, "healthcheck", MLFLOW_PROXY_LISTEN="127.0.0.1:1", MLFLOW_PROXY_TOKENS_FILE="/tokens.json"
    )
    assert code == 1
    assert lines[0].startswith("no answer on 127.0.0.1:1")


@dataclasses.dataclass(frozen=True, slots=True)
class Stuck:
    """An upgrade that cannot note its first step, until it is let go."""

    server: MariaDb
    database: Database
    cursor: Any

    def is_reached(self) -> bool:
        waiting = "SELECT 1 FROM information_schema.processlist WHERE user = %s AND state LIKE 'Waiting for table%%'"
        return bool(self.server.execute(waiting, (self.database.user,)))

    def let_go(self) -> None:
        self.cursor.execute("UNLOCK TABLES")


class Starting(NamedTuple):
    """Three that were started at once; `stuck` has the databases of the last two, whose upgrades stand still."""

    on_a_newer_schema: AppProcess
    upgrading: AppProcess
    command: AppProcess
    stuck: list[Stuck]


@contextlib.contextmanager
def stuck(server: MariaDb, database: Database) -> Generator[Stuck]:
    with server.connected(database.name) as cursor:
        cursor.execute("LOCK TABLES alembic_version READ")
        yield Stuck(server, database, cursor)


@pytest.fixture(scope="module")
def starting(
    place: Place, current: Database, old_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Starting]:
    newer, *old = place.server.copy(current), place.server.copy(old_database), place.server.copy(old_database)
    place.server.execute("UPDATE alembic_version SET version_num = 'fedcba987654'", database=newer.name)
    off = place.settings(old[1], MLFLOW_APP_SCHEMA_UPGRADE="off")
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(stuck(place.server, database)) for database in old]
        folder = tmp_path_factory.mktemp("starting")
        ends, lives = stack.enter_context(together(folder, [place.settings(newer), place.settings(old[0])]))
        (command,) = stack.enter_context(together(folder / "command", [off], "upgrade"))
        yield Starting(ends, lives, command, held)


def test_on_a_schema_of_a_newer_mlflow_the_container_stops_with_a_sentence(starting: Starting) -> None:
    app = starting.on_a_newer_schema
    app.wait(lambda: app.status("/healthz") == 200)
    environ = Path(f"/proc/{app.child('proxy_app')}/environ").read_text()
    assert app.exit_code(within=120) == 2
    assert app.said("which MLflow 3.17.2 does not know: a newer MLflow has upgraded it")
    assert "MLflow has ended by itself, exit code 2: the container stops" in app.messages
    # And nobody but MLflow got to see the password.
    assert "MLFLOW_PROXY_UPSTREAM_URL" in environ
    assert "PASSWORD" not in environ


def test_while_the_schema_is_upgraded_it_lives_and_is_not_ready_and_sigterm_waits_for_it(starting: Starting) -> None:
    app, stuck = starting.upgrading, starting.stuck[0]
    app.wait(stuck.is_reached)
    assert app.said("Upgrading the schema from revision")
    assert app.status("/healthz") == 200
    assert app.status("/readyz") == 503
    app.terminate()
    app.wait(lambda: app.said("Stopping"))
    stuck.let_go()
    assert app.exit_code() == 0
    assert app.said("The schema has been upgraded")
    assert not app.said("MLflow is served by")


def test_the_command_upgrade_upgrades_and_ends_and_is_not_interrupted(starting: Starting) -> None:
    app, stuck = starting.command, starting.stuck[1]
    app.wait(stuck.is_reached)
    app.interrupt()
    app.terminate()
    stuck.let_go()
    assert app.exit_code() == 0
    assert app.said("The schema has been upgraded")
    assert app.strays == []


def test_when_the_proxy_cannot_start_its_sentence_is_kept_and_so_is_its_exit_code(place: Place, tmp_path: Path) -> None:
    settings = place.settings(Database("x", "x", "x"), MLFLOW_PROXY_TOKENS_FILE="/nowhere/tokens.json")
    with together(tmp_path, [settings]) as (app,):
        assert app.exit_code() == 2
    assert app.said("/nowhere/tokens.json")
    assert "The proxy has ended by itself, exit code 2: the container stops" in app.messages
