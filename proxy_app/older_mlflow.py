"""MLflow's page in front of an MLflow that is older: SageMaker serves older versions than the page's.

Tried with MLflow 2.16, 3.0 and 3.10: docs/ui.md lists what works.
"""

import re

from . import errors
from .context import RequestContext
from .upstream import UpstreamRequest, UpstreamResponse

_EXPERIMENT_SEARCH = "/ajax-api/2.0/mlflow/experiments/search"
# The page leaves out the experiments of the AI Gateway, which is off here. Older versions reject IS NULL.
_NO_GATEWAY = "tags.%60mlflow.experiment.isGateway%60+IS+NULL"
# The whole filter, or its last condition.
_CONDITION = re.compile(rf"(?:(?<=[?&])filter=|\+AND\+){re.escape(_NO_GATEWAY)}(?=&|\Z)")


class OlderMlflow:
    """A Rewriter of the page's requests to SageMaker, which are those below /ajax-api/."""

    async def rewrite_request(self, context: RequestContext, request: UpstreamRequest) -> None:
        """Remove the condition on the AI Gateway from a search of experiments."""
        if context.matched_route.template == _EXPERIMENT_SEARCH and _NO_GATEWAY in request.target:
            request.target = _CONDITION.sub("", request.target)

    async def rewrite_response(self, context: RequestContext, response: UpstreamResponse) -> None:
        """Raise ApiError 404 with a message that the page shows, if MLflow does not know the route."""
        route = context.matched_route
        if response.status != 404 or not route.template.startswith("/ajax-api/"):
            return
        if not response.response.header(b"content-type").startswith("application/json"):
            raise errors.missing_in_upstream(route.template.removeprefix("/ajax-api/"))
