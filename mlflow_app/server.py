"""MLflow's server: `python -m mlflow_app.server FD KEEPALIVE`, on a socket that is bound already.

`mlflow server` starts processes that import MLflow each on their own: 200 MB and some seconds of a processor apiece.
Here it is imported once; then one child makes the schema ready, and after it the children that serve are forked off, so
they share what was imported.
"""

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from . import artifacts, memory
from .connect import log_in_as
from .database_uri import database_uri
from .logs import log_as_json
from .settings import MLFLOW_STOP, Settings

log = logging.getLogger(__name__)

# So much of each upload is held in memory; Google's library holds 100 MiB by itself, and six uploads a gigabyte.
_UPLOAD_CHUNK = 16 * 1024 * 1024
# More deaths than this in a minute are no accident.
_DEATHS = 5
_MINUTE = 60.0
REFUSED = 2


def main() -> int:
    settings = Settings.from_env(os.environ)
    listener = socket.socket(fileno=int(sys.argv[1]))
    log_as_json("mlflow")
    # Nothing that MLflow starts gets to see it.
    os.environ.pop("MLFLOW_APP_DATABASE_PASSWORD", None)
    os.environ.setdefault("MLFLOW_GCS_UPLOAD_CHUNK_SIZE", str(_UPLOAD_CHUNK))
    os.environ.update(_environment(settings, listener.getsockname()[1]))
    application = _import_mlflow(settings)
    log_in_as(settings)
    code = _in_child(lambda: make_schema_ready(settings))
    if code is None or code != 0:
        return code or 0
    _make_stores()
    count = settings.workers or memory.workers(settings.memory or memory.limit(os.environ), memory.processors())
    # What was imported lives to the end; untouched by the garbage collector its memory stays shared.
    gc.collect()
    gc.freeze()
    log.info("MLflow is served by %d %s", count, "process" if count == 1 else "processes")
    return _Workers(count, lambda: _serve(application, listener, float(sys.argv[2]))).run()


def make_schema_ready(settings: Settings) -> int:
    """The exit code of a process that does it and has called ``log_in_as``."""
    from .schema import SchemaError, make_ready

    try:
        make_ready(settings, artifacts.root(settings))
    except SchemaError as error:
        log.critical("MLflow cannot start. %s", error)
        return REFUSED
    return 0


def _environment(settings: Settings, port: int) -> Mapping[str, str]:
    """What MLflow's modules read when they are imported, as `mlflow server` sets it."""
    # The names are the variables that mlflow.server.constants holds, which cannot be imported before they are set.
    uri = database_uri(settings)
    return {
        "_MLFLOW_SERVER_FILE_STORE": uri,
        "_MLFLOW_SERVER_REGISTRY_STORE": uri,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": artifacts.root(settings),
        "_MLFLOW_SGI_NAME": "uvicorn",
        # The proxy alone talks to MLflow, and has looked at hosts and origins itself.
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # Our own is in Cloud Logging's form.
        "MLFLOW_CONFIGURE_LOGGING": "false",
        # Processes of their own, a gigabyte of them, that run what users hand in.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # Threads that start with an import would not live in the children.
        "OPENBLAS_NUM_THREADS": "1",
        # With direct artifacts, too: an experiment that was made before goes on as it was made.
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": settings.artifacts,
    }


def _import_mlflow(settings: Settings) -> Any:
    started = time.monotonic()
    with warnings.catch_warnings():
        # What its authors have to hear, not its operators.
        warnings.simplefilter("ignore")
        # First, since MLflow asks whether it is a server by looking for it.
        import uvicorn  # noqa: F401  # pyright: ignore[reportUnusedImport]
        from mlflow.server.fastapi_app import app

        from . import schema  # noqa: F401  # pyright: ignore[reportUnusedImport]

    if settings.artifacts.startswith("gs://"):
        artifacts.refuse_multipart_without_a_key()
    log.info("MLflow has been imported in %.1f s", time.monotonic() - started)
    return app


def _make_stores() -> None:
    """MLflow's way to the database, for all who serve, without a connection.

    Made by each at its first request it would be tried again for minutes, and callers wait, where the database is away
    just then.
    """
    from mlflow.server import handlers
    from mlflow.store.db import utils

    untyped: Any = handlers
    for store in (untyped._get_tracking_store(), untyped._get_model_registry_store()):
        store.engine.dispose()
    # What is still made later (jobs) fails at once: clients try again.
    utils.MAX_RETRY_COUNT = 1


def _serve(application: Any, listener: socket.socket, keepalive: float) -> None:
    import uvicorn

    # Each engine looks at the schema once more, and tells of it.
    logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)
    config = uvicorn.Config(
        application,
        log_config=None,
        # The proxy writes a line for each request.
        access_log=False,
        timeout_keep_alive=int(keepalive),
        timeout_graceful_shutdown=int(MLFLOW_STOP - 1),
    )
    uvicorn.Server(config).run(sockets=[listener])


def _in_child(work: Callable[[], int]) -> int | None:
    """The exit code of a child that does the work; None for SIGTERM meanwhile.

    The child is not told of the signal and finishes: half a schema is worse than none.
    """
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    child = _fork(work)
    _, status = os.waitpid(child, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return None if told else os.waitstatus_to_exitcode(status)


def _fork(work: Callable[[], int]) -> int:
    if threading.active_count() != 1:
        raise RuntimeError(f"MLflow cannot be forked off: it has started {threading.enumerate()}")
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = work()
    except Exception:
        log.exception("MLflow broke")
    finally:
        sys.stdout.flush()
        os._exit(code)


class _Workers:
    """Processes that serve, each replaced when it dies."""

    def __init__(self, count: int, serve: Callable[[], None]) -> None:
        self._count = count
        self._serve = serve
        self._running: set[int] = set()
        self._stopping = False
        self._deaths: deque[float] = deque(maxlen=_DEATHS)

    def run(self) -> int:
        """Until SIGTERM, or until they die again and again; the exit code."""
        signal.signal(signal.SIGTERM, self._stop)
        for _ in range(self._count):
            self._start()
        while self._running:
            child, status = os.wait()
            self._running.discard(child)
            if not self._stopping and not self._replace(child, os.waitstatus_to_exitcode(status)):
                self._stop()
                return 1
        return 0

    def _start(self) -> None:
        # Between the fork and the note of it no signal may come: the child would not be told to stop.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        self._running.add(_fork(self._work))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def _work(self) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        self._serve()
        return 0

    def _replace(self, child: int, code: int) -> bool:
        """Whether there is still hope."""
        log.error(
            "A process that served MLflow, %d, ended %s; another takes its place",
            child,
            f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name} (no memory left?)",
        )
        now = time.monotonic()
        if len(self._deaths) == _DEATHS and now - self._deaths[0] < _MINUTE:
            log.critical("MLflow's processes die again and again")
            return False
        self._deaths.append(now)
        self._start()
        return True

    def _stop(self, *_: object) -> None:
        self._stopping = True
        for child in self._running:
            # One that has just died may not have been noted.
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
