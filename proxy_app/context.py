"""What a request carries on its way through the proxy: each step reads and writes it."""

import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from .request_body import BodyReader, RequestBody

if TYPE_CHECKING:
    from .auth import Principal
    from .routing import Route

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_NO_PARAMETERS: Mapping[str, str] = {}


@dataclass(slots=True)
class Lifecycle:
    """The state of the process.

    ``draining``: it is going to stop, and each response closes its connection. ``stopping``: the grace period is over,
    and requests that still run are aborted.
    """

    draining: bool = False
    stopping: bool = False


@dataclass(slots=True)
class RequestRecord:
    """What the access log and the metrics record of a request.

    ``started`` is a time of ``time.perf_counter``; ``upstream_seconds`` is the time until the upstream's response head,
    None if it was not called; ``attempts`` counts how often the request was sent to it. ``error`` is the reason of an
    ApiError, empty for none.
    """

    request_id: str
    method: str
    started: float = field(default_factory=time.perf_counter)
    principal: "Principal | None" = None
    route: "Route | None" = None
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    upstream_seconds: float | None = None
    attempts: int = 0
    error: str = ""


class RequestContext(RequestRecord):
    """A request, who sends it, what it asks for, and what is added to its response.

    ``parameters`` are the route's path parameters. ``response_headers`` are added to whatever response the request
    gets, errors included: cookies of a session, for example.
    """

    __slots__ = ("_body", "_body_reader", "lifecycle", "parameters", "request", "response_headers")

    def __init__(self, request: web.BaseRequest, body_reader: BodyReader, lifecycle: Lifecycle) -> None:
        given = request.headers.get("X-Request-Id")
        super().__init__(given if given and _REQUEST_ID.fullmatch(given) else new_request_id(), request.method)
        self.request = request
        self.lifecycle = lifecycle
        self.parameters = _NO_PARAMETERS
        self.response_headers: list[tuple[bytes, bytes]] = []
        self._body_reader = body_reader
        self._body: RequestBody | None = None

    @property
    def body(self) -> RequestBody:
        """The request body, read only when something asks for it."""
        if self._body is None:
            self._body = RequestBody(self.request, self._body_reader)
        return self._body

    @property
    def authenticated(self) -> "Principal":
        """The principal of a request whose route is not public."""
        if self.principal is None:
            raise RuntimeError("a public route has no principal")
        return self.principal

    @property
    def matched_route(self) -> "Route":
        """The route, in a handler."""
        if self.route is None:
            raise RuntimeError("the request has not been matched yet")
        return self.route

    @property
    def accepts_html(self) -> bool:
        """Whether the client is a browser that shows a page."""
        return "text/html" in self.request.headers.get("Accept", "")

    def standard_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that are added to the response."""
        return [
            *self.response_headers,
            (b"X-Request-Id", self.request_id.encode()),
            (b"Server", b"mlflow-proxy"),
        ]

    def release(self) -> None:
        """Free the memory of the request body."""
        if self._body is not None:
            self._body.release()


def new_request_id() -> str:
    """16 random hexadecimal digits."""
    return f"{random.getrandbits(64):016x}"
