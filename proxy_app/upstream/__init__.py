"""The upstreams: SageMaker's MLflow, to which requests are signed, and a plain MLflow server."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from ..http_client import Headers, Response
from ..request_body import RequestBody


@dataclass(slots=True)
class UpstreamRequest:
    """A request on its way to the upstream. Rewriters may change it.

    ``target`` is the raw path with its query; ``headers`` are those that are forwarded; ``idempotent``: it may be sent
    again after its response was lost.
    """

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: RequestBody
    idempotent: bool


@dataclass(slots=True)
class UpstreamResponse:
    """A response whose head has arrived. ``body`` is None until it has been read as a whole."""

    response: Response
    attempts: int
    headers: Headers
    body: bytes | None = None

    @classmethod
    def of(cls, response: Response, attempts: int) -> "UpstreamResponse":
        """As the HTTP client returns it."""
        return cls(response, attempts, response.headers)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status


class Upstream(Protocol):
    """One MLflow."""

    origin: str

    def running(self) -> AbstractAsyncContextManager[None]:
        """Everything that it needs while the proxy runs."""
        ...

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send a request. Raises ApiError, with ``attempts`` set if the upstream was called."""
        ...

    async def probe(self) -> None:
        """Send a small request. Raises ApiError if no client's request could be served now."""
        ...
