"""What the access log says of requests to S3: one attempt if any was sent, and the time until the handler ended."""

import time
from contextvars import ContextVar

from aiohttp import web

from ..context import RequestContext
from ..errors import ApiError
from ..routing import Handler

_current: ContextVar[RequestContext | None] = ContextVar("request", default=None)


def sending(_: int) -> None:
    """Note that the current request is about to be sent to S3; for ``ConnectionPool.send``."""
    if (context := _current.get()) is not None:
        context.attempts = context.attempts or 1


def recorded(handler: Handler) -> Handler:
    """The handler; what it sent to S3 is recorded, also if the client disconnects."""

    async def handle(context: RequestContext) -> web.StreamResponse:
        token, started = _current.set(context), time.perf_counter()
        try:
            return await handler(context)
        except ApiError as error:
            error.attempts = error.attempts or context.attempts
            raise
        finally:
            _current.reset(token)
            if context.attempts and context.upstream_seconds is None:
                context.upstream_seconds = time.perf_counter() - started

    return handle
