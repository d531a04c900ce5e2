"""MLflow's UI in front of SageMaker: `python -m mlflow_app.ui FD KEEPALIVE`, on a socket that is already bound.

MLflow's tracking and registry stores are SageMaker's, through AWS's plugin sagemaker-mlflow. The server stores nothing.
It answers for the page only: the proxy sends all API calls and artifacts past it (proxy_app/routing/ui_routes.py).
"""

import gc
import logging
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxy_app.logs import log_as_json

from .serving import common_environment, import_application, serve
from .settings import Settings

log = logging.getLogger(__name__)

# What does not work in front of SageMaker, and has no switch in MLflow: the assistant (shown at localhost), telemetry,
# the demo, the registry of MCP servers, and keys of model providers.
_COMPONENTS = "[data-component-id='mlflow.{}']"
_HIDDEN = [
    "[data-assistant-ui]",
    _COMPONENTS.format("home.telemetry-alert"),
    f"div:has(> {_COMPONENTS.format('home.demo-banner.launch')})",
    *(
        f"{_COMPONENTS.format('settings.general.preferences-card')} > div > div:has({_COMPONENTS.format(setting)})"
        for setting in ("settings.telemetry.toggle-switch", "settings.demo.clear-all-button")
    ),
    *(f"li:has(> a[href='#/{page}'])" for page in ("mcp-registry", "settings/llm-connections")),
]
# With #root, the rules take precedence over those of the page.
_STYLE = f"<style>{', '.join(f'#root {each}' for each in _HIDDEN)} {{ display: none !important }}</style>"


def main() -> int:
    """Serve until SIGTERM; returns the exit code."""
    settings = Settings.from_env(os.environ)
    listener = socket.socket(fileno=int(sys.argv[1]))
    log_as_json()
    # They log each step of their start at INFO.
    for name in ("alembic.runtime.plugins", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    serve(create_application(settings.target_arn, listener.getsockname()[1]), listener, float(sys.argv[2]))
    return 0


def create_application(arn: str, port: int) -> Any:
    """MLflow's application with SageMaker as its store, to be served on this port of 127.0.0.1."""
    os.environ.update(_environment(arn, port))
    # A slow or throttling SageMaker must not occupy all threads of this server for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    application = import_application()
    _share_aws_session()
    _hide_in_page(application)
    gc.collect()
    gc.freeze()
    log.info("Serving MLflow's UI for %s", arn)
    return application


def _environment(arn: str, port: int) -> Mapping[str, str]:
    return {
        **common_environment(port),
        "_MLFLOW_SERVER_FILE_STORE": arn,
        "_MLFLOW_SERVER_REGISTRY_STORE": arn,
        # Removes the AI Gateway from the page, and its routes from this server.
        "MLFLOW_ENABLE_AI_GATEWAY": "false",
        "MLFLOW_ENABLE_REMOTE_ASSISTANT": "false",
    }


def _share_aws_session() -> None:
    """One session for all requests: by itself, the plugin makes one for each, which takes 7 ms and new credentials."""
    import boto3
    from sagemaker_mlflow import set_session

    set_session(boto3.Session())


def _hide_in_page(application: Any) -> None:
    """Serve MLflow's page with a style that hides what does not work here."""
    import mlflow.server
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    page = Path(mlflow.server.__file__).parent / mlflow.server.REL_STATIC_DIR / "index.html"
    text = page.read_text(encoding="utf-8").replace("</head>", f"{_STYLE}</head>", 1)

    async def show(_: object) -> HTMLResponse:
        return HTMLResponse(text, headers={"Cache-Control": "no-cache"})

    # Before the mount of MLflow's Flask application at /.
    application.router.routes.insert(0, Route("/", show))


if __name__ == "__main__":
    sys.exit(main())
