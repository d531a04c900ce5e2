"""The way of a request, top to bottom: who are you, may you, pass it on, stream the answer back."""

import asyncio
import logging
import random
import re
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, NoReturn, TypeVar

from aiohttp import HttpVersion11, web
from multidict import CIMultiDict

from . import errors, headers
from .callers import Caller, Recogniser
from .connections import SLOW
from .cross_site import refuse_foreign_writes
from .hosts import refuse_foreign_hosts
from .observe import Exchange, Observer
from .routes import PathRefused, Route, match
from .settings import Settings
from .upstream import Answer, Upstream
from .upstream.connection import Broken, Silent, UpstreamError
from .whole_answer import WholeAnswer

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_BREAKS: dict[type[UpstreamError], str] = {Broken: "upstream-broke", Silent: "upstream-silent"}
_BODILESS = frozenset({204, 304})
_Response = TypeVar("_Response", bound=web.StreamResponse)


class OwnPage(NamedTuple):
    """Something that the proxy answers itself, to callers with the route's role."""

    route: Route
    answer: Callable[[web.BaseRequest, Caller], Awaitable[web.Response]]


class Proxy:
    """Answers every request, but for those after its health. ``pages`` are its own, by method and path."""

    def __init__(
        self,
        settings: Settings,
        recognisers: Sequence[Recogniser],
        pages: Sequence[OwnPage],
        upstream: Upstream,
        observer: Observer,
    ) -> None:
        self._settings = settings
        self._pages = {(page.route.method, page.route.template): page for page in pages}
        self._recognisers = recognisers
        self._upstream = upstream
        self._observer = observer
        self.in_flight = 0
        # Set when the proxy is to stop: answers then close their connections, so that callers go elsewhere.
        self.draining = False
        # Set when its time is up: what is still under way does not end because of its caller.
        self.cutting_off = False

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The whole exchange: its answer, or the refusal that ended it, counted and logged."""
        given_id = request.headers.get("X-Request-Id")
        exchange = Exchange(given_id if given_id and _REQUEST_ID.fullmatch(given_id) else _new_id(), request.method)
        self.in_flight += 1
        try:
            response = await self._pass(request, exchange)
        except errors.Refusal as refusal:
            response = self._refuse(refusal, exchange, for_a_person="text/html" in request.headers.get("Accept", ""))
        except (asyncio.CancelledError, ConnectionError):
            # nginx's number for a caller that left; nobody sees the answer.
            exchange.status = exchange.status or 499
            exchange.error = exchange.error or ("cut-off" if self.cutting_off else _gone_or_slow(request))
            raise
        except Exception:
            log.exception("A fault in the proxy, request %s", exchange.request_id, extra={"event": "fault"})
            response = self._refuse(errors.fault(), exchange)
        finally:
            self.in_flight -= 1
            exchange.bytes_in = request.content.total_bytes
            self._observer.record(exchange)
        return response

    def refuse_garbled(self, *, too_long: bool) -> web.Response:
        """The answer to bytes that are no request; like the log it repeats none of them: they may hold a secret."""
        exchange = Exchange(_new_id(), "UNKNOWN")
        response = self._refuse(errors.garbled(self._settings.header_limit if too_long else None), exchange)
        response.force_close()
        self._observer.record(exchange)
        return response

    async def _pass(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        if self.in_flight > self._settings.max_requests:
            raise errors.too_many("The proxy has as many requests under way as it takes. Try again shortly.")
        if self._settings.allowed_hosts:
            refuse_foreign_hosts(request, self._settings.allowed_hosts)
        exchange.caller = caller = await self._recognise(request)
        refuse_foreign_writes(request, self._settings.public_url)
        path = request.raw_path.partition("?")[0]
        method = "GET" if request.method == "HEAD" else request.method
        page = self._pages.get((method, path))
        exchange.route = route = page.route if page else _route_of(method, path)
        _refuse_weaker(caller, route)
        if page:
            answered = await page.answer(request, caller)
            exchange.status = answered.status
            return self._own(answered, exchange)
        sent = time.perf_counter()
        try:
            answer = await self._upstream.send(request, route)
        except errors.Refusal as refusal:
            if refusal.attempts:  # the upstream was asked, and its time counts
                exchange.upstream_seconds = time.perf_counter() - sent
            raise
        exchange.upstream_seconds = time.perf_counter() - sent
        exchange.attempts = answer.attempts
        return await self._relay(answer, request, exchange)

    async def _recognise(self, request: web.BaseRequest) -> Caller:
        """Who is calling; Refusal (401, 403, 503) for whom no way recognises."""
        for recogniser in self._recognisers:
            caller = await recogniser.recognise(request)
            if caller is not None:
                return caller
        if "Authorization" in request.headers:
            raise errors.unauthenticated(
                "The Authorization header holds no token of this proxy: it takes `Bearer mlp_...`, "
                "or Basic with such a token as the password.",
                reason="bad-authorization",
            )
        raise errors.unauthenticated(
            "This MLflow asks who is calling. For a client, set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME "
            "to any name and MLFLOW_TRACKING_PASSWORD to the token.",
            reason="no-credentials-shown",
        )

    async def _relay(self, answer: Answer, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """Stream the answer to the caller as it comes; what breaks on the way is seen to be broken."""
        upstream = answer.response
        exchange.status = upstream.status
        kept = [*headers.to_caller(upstream.headers, self._upstream.origin), *_marks(exchange)]
        has_body = request.method != "HEAD" and upstream.status not in _BODILESS
        body = answer.body
        # Most answers are short and have come with their head: one write sends them on.
        if body is None and upstream.complete:
            body = upstream.take()
        if body is not None and has_body:
            whole = self._parting(WholeAnswer(upstream.status, upstream.reason, kept, body))
            # Here rather than when aiohttp comes to it: the caller need not wait for what is written down about it.
            await whole.prepare(request)
            exchange.bytes_out = len(body)
            return whole
        decoded = CIMultiDict([(name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in kept])
        response = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=decoded)
        response.content_length = upstream.content_length
        self._parting(response)
        try:
            await response.prepare(request)
            async for piece in upstream.pieces():
                await response.write(piece)
                exchange.bytes_out += len(piece)
            # aiohttp waits for its own limit only, which short pieces stay below.
            await request.writer.drain()
        except UpstreamError as error:
            exchange.error = _BREAKS[type(error)]
            _break_off(request)
        finally:
            upstream.close()
        return response

    def _refuse(self, refusal: errors.Refusal, exchange: Exchange, *, for_a_person: bool = False) -> web.Response:
        exchange.error, exchange.status, exchange.attempts = refusal.reason, refusal.status, refusal.attempts
        return self._own(refusal.response(for_a_person=for_a_person), exchange)

    def _own(self, response: web.Response, exchange: Exchange) -> web.Response:
        """An answer that the proxy has written itself."""
        if isinstance(response.body, bytes) and exchange.method != "HEAD":
            exchange.bytes_out = len(response.body)
        response.headers.update([(name.decode(), value.decode()) for name, value in _marks(exchange)])
        return self._parting(response)

    def _parting(self, response: _Response) -> _Response:
        if self.draining:
            response.force_close()
        return response


def _marks(exchange: Exchange) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that every answer has."""
    return (b"X-Request-Id", exchange.request_id.encode()), (b"Server", b"mlflow-proxy")


