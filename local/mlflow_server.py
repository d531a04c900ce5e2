"""`python -m local.mlflow_server`: what `mlflow server` runs, in one process.

`mlflow server` imports MLflow, then starts uvicorn, which imports it again: five seconds each on a small machine.
Here the store is opened and the same app is served after one import. The options' names are the server's own.
"""

import argparse
import copy
import os
import socket
from typing import Any

from local.announce import announce


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.mlflow_server")
    parser.add_argument("--backend-store-uri", required=True)
    parser.add_argument("--default-artifact-root", required=True)
    arguments = parser.parse_args()
    # The address is known at once: callers that are quicker than the app wait in the listener's queue.
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        announce(f"http://127.0.0.1:{listener.getsockname()[1]}")
        _serve(listener, arguments.backend_store_uri, arguments.default_artifact_root)


def _serve(listener: socket.socket, store: str, artifacts: str) -> None:
    # As mlflow.server._run_server sets them for its worker; no artifacts are served, as on SageMaker.
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
    config = uvicorn.Config(app, log_config=_plain(LOGGING_CONFIG), timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listener])


def _plain(default: dict[str, Any]) -> dict[str, Any]:
    """uvicorn's logging without colours, which a file does not need."""
    config = copy.deepcopy(default)
    for name in ("default", "access"):
        config["formatters"][name]["use_colors"] = False
    return config


main()
