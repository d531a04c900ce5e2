"""The UI server: an MLflow server on this host that serves MLflow's page, while SageMaker serves the API."""

from .. import errors
from ..errors import ApiError
from ..settings import Settings
from ..target import PlainTarget
from . import UpstreamRequest, UpstreamResponse
from .plain import PlainUpstream

_UNAVAILABLE = frozenset({"upstream-connect-error", "upstream-read-error", "upstream-timeout"})


class UiServer(PlainUpstream):
    """As PlainUpstream, with errors that name the UI: the API is not affected when this server is unavailable."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, PlainTarget(settings.ui_url))

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Forward the request. Raises ApiError; 502 with the reason ``ui-unavailable`` if the server is down."""
        try:
            return await super().send(request)
        except ApiError as error:
            if error.reason not in _UNAVAILABLE:
                raise
            unavailable = errors.ui_unavailable()
            unavailable.attempts = error.attempts
            raise unavailable from error
