"""The state of a request on its way through the proxy: each step of the pipeline reads and writes it."""

import random
import re
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from . import errors
from .request_body import BodyReader, RequestBody

if TYPE_CHECKING:
    from .auth import Principal
    from .routing import Route

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_CHUNKED = "chunked"
_NO_PARAMETERS: Mapping[str, str] = {}


@dataclass(slots=True)
class Lifecycle:
    """The state of the process.

    ``draining``: it is about to stop, and each response closes its connection. ``stopping``: the grace period has
    ended, and requests that still run are aborted.
    """

    draining: bool = False
    stopping: bool = False


class RequestRecord:
    """What the access log and the metrics record of a request.

    ``started`` is a time of ``time.perf_counter``; ``queue_seconds`` is how long the request waited for its admission;
    ``upstream_seconds`` is the time until the upstream's response head, None if it was not called; ``attempts`` counts
    how often the request was sent to it. ``error`` is the reason of an ApiError, empty for none.
    """

    # Defaults on the class: most requests change few of them.
    principal: "Principal | None" = None
    route: "Route | None" = None
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    upstream_seconds: float | None = None
    queue_seconds: float = 0.0
    attempts: int = 0
    error: str = ""

    def __init__(self, request_id: str, method: str) -> None:
        self.request_id = request_id
        self.method = method
        self.started = time.perf_counter()


class RequestContext(RequestRecord):
    """A request with its principal, route and parameters, and the headers to add to its response.

    ``target`` is the raw path with its query; leading slashes are reduced to one, since clients whose tracking URI ends
    with a slash send ``//api/...``. ``path_prefix`` is what was removed from its start. ``parameters`` are the route's
    path parameters, decoded. ``response_headers`` are added to every response to this request, errors included: the
    cookies of a session, for example.
    """

    parameters: Mapping[str, str] = _NO_PARAMETERS
    path_prefix: str = ""
    _body: RequestBody | None = None
    _at_end: tuple[Callable[[], None], ...] = ()

    def __init__(self, request: web.BaseRequest, body_reader: BodyReader, lifecycle: Lifecycle) -> None:
        sent = request.headers.get("X-Request-Id")
        super().__init__(sent if sent and _REQUEST_ID.fullmatch(sent) else new_request_id(), request.method)
        self.request = request
        self.target = _with_one_slash(request.raw_path)
        self.lifecycle = lifecycle
        self.response_headers: list[tuple[bytes, bytes]] = []
        self._body_reader = body_reader

    def remove_prefix(self, prefix: str) -> bool:
        """Remove ``prefix`` from the start of ``target``; False if it is not there."""
        if not self.target.startswith(f"{prefix}/"):
            return False
        self.target, self.path_prefix = _with_one_slash(self.target.removeprefix(prefix)), prefix
        return True

    @property
    def body(self) -> RequestBody:
        """The request body; it is not read until one of its methods is called.

        ApiError 501 for a transfer coding beside chunked: aiohttp removes only chunked, and the upstream gets no other.
        """
        if self._body is None:
            if self.request.headers.get("Transfer-Encoding", _CHUNKED).lower() != _CHUNKED:
                raise errors.unsupported_transfer_coding()
            self._body = RequestBody(self.request, self._body_reader, self.owner)
        return self._body

    @property
    def owner(self) -> Hashable:
        """The owner of this request in pools that principals share; all public requests have the same."""
        return self.principal.owner if self.principal is not None else None

    @property
    def authenticated(self) -> "Principal":
        """The principal of a request whose route is not public. RuntimeError on a public route."""
        if self.principal is None:
            raise RuntimeError("a public route has no principal")
        return self.principal

    @property
    def matched_route(self) -> "Route":
        """The route of the request. RuntimeError before the request has been matched."""
        if self.route is None:
            raise RuntimeError("the request has not been matched yet")
        return self.route

    @property
    def accepts_html(self) -> bool:
        """Whether the Accept header contains text/html: the client is a browser that shows a page."""
        return "text/html" in self.request.headers.get("Accept", "")

    def standard_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers to add to the response: ``response_headers``, X-Request-Id and Server."""
        return [
            *self.response_headers,
            (b"X-Request-Id", self.request_id.encode()),
            (b"Server", b"mlflow-proxy"),
        ]

    def on_end(self, call: Callable[[], None]) -> None:
        """Call ``call`` at the end of the request: when its response has been sent, or has failed."""
        self._at_end = (*self._at_end, call)

    def release(self) -> None:
        """Free what the request holds: the memory of its body, and what ``on_end`` registered."""
        if self._body is not None:
            self._body.release()
        for call in self._at_end:
            call()


def _with_one_slash(path: str) -> str:
    return "/" + path.lstrip("/") if path.startswith("//") else path


def new_request_id() -> str:
    """16 random hexadecimal digits."""
    return f"{random.getrandbits(64):016x}"
