"""Instances on a database that MLflow 2 made; then each of them ends in another way."""

import os
import signal
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.doubles.mariadb import Database
from tests.mlflow_app.app_process import AppProcess, together
from tests.mlflow_app.calls import Calls
from tests.mlflow_app.conftest import FourAtOnce
from tests.mlflow_app.place import Place
from tests.mlflow_app.stories import old_runs_are_read_and_gone_on_with

# Each of them imports MLflow, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)

STOP = 6


@pytest.fixture(scope="module")
def database(place: Place, old_for_four: FourAtOnce) -> Database:
    return place.server.copy(old_for_four.database)


@pytest.fixture(scope="module")
def four(place: Place, database: Database, tmp_path_factory: pytest.TempPathFactory) -> Generator[list[AppProcess]]:
    settings = place.settings(database, MLFLOW_APP_WORKERS="1", MLFLOW_APP_SHUTDOWN_TIMEOUT_SECONDS=str(STOP))
    with together(tmp_path_factory.mktemp("four"), [settings] * 4) as apps:
        for app in apps:
            app.wait_ready()
        yield apps


def test_what_mlflow_2_stored_can_be_read_and_gone_on_with(four: list[AppProcess], place: Place) -> None:
    calls = Calls(four[0], place.tokens)
    old_runs_are_read_and_gone_on_with(calls)
    calls.close()


def test_when_the_proxy_dies_the_container_says_so_and_stops(four: list[AppProcess]) -> None:
    app = four[0]
    os.kill(app.child("proxy_app"), signal.SIGKILL)
    ends(app, "The proxy has ended by itself, killed by SIGKILL: the container stops")


def test_when_mlflow_dies_the_container_says_so_and_stops(four: list[AppProcess]) -> None:
    app = four[1]
    worker = app.workers()[0]
    os.kill(app.child("mlflow_app.server"), signal.SIGKILL)
    ends(app, "MLflow has ended by itself, killed by SIGKILL: the container stops")
    # It had nobody any more who could have told it. Whoever is its parent now takes note when it likes.
    end = time.monotonic() + 10
    while not has_ended(worker):
        assert time.monotonic() < end
        time.sleep(0.05)


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


def ends(app: AppProcess, message: str) -> None:
    assert app.exit_code(within=10) == 1
    assert [line["severity"] for line in app.lines if line["message"] == message] == ["CRITICAL"]


def test_a_process_of_mlflows_that_dies_is_replaced(four: list[AppProcess], place: Place) -> None:
    app = four[2]
    (worker,) = app.workers()
    os.kill(worker, signal.SIGKILL)
    app.wait(lambda: app.said(f"A process that served MLflow, {worker}, ended by SIGKILL"))
    calls = Calls(app, place.tokens)
    app.wait(lambda: calls.status() == 200)
    calls.close()
    assert app.workers() not in ([], [worker])


def test_when_they_die_again_and_again_the_container_stops(four: list[AppProcess]) -> None:
    app = four[2]
    while app.running and not app.said("again and again"):
        for worker in app.workers() if app.running else []:
            os.kill(worker, signal.SIGKILL)
        time.sleep(0.1)
    ends(app, "MLflow has ended by itself, exit code 1: the container stops")


def test_it_is_gone_in_time_though_mlflow_waits_for_the_database_and_the_proxy_hangs(
    four: list[AppProcess], place: Place, database: Database
) -> None:
    app = four[3]
    calls = Calls(app, place.tokens)
    run = calls.new_run()
    is_waiting = "SELECT 1 FROM information_schema.processlist WHERE user = %s AND state LIKE 'Waiting for table%%'"
    with ThreadPoolExecutor() as pool, place.server.connected(database.name) as cursor:
        cursor.execute("LOCK TABLES metrics WRITE")
        waiting = pool.submit(calls.log, run, "never")
        app.wait(lambda: place.server.execute(is_waiting, (database.user,)))
        os.kill(app.child("proxy_app"), signal.SIGSTOP)
        began = time.monotonic()
        app.terminate()
        assert app.exit_code() == 0
        assert time.monotonic() - began < STOP
        assert waiting.result() is False
    calls.close()
    assert app.said("The proxy did not end within")
