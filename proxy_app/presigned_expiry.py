"""Caps how long presigned URLs of MLflow and SageMaker are valid: the client chooses, up to seven days."""

import json
import math
from typing import Any, cast

from .context import RequestContext

PRESIGNED_ROUTES = frozenset(
    f"/{api}/2.0/mlflow/artifacts/presigned-{direction}-url"
    for api in ("api", "ajax-api")
    for direction in ("download", "upload")
)
# Longer than the longest interval until a revoked token ends, by far; MLflow's default is the same.
MAX_SECONDS = 900


class PresignedExpiry:
    """A ``JsonTransform`` for the bodies of PRESIGNED_ROUTES."""

    def transforms_request(self, context: RequestContext) -> bool:
        """True."""
        return True

    def transforms_response(self, context: RequestContext) -> bool:
        """False."""
        return False

    def request(self, context: RequestContext, body: bytes) -> bytes:
        """The body with an ``expiration`` of at most MAX_SECONDS; unchanged if it has none, or MLflow rejects it."""
        try:
            content: Any = json.loads(body)
            # MLflow accepts JSON in a JSON string from older clients.
            if isinstance(content, str):
                content = json.loads(content)
        except ValueError:
            return body
        if not isinstance(content, dict):
            return body
        fields = cast("dict[str, Any]", content)
        if "expiration" not in fields or _seconds(fields["expiration"]) <= MAX_SECONDS:
            return body
        fields["expiration"] = MAX_SECONDS
        return json.dumps(fields).encode()

    def response(self, context: RequestContext, body: bytes) -> bytes:
        """The body, unchanged."""
        return body


def _seconds(value: Any) -> float:
    """The number, which may be a text; infinite for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.inf
