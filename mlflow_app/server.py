"""MLflow's server: `python -m mlflow_app.server FD KEEPALIVE`, on a socket that is already bound.

Each worker process of `mlflow server` imports MLflow itself, which takes 200 MB and a few seconds of processor time.
Here MLflow is imported once; then one child process prepares the schema, and the workers are forked, so that they share
the memory of the imported modules.
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
from .database import configure_login, database_uri
from .logs import log_as_json
from .serving import common_environment, import_application, serve
from .settings import Settings

log = logging.getLogger(__name__)

# The part of each upload that is held in memory. The default of Google's library is 100 MiB.
_UPLOAD_CHUNK = 16 * 1024 * 1024
# The server exits if more workers than this exit within the period.
_MAX_WORKER_EXITS = 5
_WORKER_EXIT_PERIOD_SECONDS = 60.0
EXIT_SCHEMA_REFUSED = 2


def main() -> int:
    """Prepare the schema, then serve until SIGTERM; returns the exit code."""
    settings = Settings.from_env(os.environ)
    listener = socket.socket(fileno=int(sys.argv[1]))
    log_as_json("mlflow")
    # Child processes of MLflow must not see it.
    os.environ.pop("MLFLOW_APP_DATABASE_PASSWORD", None)
    os.environ.setdefault("MLFLOW_GCS_UPLOAD_CHUNK_SIZE", str(_UPLOAD_CHUNK))
    os.environ.update(_mlflow_environment(settings, listener.getsockname()[1]))
    application = _import_mlflow(settings)
    instance = configure_login(settings)
    code = _run_in_child(lambda: make_schema_ready(settings))
    if code is None or code != 0:
        return code or 0
    _make_stores()
    if instance:
        instance.close()
    count = settings.workers or memory.worker_count(
        settings.memory_limit_mib or memory.memory_limit_mib(os.environ), memory.processor_limit()
    )
    # Imported modules are never freed; excluded from garbage collection, their memory pages stay shared.
    gc.collect()
    gc.freeze()
    log.info("Serving MLflow with %d %s", count, "worker" if count == 1 else "workers")
    return _Workers(count, lambda: _serve(application, listener, float(sys.argv[2]))).run()


def make_schema_ready(settings: Settings) -> int:
    """Create or upgrade the schema; returns the exit code. Call ``configure_login`` first."""
    from .schema import SchemaError, prepare_database

    try:
        prepare_database(settings, artifacts.artifact_root(settings))
    except SchemaError as error:
        log.critical("MLflow cannot start. %s", error)
        return EXIT_SCHEMA_REFUSED
    return 0


def _mlflow_environment(settings: Settings, port: int) -> Mapping[str, str]:
    """The variables that MLflow's modules read on import, as `mlflow server` sets them."""
    uri = database_uri(settings)
    return {
        **common_environment(port),
        "_MLFLOW_SERVER_FILE_STORE": uri,
        "_MLFLOW_SERVER_REGISTRY_STORE": uri,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": artifacts.artifact_root(settings),
        # Also with direct access: experiments that were created with proxied access keep it.
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": settings.artifacts_destination,
    }


def _import_mlflow(settings: Settings) -> Any:
    app = import_application()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from . import schema  # noqa: F401  # pyright: ignore[reportUnusedImport]

    if settings.artifacts_destination.startswith("gs://"):
        artifacts.sign_multipart_uploads(settings)
    return app


def _make_stores() -> None:
    """Create MLflow's stores for all workers, without an open connection.

    If each worker created them at its first request while the database is unavailable, MLflow would retry for minutes,
    and clients would wait.
    """
    from mlflow.server import handlers
    from mlflow.store.db import utils

    untyped: Any = handlers
    for store in (untyped._get_tracking_store(), untyped._get_model_registry_store()):
        store.engine.dispose()
    # Stores that are created later (for jobs) fail at once: clients retry.
    utils.MAX_RETRY_COUNT = 1


def _serve(application: Any, listener: socket.socket, keepalive: float) -> None:
    # Each engine checks the schema again and logs that.
    logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)
    serve(application, listener, keepalive)


def _run_in_child(work: Callable[[], int]) -> int | None:
    """Run ``work`` in a child process; its exit code, or None if SIGTERM was received meanwhile.

    The signal is not passed on, so that the child finishes: an incomplete upgrade breaks the schema.
    """
    received: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    child = _fork(work)
    _, status = os.waitpid(child, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return None if received else os.waitstatus_to_exitcode(status)


def _fork(work: Callable[[], int]) -> int:
    if threading.active_count() != 1:
        raise RuntimeError(f"Cannot fork: importing MLflow has started threads: {threading.enumerate()}")
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = work()
    except Exception:
        log.exception("MLflow's process failed")
    finally:
        sys.stdout.flush()
        os._exit(code)


class _Workers:
    """Worker processes; each is replaced when it exits."""

    def __init__(self, count: int, serve: Callable[[], None]) -> None:
        self._count = count
        self._serve = serve
        self._running: set[int] = set()
        self._stopping = False
        self._exits: deque[float] = deque(maxlen=_MAX_WORKER_EXITS)

    def run(self) -> int:
        """Serve until SIGTERM, or until workers exit repeatedly; returns the exit code."""
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
        # Block SIGTERM until the child is registered: otherwise it would not be stopped.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        self._running.add(_fork(self._work))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def _work(self) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        self._serve()
        return 0

    def _replace(self, child: int, code: int) -> bool:
        """Replace a worker that has exited; False if too many have."""
        log.error(
            "MLflow's worker %d exited %s; it is replaced",
            child,
            f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name} (out of memory?)",
        )
        now = time.monotonic()
        if len(self._exits) == _MAX_WORKER_EXITS and now - self._exits[0] < _WORKER_EXIT_PERIOD_SECONDS:
            log.critical("MLflow's workers exit repeatedly: stopping")
            return False
        self._exits.append(now)
        self._start()
        return True

    def _stop(self, *_: object) -> None:
        self._stopping = True
        for child in self._running:
            # One that has just exited may still be registered.
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
