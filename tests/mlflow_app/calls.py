"""Requests to MLflow's API, without the retries of its client."""

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import requests

from tests.doubles.running_proxy import Tokens
from tests.mlflow_app.app import App
from tests.mlflow_app.app_process import ROOT

_API = "/api/2.0/mlflow/"


class Calls:
    """Requests to one instance, in one session."""

    def __init__(self, app: App, tokens: Tokens) -> None:
        self.app = app
        self.tokens = tokens
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {tokens.admin}"

    def post(self, path: str, **body: object) -> requests.Response:
        return self.session.post(self.app.url + _API + path, json=body, timeout=60)

    def get(self, path: str, **query: str) -> requests.Response:
        return self.session.get(self.app.url + _API + path, params=query, timeout=60)

    def status(self) -> int:
        """The status of a read that requires the database; 0 without a response."""
        try:
            return self.get("experiments/get", experiment_id="0").status_code
        except requests.ConnectionError:
            return 0

    def new_run(self) -> str:
        name = f"experiment {uuid.uuid4().hex}"
        experiment = self.post("experiments/create", name=name).json()["experiment_id"]
        run: dict[str, Any] = self.post("runs/create", experiment_id=experiment, start_time=1).json()["run"]
        return run["info"]["run_id"]

    def log(self, run_id: str, key: str) -> bool:
        """Log a metric; whether MLflow acknowledged it."""
        try:
            return self.post("runs/log-metric", run_id=run_id, key=key, value=1, timestamp=1).status_code == 200
        except requests.ConnectionError:
            return False

    def logged(self, run_id: str) -> set[str]:
        metrics = self.get("runs/get", run_id=run_id).json()["run"]["data"].get("metrics", [])
        return {metric["key"] for metric in metrics}

    def close(self) -> None:
        self.session.close()


def run_client(url: str, token: str, folder: Path, name: str, **environ: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of artifact_client.py, with an empty home folder."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("artifact_client.py")), name],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPYCACHEPREFIX": str(ROOT / ".local/cache/pyc"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_TRACKING_URI": url,
            "MLFLOW_TRACKING_TOKEN": token,
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
