"""MLFLOW_PROXY_USER_TAG: the author of a run in MLflow is the authenticated principal, whatever the client sends."""

import json
from typing import Any, cast

from .context import RequestContext

_TAG = "mlflow.user"
_CREATE = "runs/create"
_ROUTES = {
    f"/{api}/2.0/mlflow/{path}": path
    for api in ("api", "ajax-api")
    for path in (_CREATE, "runs/set-tag", "runs/log-batch")
}


class UserTag:
    """Writes the principal's name into the tag ``mlflow.user`` of new runs, and wherever a request sets this tag.

    MLflow's UI shows the tag as the run's author. It is a ``JsonTransform``.
    """

    def transforms_request(self, context: RequestContext) -> bool:
        """Whether the route creates a run or sets tags of one."""
        return context.matched_route.template in _ROUTES

    def transforms_response(self, context: RequestContext) -> bool:
        """False."""
        return False

    def request(self, context: RequestContext, body: bytes) -> bytes:
        """The body with the principal's name; unchanged if it sets no author, or MLflow rejects it."""
        try:
            content: Any = json.loads(body)
            # MLflow accepts JSON in a JSON string from older clients.
            if isinstance(content, str):
                content = json.loads(content)
        except ValueError:
            return body
        if not isinstance(content, dict):
            return body
        return _with_author(
            cast("dict[str, Any]", content), context.authenticated.name, _ROUTES[context.matched_route.template], body
        )

    def response(self, context: RequestContext, body: bytes) -> bytes:
        """The body, unchanged."""
        return body


def _with_author(content: dict[str, Any], name: str, route: str, body: bytes) -> bytes:
    tags: Any = content.get("tags")
    found = [tag for tag in [content, *(cast("list[Any]", tags) if isinstance(tags, list) else [])] if _is_author(tag)]
    for tag in found:
        tag["value"] = name
    if route == _CREATE:
        # Protobuf's JSON has two names for the field.
        content.pop("userId", None)
        content["user_id"] = name
        if not found and (tags is None or isinstance(tags, list)):
            content["tags"] = [*(cast("list[Any]", tags) or []), {"key": _TAG, "value": name}]
    elif not found:
        return body
    return json.dumps(content).encode()


def _is_author(tag: Any) -> bool:
    return isinstance(tag, dict) and cast("dict[str, Any]", tag).get("key") == _TAG
