"""A route and the endpoint that serves it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from ..auth import Role

if TYPE_CHECKING:
    from ..context import RequestContext

Handler = Callable[["RequestContext"], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path template with named parameters: ``<name>`` is a segment, ``<path:name>`` the rest.

    ``resource_group`` is the label in metrics. ``role`` is the least role that may use it; ``Role.PUBLIC`` needs no
    authentication. ``idempotent``: the request may be sent to the upstream again after its response was lost.
    ``long_running``: the upstream may take long to respond, and pause in its response.
    ``health_check``: exempt from allowed hosts, the limit of requests, the access log and the metrics.
    """

    method: str
    template: str
    resource_group: str
    role: Role
    idempotent: bool
    long_running: bool = False
    health_check: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route with its handler. With a ``condition`` it serves only the requests that fulfil it.

    A later endpoint for the same method and template replaces an earlier one; with a condition, the earlier one becomes
    its ``fallback`` for the other requests.
    """

    route: Route
    handler: Handler
    condition: Callable[[web.BaseRequest], bool] | None = None
    fallback: "Endpoint | None" = field(default=None, compare=False)

    def select(self, request: web.BaseRequest) -> "Endpoint | None":
        """The endpoint that serves this request: this one or a fallback; None if no condition is fulfilled."""
        if self.condition is None or self.condition(request):
            return self
        return self.fallback.select(request) if self.fallback is not None else None
