"""The upstreams: SageMaker's MLflow, to which requests are signed, and a plain MLflow server."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from ..http_client import Headers, Response
from ..request_body import RequestBody


@dataclass(slots=True)
class UpstreamRequest:
    """A request to the upstream. Rewriters may change it.

    ``target`` is the raw path with its query; ``headers`` are (name, value) pairs; ``idempotent``: the request may be
    sent again after its response was lost; ``long_running``: the upstream may take long to respond. ``attempts`` counts
    how often it has been sent, also if the client then disconnects.
    """

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: RequestBody
    idempotent: bool
    long_running: bool = False
    attempts: int = 0

    def sending(self, attempt: int) -> None:
        """Note that this attempt is about to be sent."""
        self.attempts = attempt


@dataclass(slots=True)
class UpstreamResponse:
    """A response whose head has arrived.

    ``body`` is None until the whole body has been read; ``attempts`` counts how often the request was sent.
    A rewriter may set ``stream``, the chunks to send instead of the body, with their ``length`` (None if unknown), and
    ``on_close``, which is called after the response has been sent or has failed.
    """

    response: Response
    attempts: int
    headers: Headers
    body: bytes | None = None
    stream: AsyncIterator[bytes] | None = None
    length: int | None = None
    on_close: Callable[[], None] | None = None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    def close(self) -> None:
        """Discard what has not been read, and free what a rewriter holds."""
        self.response.close()
        if self.on_close is not None:
            self.on_close()


class Upstream(Protocol):
    """An MLflow service; ``origin`` is its scheme://host[:port]."""

    origin: str

    def running(self) -> AbstractAsyncContextManager[None]:
        """Run its background tasks and keep its connections during the block."""
        ...

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send a request. Raises ApiError, with ``attempts`` set if the request was sent."""
        ...

    async def probe(self) -> None:
        """Send a small request. Raises ApiError if requests cannot be served now."""
        ...
