"""Failing starts, and the other commands."""

import contextlib
import dataclasses
import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.doubles.mysql import Database, MySql
from tests.mlflow_app.app_process import AppProcess, environment, started_together
from tests.mlflow_app.backends import Backends

# Each instance imports MLflow, which is slow on a busy machine.
pytestmark = pytest.mark.timeout(300)


def run(folder: Path, *arguments: str, **settings: str) -> tuple[int, list[str]]:
    """(exit code, messages); lines that are not JSON are returned as they are."""
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


def test_invalid_settings_are_logged_one_per_line(tmp_path: Path) -> None:
    code, messages = run(tmp_path, MLFLOW_APP_ARTIFACTS_DESTINATION="s3://bucket", MLFLOW_PROXY_AUTH="no")
    assert code == 2
    assert messages[0] == "The container cannot start."
    assert [message.split(":")[0] for message in messages[1:3]] == [
        "MLFLOW_APP_ARTIFACTS_DESTINATION",
        "Set either MLFLOW_APP_DATABASE_INSTANCE or MLFLOW_APP_DATABASE_ADDRESS.",
    ]
    assert messages[-1].startswith("MLFLOW_PROXY_AUTH")


def test_help_lists_every_setting(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "--help")
    assert code == 0
    assert "  MLFLOW_APP_DATABASE_PASSWORD_SECRET" in lines


def test_health_check_fails_without_a_server(tmp_path: Path) -> None:
    code, lines = run(
        tmp_path, "healthcheck", MLFLOW_PROXY_LISTEN="127.0.0.1:1", MLFLOW_PROXY_TOKENS_FILE="/tokens.json"
    )
    assert code == 1
    assert lines[0].startswith("no response from 127.0.0.1:1")


@dataclasses.dataclass(frozen=True, slots=True)
class BlockedUpgrade:
    """A database with a table lock that blocks an upgrade at its first step."""

    server: MySql
    database: Database
    cursor: Any

    def is_reached(self) -> bool:
        """Whether the upgrade waits for the lock."""
        waiting = "SELECT 1 FROM information_schema.processlist WHERE user = %s AND state LIKE 'Waiting for table%%'"
        return bool(self.server.execute(waiting, (self.database.user,)))

    def unblock(self) -> None:
        """Release the lock."""
        self.cursor.execute("UNLOCK TABLES")


class Starting(NamedTuple):
    """Three instances that were started at once; `blocked` are the upgrades of the last two."""

    on_a_newer_schema: AppProcess
    upgrading: AppProcess
    command: AppProcess
    blocked: list[BlockedUpgrade]


@contextlib.contextmanager
def blocked_upgrade(server: MySql, database: Database) -> Generator[BlockedUpgrade]:
    with server.connected(database.name) as cursor:
        cursor.execute("LOCK TABLES alembic_version READ")
        yield BlockedUpgrade(server, database, cursor)


@pytest.fixture(scope="module")
def starting(
    backends: Backends, current: Database, old_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Starting]:
    newer, *old = backends.server.copy(current), backends.server.copy(old_database), backends.server.copy(old_database)
    backends.server.execute("UPDATE alembic_version SET version_num = 'fedcba987654'", database=newer.name)
    off = backends.settings(old[1], MLFLOW_APP_SCHEMA_UPGRADE="off")
    with contextlib.ExitStack() as stack:
        blocked = [stack.enter_context(blocked_upgrade(backends.server, database)) for database in old]
        folder = tmp_path_factory.mktemp("starting")
        refused, upgrading = stack.enter_context(
            started_together(folder, [backends.settings(newer), backends.settings(old[0])])
        )
        (command,) = stack.enter_context(started_together(folder / "command", [off], "upgrade"))
        yield Starting(refused, upgrading, command, blocked)


def test_container_stops_on_schema_of_newer_mlflow(starting: Starting) -> None:
    app = starting.on_a_newer_schema
    app.wait(lambda: app.status("/healthz") == 200)
    environ = Path(f"/proc/{app.child('proxy_app')}/environ").read_text()
    assert app.exit_code(timeout=120) == 2
    assert app.messages_with("which MLflow 3.17.2 does not know: a newer version of MLflow upgraded it")
    assert "MLflow exited unexpectedly, exit code 2: the container stops" in app.messages
    # The proxy's process does not have the password.
    assert "MLFLOW_PROXY_UPSTREAM_URL" in environ
    assert "PASSWORD" not in environ


def test_upgrading_container_is_live_not_ready_and_delays_sigterm(starting: Starting) -> None:
    app, blocked = starting.upgrading, starting.blocked[0]
    app.wait(blocked.is_reached)
    assert app.messages_with("Upgrading the schema from revision")
    assert app.status("/healthz") == 200
    assert app.status("/readyz") == 503
    app.terminate()
    # The proxy stops first; MLflow gets its SIGTERM after that, while the upgrade still runs.
    app.wait(lambda: "Stopped" in app.messages)
    blocked.unblock()
    assert app.exit_code() == 0
    assert app.messages_with("Upgraded the schema")
    assert not app.messages_with("Serving MLflow with")


def test_upgrade_command_exits_when_done_and_ignores_signals(starting: Starting) -> None:
    app, blocked = starting.command, starting.blocked[1]
    app.wait(blocked.is_reached)
    app.interrupt()
    app.terminate()
    blocked.unblock()
    assert app.exit_code() == 0
    assert app.messages_with("Upgraded the schema")
    assert app.unparsed == []


def test_error_and_exit_code_of_a_failing_proxy_are_passed_on(backends: Backends, tmp_path: Path) -> None:
    settings = backends.settings(Database("x", "x", "x"), MLFLOW_PROXY_TOKENS_FILE="/nowhere/tokens.json")
    with started_together(tmp_path, [settings]) as (app,):
        assert app.exit_code() == 2
    assert app.messages_with("/nowhere/tokens.json")
    assert "The proxy exited unexpectedly, exit code 2: the container stops" in app.messages
