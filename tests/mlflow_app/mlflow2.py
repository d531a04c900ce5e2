"""Creates a database with MLflow 2, which is installed in a separate environment."""

import os
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.doubles.mysql import Database, MySql
from tests.mlflow_app.app_process import ROOT

_PYTHON = ROOT / ".local" / "mlflow2" / "bin" / "python"


def database_of_mlflow2(server: MySql) -> Database:
    """A database with a run and a model. Skips the test if MLflow 2 is not installed."""
    if not _PYTHON.exists():
        pytest.skip("needs the packages of requirements/mlflow2.txt: make test installs them")
    database = server.database(user="old", password="old")
    uri = f"mysql+pymysql://old:old@/{database.name}?unix_socket={quote(str(server.socket))}"
    done = subprocess.run(
        [_PYTHON, Path(__file__).with_name("old_database.py"), uri],
        env={"PATH": os.environ["PATH"], "PYTHONPYCACHEPREFIX": str(ROOT / ".local/cache/pyc")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return database
