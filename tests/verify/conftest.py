"""Fixtures: `python -m verify` as a child process, and the objects on MLflow's server."""

import dataclasses
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.fixtures import Server

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Mlflow:
    """A real MLflow server without authentication, with artifacts in S3 as on SageMaker."""

    url: str

    def experiments(self, view: str, name: str) -> dict[str, str]:
        """{name: id} of the experiments whose names contain `name`; view: ACTIVE_ONLY or DELETED_ONLY."""
        found = self._post(
            "experiments/search", {"filter": f"name LIKE '%{name}%'", "view_type": view, "max_results": 1000}
        )
        return {experiment["name"]: experiment["experiment_id"] for experiment in found.get("experiments", [])}

    def active_runs(self, experiment_id: str) -> list[Any]:
        query = {"experiment_ids": [experiment_id], "run_view_type": "ACTIVE_ONLY"}
        return self._post("runs/search", query).get("runs", [])

    def _post(self, route: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/api/2.0/mlflow/{route}",
            json.dumps(fields).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)


@dataclasses.dataclass(frozen=True)
class Completed:
    """Exit code and output of a verification."""

    code: int
    out: str
    err: str


@dataclasses.dataclass(frozen=True)
class Verify:
    """Runs `python -m verify` in an empty folder with an empty HOME."""

    folder: Path
    command = (sys.executable, "-m", "verify")

    def environment(self, **extra: str) -> dict[str, str]:
        for name in ("home", "cwd", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": str(ROOT),
            "PYTHONPYCACHEPREFIX": str(ROOT / ".local/cache/pyc"),
            "AWS_EC2_METADATA_DISABLED": "true",
            **extra,
        }

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, *arguments],
            cwd=self.folder / "cwd",
            env=self.environment(**environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> Completed:
        try:
            out, err = process.communicate(timeout=90)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        return Completed(process.returncode, out, err)

    def __call__(self, *arguments: str, **environ: str) -> Completed:
        return self.end(self.start(*arguments, **environ))


@pytest.fixture
def verify(tmp_path: Path) -> Verify:
    runner = Verify(tmp_path)
    runner.environment()
    return runner


@pytest.fixture
def mlflow(mlflow_server: Server) -> Mlflow:
    return Mlflow(mlflow_server.url)
