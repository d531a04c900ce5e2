"""Checks that run against instances in processes and in containers."""

import itertools
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.doubles.mysql import Database, MySql
from tests.mlflow_app.app import App
from tests.mlflow_app.calls import Calls, run_client

# The size of the largest file that artifact_client.py uploads.
_LARGE = 3 << 20


def check_client(app: App, token: str, folder: Path, name: str, **environ: str) -> str:
    """Run artifact_client.py and check its results; returns the artifact URI of its run."""
    code, out, err = run_client(app.url, token, folder, name, **environ)
    assert code == 0, err
    result = json.loads(out.splitlines()[-1])
    assert result["found"]
    assert result["history"] == [1, 1 / 2, 1 / 3]
    assert result["listed"] == [["model/MLmodel", 12], ["model/empty", 0], ["model/weights ü.bin", _LARGE]]
    assert result["same"] == ["MLmodel", "empty", "weights ü.bin"]
    assert result["champion"] == "1"
    return result["artifact_uri"]


def check_one_changed_schema(apps: Sequence[App], done: str) -> None:
    """One instance logged `done`, and the others found the schema up to date."""
    changed = [app for app in apps if app.messages_with(done)]
    assert len(changed) == 1
    assert all(app.messages_with("The schema is up to date") for app in apps if app not in changed)


def check_old_runs(calls: Calls) -> None:
    """The data that old_database.py stored can be read and extended."""
    experiment = calls.get("experiments/get-by-name", experiment_name="created by MLflow 2").json()["experiment"]
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


def restart_database(several: Sequence[Calls], server: MySql) -> None:
    """Kill the database and start it again: 503 meanwhile, then requests succeed again."""
    run = several[0].new_run()
    assert several[0].log(run, "before")
    server.kill()
    try:
        for calls in several:
            # Clients retry this status.
            response = calls.post("runs/log-metric", run_id=run, key="lost", value=1, timestamp=1)
            assert response.status_code == 503
            assert calls.app.status("/healthz") == 200
    finally:
        server.start()
    for number, calls in enumerate(several):
        calls.app.wait(lambda calls=calls, number=number: calls.log(run, f"after {number}"), timeout=30)
    assert several[0].logged(run) == {"before", *(f"after {number}" for number in range(len(several)))}


def rotate_password(several: Sequence[Calls], server: MySql, versions: list[bytes], database: Database) -> Database:
    """Change the password and end connections: no request fails. `versions` are those of the secret."""
    run = several[0].new_run()
    versions.append(b"second password")
    database = server.change_password(database, "second password")
    server.end_connections(database)
    for number, calls in enumerate(several):
        assert [calls.log(run, f"{number} {metric}") for metric in range(20)] == [True] * 20
        assert calls.app.messages_with("retrying with the secret's latest version")
    return database


def stop_under_load(leaving: Calls, staying: Calls, timeout: float = 25) -> None:
    """Send SIGTERM to `leaving` under load: all that was acknowledged is stored, which `staying` reads."""
    app = leaving.app
    run = staying.new_run()
    acknowledged: list[str] = []

    def load(client: int) -> None:
        calls = Calls(app, leaving.tokens)
        for number in itertools.count():
            key = f"{client}-{number}"
            if not calls.log(run, key):
                break
            acknowledged.append(key)
        calls.close()

    clients = [threading.Thread(target=load, args=(client,)) for client in range(6)]
    for client in clients:
        client.start()
    app.wait(lambda: len(acknowledged) > 30)
    began = time.monotonic()
    app.terminate()
    assert app.exit_code() == 0
    assert time.monotonic() - began < timeout
    for client in clients:
        client.join()
    assert set(acknowledged) <= staying.logged(run)
    assert app.messages[-1] == "Stopped"
    assert app.messages_with("is killed") == []
