"""Instances on a database of MLflow 2, whose processes are killed in different ways."""

import os
import signal
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.doubles.mysql import Database
from tests.mlflow_app.app_process import AppProcess, started_together
from tests.mlflow_app.backends import Backends
from tests.mlflow_app.calls import Calls
from tests.mlflow_app.conftest import FourInstances
from tests.mlflow_app.scenarios import check_old_runs

# Each instance imports MLflow, which is slow on a busy machine.
pytestmark = pytest.mark.timeout(300)

SHUTDOWN_TIMEOUT = 6


@pytest.fixture(scope="module")
def database(backends: Backends, upgraded_by_four: FourInstances) -> Database:
    return backends.server.copy(upgraded_by_four.database)


@pytest.fixture(scope="module")
def four(
    backends: Backends, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Generator[list[AppProcess]]:
    settings = backends.settings(
        database, MLFLOW_APP_WORKERS="1", MLFLOW_APP_SHUTDOWN_TIMEOUT_SECONDS=str(SHUTDOWN_TIMEOUT)
    )
    with started_together(tmp_path_factory.mktemp("four"), [settings] * 4) as apps:
        for app in apps:
            app.wait_ready()
        yield apps


def test_data_of_mlflow_2_can_be_read_and_extended(four: list[AppProcess], backends: Backends) -> None:
    calls = Calls(four[0], backends.tokens)
    check_old_runs(calls)
    calls.close()


def test_container_stops_when_proxy_is_killed(four: list[AppProcess]) -> None:
    app = four[0]
    os.kill(app.child("proxy_app"), signal.SIGKILL)
    check_exit(app, "The proxy exited unexpectedly, killed by SIGKILL: the container stops")


def test_container_stops_when_mlflow_is_killed(four: list[AppProcess]) -> None:
    app = four[1]
    worker = app.workers()[0]
    os.kill(app.child("mlflow_app.server"), signal.SIGKILL)
    check_exit(app, "MLflow exited unexpectedly, killed by SIGKILL: the container stops")
    # The worker is orphaned; its new parent may reap it later.
    deadline = time.monotonic() + 10
    while not has_exited(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def has_exited(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


def check_exit(app: AppProcess, message: str) -> None:
    assert app.exit_code(timeout=10) == 1
    assert [line["severity"] for line in app.lines if line["message"] == message] == ["CRITICAL"]


def test_killed_worker_is_replaced(four: list[AppProcess], backends: Backends) -> None:
    app = four[2]
    (worker,) = app.workers()
    os.kill(worker, signal.SIGKILL)
    app.wait(lambda: app.messages_with(f"MLflow's worker {worker} exited by SIGKILL"))
    calls = Calls(app, backends.tokens)
    app.wait(lambda: calls.status() == 200)
    calls.close()
    assert app.workers() not in ([], [worker])


def test_container_stops_when_workers_exit_repeatedly(four: list[AppProcess]) -> None:
    app = four[2]
    while app.running and not app.messages_with("exit repeatedly"):
        for worker in app.workers() if app.running else []:
            os.kill(worker, signal.SIGKILL)
        time.sleep(0.1)
    check_exit(app, "MLflow exited unexpectedly, exit code 1: the container stops")


def test_shutdown_is_in_time_with_a_blocked_query_and_a_hanging_proxy(
    four: list[AppProcess], backends: Backends, database: Database
) -> None:
    app = four[3]
    calls = Calls(app, backends.tokens)
    run = calls.new_run()
    is_waiting = "SELECT 1 FROM information_schema.processlist WHERE user = %s AND state LIKE 'Waiting for table%%'"
    with ThreadPoolExecutor() as pool, backends.server.connected(database.name) as cursor:
        cursor.execute("LOCK TABLES metrics WRITE")
        waiting = pool.submit(calls.log, run, "never")
        app.wait(lambda: backends.server.execute(is_waiting, (database.user,)))
        os.kill(app.child("proxy_app"), signal.SIGSTOP)
        began = time.monotonic()
        app.terminate()
        assert app.exit_code() == 0
        assert time.monotonic() - began < SHUTDOWN_TIMEOUT
        assert waiting.result() is False
    calls.close()
    assert app.messages_with("The proxy did not exit within")
