"""Creates and upgrades schemas as an instance does, in forked child processes that share one import of MLflow.

`python -m tests.mlflow_app.schema_runner` reads one line of JSON per call of SchemaRunner.run and writes one.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Result(NamedTuple):
    """A child process's exit code and log messages."""

    code: int
    messages: list[str]

    @property
    def log(self) -> str:
        """All messages as one text."""
        return "\n".join(self.messages)


class SchemaRunner:
    """A process that runs `make_schema_ready` with these settings."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ` has the variables for the metadata server, which google-auth reads when it is imported."""
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mlflow_app.schema_runner"],
            cwd=root,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPYCACHEPREFIX": str(root / ".local/cache/pyc"),
                "MLFLOW_CONFIGURE_LOGGING": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "OPENBLAS_NUM_THREADS": "1",
                **environ,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, settings: Mapping[str, str], *, instances: int = 1, kill_at: str = "", revision: str = ""
    ) -> list[Result]:
        """Run several instances at once.

        `kill_at`: SIGKILL the first instance when it logs this text. `revision`: create an older schema instead.
        """
        assert self._process.stdin
        assert self._process.stdout
        own = {name: text for name, text in settings.items() if name.startswith("MLFLOW_APP_")}
        request = {"environ": own, "instances": instances, "kill_at": kill_at, "revision": revision}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return [Result(*result) for result in json.loads(self._process.stdout.readline())]

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def _serve() -> None:
    import mlflow_app.schema  # noqa: F401 - imported here, so that children share it  # pyright: ignore[reportUnusedImport]

    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            logs = [Path(folder, str(number)) for number in range(request["instances"])]
            children = [_start(request["environ"], request["revision"], log) for log in logs]
            if request["kill_at"]:
                while request["kill_at"] not in logs[0].read_text():
                    time.sleep(0.002)
                os.kill(children[0], signal.SIGKILL)
            codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
            results = [(code, _messages(log)) for code, log in zip(codes, logs, strict=True)]
        print(json.dumps(results), flush=True)


def _start(environ: Mapping[str, str], revision: str, log: Path) -> int:
    log.touch()
    if child := os.fork():
        return child
    code = 1
    try:
        with log.open("w", buffering=1) as sys.stdout:
            code = _run(environ, revision)
    finally:
        os._exit(code)


def _run(environ: Mapping[str, str], revision: str) -> int:
    from mlflow_app.database import configure_login, database_uri
    from mlflow_app.logs import log_as_json
    from mlflow_app.server import make_schema_ready
    from mlflow_app.settings import Settings

    log_as_json("mlflow")
    settings = Settings.from_env(environ)
    configure_login(settings)
    if revision:
        _create_old_schema(database_uri(settings), revision)
        return 0
    return make_schema_ready(settings)


def _create_old_schema(uri: str, revision: str) -> None:
    """Run MLflow's own migrations up to the revision."""
    import sqlalchemy
    from alembic import command
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base

    engine = sqlalchemy.create_engine(uri)
    Base.metadata.create_all(engine)
    untyped: Any = utils
    config = untyped._get_alembic_config("")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _messages(log: Path) -> list[str]:
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    return [str(line["message"]) for line in lines]


if __name__ == "__main__":
    _serve()
