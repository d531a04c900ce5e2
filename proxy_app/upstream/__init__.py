"""What stands behind the proxy, and how a request gets there: signed to SageMaker, or as it is to a plain MLflow."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aiohttp import web

from ..routes import Route
from .pool import Answer


class Upstream(Protocol):
    """One MLflow."""

    origin: str

    def running(self) -> AbstractAsyncContextManager[None]:
        """Everything this needs while the proxy runs."""
        ...

    async def send(self, request: web.BaseRequest, route: Route) -> Answer:
        """Pass a caller's request on. Raises Refusal."""
        ...

    async def probe(self) -> None:
        """Ask for something small. Raises Refusal when no caller's request could be answered now."""
        ...