def _new_id() -> str:
    return f"{random.getrandbits(64):016x}"


def _route_of(method: str, path: str) -> Route:
    """Refusal (400, 404) for what is no route of MLflow's: it is never forwarded."""
    try:
        route = match(method, path)
    except PathRefused as refused:
        raise errors.malformed(f"The path cannot be forwarded: {refused}.", reason="bad-path") from None
    if route is None:
        raise errors.no_such_route(
            f"No {method} route of MLflow's that this proxy knows has this path. "
            "If a newer MLflow has it, the proxy's route table needs a line for it."
        )
    return route


def _refuse_weaker(caller: Caller, route: Route) -> None:
    if caller.role < route.role:
        raise errors.forbidden(
            f"{caller.name} is {caller.role.label} here, and this needs the role {route.role.label}.",
            reason="role",
        )


def _break_off(request: web.BaseRequest) -> NoReturn:
    """Cut the caller's connection: ended in order, a part of an answer would look like all of it."""
    if request.transport is not None:
        if request.version < HttpVersion11:
            # Such an answer may have neither length nor chunks: only a reset tells.
            sock = request.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    # What aiohttp itself does to a handler whose caller has left.
    raise asyncio.CancelledError


def _gone_or_slow(request: web.BaseRequest) -> str:
    return "caller-slow" if SLOW in request else "caller-gone"
