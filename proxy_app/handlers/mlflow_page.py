"""MLflow's page (its UI) at /, and answers of the proxy that switch off parts of the page."""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ..auth import Role
from ..context import RequestContext
from ..routing import Endpoint, Handler, Route

# The page shows HTML artifacts in frames of its own origin.
_NOT_FRAMED = (b"Content-Security-Policy", b"frame-ancestors 'self'")
# The answers of MLflow's server, in its form, with the feature switched off.
_ANSWERS: Mapping[tuple[str, str], Any] = {
    ("GET", "/ajax-api/3.0/mlflow/ui-telemetry"): {
        "disable_ui_telemetry": True,
        "disable_ui_events": [],
        "ui_rollout_percentage": 0,
    },
    # MLflow's own accounts: with a user, the page would offer to change a password.
    ("GET", "/ajax-api/2.0/mlflow/users/current"): {"user": None},
}
# In front of SageMaker, in addition: what neither SageMaker nor the UI server has.
_SAGEMAKER_ANSWERS: Mapping[tuple[str, str], Any] = {
    ("GET", "/ajax-api/2.0/mlflow/gateway-proxy"): {"endpoints": []},
    ("GET", "/ajax-api/3.0/mlflow/assistant/config"): {"providers": {}, "projects": {}, "remote_access_allowed": False},
    ("GET", "/ajax-api/3.0/mlflow/assistant/providers"): {
        "providers": [],
        "resolved": None,
        "gateway_vendor_options": {},
    },
    # MLflow can list the datasets of an experiment only in a database: the page disables their filter.
    ("POST", "/ajax-api/2.0/mlflow/experiments/search-datasets"): {"dataset_summaries": []},
}


class MlflowPage:
    """Forwards the page with ``forward``, and forbids other sites to show it in a frame."""

    def __init__(self, forward: Handler, *, sagemaker: bool) -> None:
        self._forward = forward
        self._answers = {**_ANSWERS, **_SAGEMAKER_ANSWERS} if sagemaker else _ANSWERS

    def endpoints(self) -> list[Endpoint]:
        """The page and the answers, for viewers."""
        return [
            _endpoint("GET", "/", self._show),
            *(_endpoint(method, path, _answer(content)) for (method, path), content in self._answers.items()),
        ]

    async def _show(self, context: RequestContext) -> web.StreamResponse:
        context.response_headers.append(_NOT_FRAMED)
        return await self._forward(context)


def _answer(content: Any) -> Handler:
    body = json.dumps(content).encode()

    async def respond(_: RequestContext) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    return respond


def _endpoint(method: str, path: str, handler: Handler) -> Endpoint:
    return Endpoint(Route(method, path, "server", Role.VIEWER, idempotent=True), handler)
