"""The lines that a stack prints for people."""

import pulumi

from .app_engine import AppEngine
from .callers import Callers
from .service import Service


def lines_for_clients(
    *, app: AppEngine, service: Service, callers: Callers
) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
    """(the audience of callers' tokens, the lines for a notebook or a job).

    The lines can be pasted as they are, and hold no token: mlflow_iap fetches those, and keeps them fresh.
    """
    audience = pulumi.Output.all(app.client_id, service.host).apply(lambda found: found[0] or f"https://{found[1]}/*")
    notebook = pulumi.Output.all(service.url, audience, callers.client_account).apply(_lines)
    return audience, notebook


def _lines(found: list[str | None]) -> str:
    url, audience, client = found
    lines = [
        "pip install ./mlflow_iap    # a folder of the project that this stack is of",
        f"export MLFLOW_TRACKING_URI={url}",
        "export MLFLOW_TRACKING_AUTH=iap",
        # Quoted for its star.
        f"export MLFLOW_IAP_AUDIENCE='{audience}'",
    ]
    if client:
        lines.append(f"export MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT={client}")
    return "\n".join([*lines, 'python -m mlflow_iap check "$MLFLOW_TRACKING_URI"'])
