"""Forwards a request to the upstream and its response to the client."""

import asyncio
import time
from collections.abc import Sequence

from aiohttp import web

from .. import headers, responses
from ..context import RequestContext
from ..errors import ApiError
from ..rewriting import Rewriter
from ..upstream import Upstream, UpstreamRequest, UpstreamResponse

_BODILESS = frozenset({204, 304})


class Forward:
    """The handler of MLflow's routes. ``rewriters`` may change requests, and responses in reverse order."""

    def __init__(self, upstream: Upstream, rewriters: Sequence[Rewriter] = ()) -> None:
        self._upstream = upstream
        self._rewriters = rewriters

    async def __call__(self, context: RequestContext) -> web.StreamResponse:
        """Send the request to the upstream, and stream the response as it arrives.

        Raises ApiError, as ``Upstream.send`` and the rewriters do.
        """
        request, route = context.request, context.matched_route
        outgoing = UpstreamRequest(
            request.method,
            context.target,
            headers.to_upstream(request),
            context.body,
            route.idempotent,
            route.long_running,
        )
        for rewriter in self._rewriters:
            await rewriter.rewrite_request(context, outgoing)
        started = time.perf_counter()
        try:
            response = await self._upstream.send(outgoing)
        except ApiError as error:
            if error.attempts:  # the upstream was called, and its time counts
                context.upstream_seconds = time.perf_counter() - started
            raise
        except (asyncio.CancelledError, ConnectionError):
            # The client disconnected. MLflow may still carry out what was sent until then.
            if outgoing.attempts:
                context.attempts, context.upstream_seconds = outgoing.attempts, time.perf_counter() - started
            raise
        # It has been sent. The response may take long, and a rewriter may need memory for it.
        outgoing.body.release()
        context.upstream_seconds = time.perf_counter() - started
        context.attempts = response.attempts
        try:
            for rewriter in reversed(self._rewriters):
                await rewriter.rewrite_response(context, response)
            return await self._relay(context, response)
        finally:
            response.close()

    async def _relay(self, context: RequestContext, upstream: UpstreamResponse) -> web.StreamResponse:
        response = upstream.response
        forwarded = headers.to_client(upstream.headers, self._upstream.origin, context.path_prefix)
        if upstream.stream is not None:
            return await responses.stream(
                context, response.status, response.reason, forwarded, upstream.length, upstream.stream
            )
        body = upstream.body
        # Most responses are short and arrive with their head: one write forwards them.
        if body is None and response.complete:
            body = response.take()
        if body is not None and context.method != "HEAD" and response.status not in _BODILESS:
            return await responses.send(context, response.status, response.reason, forwarded, body)
        length, chunks = response.content_length, response.chunks()
        return await responses.stream(context, response.status, response.reason, forwarded, length, chunks)
