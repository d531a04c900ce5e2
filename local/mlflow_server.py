"""`python -m local.mlflow_server`: the application of `mlflow server`, in one process.

`mlflow server` imports MLflow and then starts uvicorn, which imports it again: about five seconds each on a small
machine. This module imports MLflow once. The options have the same names as those of `mlflow server`.
"""

import argparse
import copy
import os
import socket
from typing import Any

from local.startup_message import print_startup_message


def main() -> None:
    """Listen on a free port of 127.0.0.1, report it, and serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.mlflow_server")
    parser.add_argument("--backend-store-uri", required=True)
    parser.add_argument("--default-artifact-root", required=True)
    arguments = parser.parse_args()
    # The address is known before the import: early connections wait in the listener's backlog.
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        print_startup_message(f"http://127.0.0.1:{listener.getsockname()[1]}")
        _serve(listener, arguments.backend_store_uri, arguments.default_artifact_root)


def _serve(listener: socket.socket, store: str, artifacts: str) -> None:
    # The variables that mlflow.server._run_server sets for its worker. As on SageMaker, artifacts are not served.
    from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR, REGISTRY_STORE_URI_ENV_VAR

    os.environ[BACKEND_STORE_URI_ENV_VAR] = store
    os.environ[REGISTRY_STORE_URI_ENV_VAR] = store
    os.environ[ARTIFACT_ROOT_ENV_VAR] = artifacts
    os.environ["_MLFLOW_SGI_NAME"] = "uvicorn"

    import uvicorn
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores
    from uvicorn.config import LOGGING_CONFIG

    initialize_backend_stores(store, store, artifacts)
    config = uvicorn.Config(app, log_config=_without_colors(LOGGING_CONFIG), timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listener])


def _without_colors(default: dict[str, Any]) -> dict[str, Any]:
    """uvicorn's logging configuration without colors, since the output goes to a file."""
    config = copy.deepcopy(default)
    for name in ("default", "access"):
        config["formatters"][name]["use_colors"] = False
    return config


main()
