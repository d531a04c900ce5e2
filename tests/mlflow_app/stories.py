"""What an instance goes through, whether it is a process or a container."""

import itertools
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.doubles.mariadb import Database, MariaDb
from tests.mlflow_app.app import App
from tests.mlflow_app.calls import Calls, stock_client

# Of the largest file that stock_client.py sends.
_LARGE = 3 << 20


def a_client_works(app: App, token: str, folder: Path, name: str, **environ: str) -> str:
    """A stock client logs, searches, sends and gets artifacts, and registers a model; where its artifacts went."""
    code, out, err = stock_client(app.url, token, folder, name, **environ)
    assert code == 0, err
    said = json.loads(out.splitlines()[-1])
    assert said["found"]
    assert said["history"] == [1, 1 / 2, 1 / 3]
    assert said["listed"] == [["model/MLmodel", 12], ["model/empty", 0], ["model/weights ü.bin", _LARGE]]
    assert said["same"] == ["MLmodel", "empty", "weights ü.bin"]
    assert said["champion"] == "1"
    return said["artifact_uri"]


def one_of_them_works_on_the_schema(apps: Sequence[App], done: str) -> None:
    """All have said by now what became of it."""
    worked = [app for app in apps if app.said(done)]
    assert len(worked) == 1
    assert all(app.said("The schema is current") for app in apps if app not in worked)


def old_runs_are_read_and_gone_on_with(calls: Calls) -> None:
    """What old_database.py has stored."""
    experiment = calls.get("experiments/get-by-name", experiment_name="made by MLflow 2").json()["experiment"]
    found = calls.post("runs/search", experiment_ids=[experiment["experiment_id"]]).json()["runs"]
    assert [run["data"]["params"] for run in found] == [[{"key": "depth", "value": "3"}]]
    run = found[0]["info"]
    assert run["artifact_uri"] == f"gs://old-bucket/artifacts/{experiment['experiment_id']}/{run['run_id']}/artifacts"
    history = calls.get("metrics/get-history", run_id=run["run_id"], metric_key="loss").json()["metrics"]
    assert len(history) == 50
    version = calls.get("registered-models/alias", name="old model", alias="champion").json()["model_version"]
    assert version["run_id"] == run["run_id"]
    assert calls.log(run["run_id"], "after the upgrade")
    assert calls.logged(run["run_id"]) == {"loss", "after the upgrade"}


def the_database_is_killed_and_comes_back(several: Sequence[Calls], server: MariaDb) -> None:
    run = several[0].new_run()
    assert several[0].log(run, "before")
    server.kill()
    try:
        for calls in several:
            # A code that clients try again.
            answer = calls.post("runs/log-metric", run_id=run, key="lost", value=1, timestamp=1)
            assert answer.status_code == 503
            assert calls.app.status("/healthz") == 200
    finally:
        server.start()
    for number, calls in enumerate(several):
        calls.app.wait(lambda calls=calls, number=number: calls.log(run, f"after {number}"), within=30)
    assert several[0].logged(run) == {"before", *(f"after {number}" for number in range(len(several)))}


def the_password_changes(
    several: Sequence[Calls], server: MariaDb, versions: list[bytes], database: Database
) -> Database:
    """No request is lost by it; `versions` are the secret's."""
    run = several[0].new_run()
    versions.append(b"second password")
    database = server.change_password(database, "second password")
    server.end_connections(database)
    for number, calls in enumerate(several):
        assert [calls.log(run, f"{number} {metric}") for metric in range(20)] == [True] * 20
        assert calls.app.said("the secret has another one by now")
    return database


def sigterm_under_load_loses_nothing(leaving: Calls, staying: Calls, within: float = 25) -> None:
    """`staying` knows what was stored."""
    app = leaving.app
    run = staying.new_run()
    acknowledged: list[str] = []

    def load(caller: int) -> None:
        own = Calls(app, leaving.tokens)
        for number in itertools.count():
            key = f"{caller}-{number}"
            if not own.log(run, key):
                break
            acknowledged.append(key)
        own.close()

    callers = [threading.Thread(target=load, args=(caller,)) for caller in range(6)]
    for caller in callers:
        caller.start()
    app.wait(lambda: len(acknowledged) > 30)
    began = time.monotonic()
    app.terminate()
    assert app.exit_code() == 0
    assert time.monotonic() - began < within
    for caller in callers:
        caller.join()
    assert set(acknowledged) <= staying.logged(run)
    assert app.messages[-1] == "Stopped"
    assert app.said("is killed") == []
