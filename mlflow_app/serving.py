"""MLflow's application, imported and served in this process; for both stores, a database and SageMaker."""

import logging
import socket
import time
import warnings
from collections.abc import Mapping
from typing import Any

from .settings import MLFLOW_SHUTDOWN_SECONDS

log = logging.getLogger(__name__)


def common_environment(port: int) -> Mapping[str, str]:
    """The variables that MLflow's modules read on import, without those of its stores.

    mlflow.server.constants has the names of those that begin with ``_``, and cannot be imported before they are set.
    """
    return {
        "_MLFLOW_SGI_NAME": "uvicorn",
        # Only the proxy connects to MLflow; it checks hosts and origins itself.
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # This package configures logging.
        "MLFLOW_CONFIGURE_LOGGING": "false",
        # Job execution would start more processes, of a gigabyte in total, that run code of users.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # Threads that an import starts do not exist in forked workers.
        "OPENBLAS_NUM_THREADS": "1",
    }


def import_application() -> Any:
    """MLflow's ASGI application; takes seconds of processor time."""
    started = time.monotonic()
    with warnings.catch_warnings():
        # Deprecation warnings concern MLflow's developers, not operators.
        warnings.simplefilter("ignore")
        # First: MLflow detects that it runs as a server by this module.
        import uvicorn  # noqa: F401  # pyright: ignore[reportUnusedImport]
        from mlflow.server.fastapi_app import app

    log.info("Imported MLflow in %.1f s", time.monotonic() - started)
    return app


def serve(application: Any, listener: socket.socket, keepalive: float) -> None:
    """Serve on a socket that is bound, until SIGTERM. ``keepalive``: of idle connections, in seconds."""
    import uvicorn

    config = uvicorn.Config(
        application,
        log_config=None,
        # The proxy logs each request.
        access_log=False,
        timeout_keep_alive=int(keepalive),
        timeout_graceful_shutdown=int(MLFLOW_SHUTDOWN_SECONDS - 1),
    )
    uvicorn.Server(config).run(sockets=[listener])
