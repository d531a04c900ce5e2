"""The pipeline: every request passes these steps, top to bottom.

Route, allowed hosts, authentication, admission, CSRF, authorization, handler, record. The steps are independent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence

from aiohttp import web

from . import errors, responses
from .access_log import AccessLog
from .allowed_hosts import check_host
from .auth import Authenticator, Principal, Role
from .connections import WRITE_TIMEOUT
from .context import Lifecycle, RequestContext, RequestRecord, new_request_id
from .csrf import check_csrf
from .limits.admission import Admission
from .metrics import Metrics
from .request_body import BodyReader
from .routing import Endpoint, InvalidPathError, Router, describe_unknown
from .settings import Settings

log = logging.getLogger(__name__)

# Decoding takes time on the event loop. Clients repeat parameters such as run_ids hundreds of times; a key of S3, which
# follows a prefix in a path, has at most 1024 bytes, three times as many when encoded.
_MOST_PARAMETERS = 2000
_LONGEST_PATH = 8192

Authorizer = Callable[[RequestContext], Awaitable[None]]
"""Raises ApiError 403 if the principal may not make this request; the context holds its route and parameters."""


class Proxy:
    """Handles requests; ``authorizers`` run after the check of the role."""

    def __init__(
        self,
        settings: Settings,
        router: Router,
        authenticators: Sequence[Authenticator],
        authorizers: Sequence[Authorizer],
        admission: Admission,
        body_reader: BodyReader,
        metrics: Metrics,
        access_log: AccessLog,
        lifecycle: Lifecycle,
    ) -> None:
        self._settings = settings
        self._router = router
        self._authenticators = authenticators
        self._authorizers = authorizers
        self._admission = admission
        self._body_reader = body_reader
        self._metrics = metrics
        self._access_log = access_log
        self._lifecycle = lifecycle
        # Requests without an authenticated principal: public routes, and those whose authentication takes time.
        self.unauthenticated = 0
        self._running: set[RequestContext] = set()

    @property
    def in_flight(self) -> int:
        """The number of requests that are handled now, health checks excluded."""
        return len(self._running)

    def end_requests(self, revoked: Collection[Principal]) -> None:
        """Abort the connections of the requests of these Principal objects: their credentials were revoked."""
        ids = {id(principal) for principal in revoked}
        for context in [context for context in self._running if id(context.principal) in ids]:
            context.error = "credentials-revoked"
            responses.abort(context.request)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The response to a request, an error response included, recorded in the metrics and the access log.

        Raises CancelledError or ConnectionError when the client disconnects.
        """
        context = RequestContext(request, self._body_reader, self._lifecycle)
        endpoint, routing_error = self._find(context)
        if endpoint is not None and endpoint.route.health_check:
            return await endpoint.handler(context)
        self._running.add(context)
        try:
            response = await self._respond(context, endpoint, routing_error)
        except errors.ApiError as error:
            response = self._error_response(error, context, as_html=context.accepts_html)
        except (asyncio.CancelledError, ConnectionError):
            # nginx's status for a client that disconnected; it is recorded, not sent.
            context.status = context.status or 499
            context.error = context.error or self._disconnect_reason(request)
            raise
        except Exception:
            log.exception("Internal error, request %s", context.request_id, extra={"event": "error"})
            response = self._error_response(errors.internal_error(), context)
        finally:
            self._running.discard(context)
            context.release()
            context.bytes_in = request.content.total_bytes
            self._record(context)
        return response

    def reject(self, *, too_long: bool) -> web.Response:
        """The response to bytes that are not a request.

        Neither it nor the log repeats them: they may contain a secret.
        """
        record = RequestRecord(new_request_id(), "UNKNOWN")
        error = errors.header_too_long(self._settings.header_limit) if too_long else errors.malformed_request()
        response = error.response()
        response.headers.update({"X-Request-Id": record.request_id, "Server": "mlflow-proxy"})
        record.error, record.status = error.reason, error.status
        record.bytes_out = len(response.body) if isinstance(response.body, bytes) else 0
        response.force_close()
        self._record(record)
        return response

    async def _respond(
        self, context: RequestContext, endpoint: Endpoint | None, routing_error: errors.ApiError | None
    ) -> web.StreamResponse:
        public = endpoint is not None and endpoint.route.role is Role.PUBLIC
        if self.unauthenticated >= self._settings.max_requests:
            raise errors.too_many_requests(
                "The proxy has reached its limit of requests that are being authenticated (MLFLOW_PROXY_MAX_REQUESTS).",
                reason="too-many-unauthenticated",
            )
        self.unauthenticated += 1
        try:
            if self._settings.allowed_hosts:
                check_host(context.request, self._settings.allowed_hosts)
            if public:
                return await self._authorize_and_handle(context, endpoint, routing_error)
            # Before unknown routes are reported: without authentication, a client must not find out which exist.
            context.principal = await self._authenticate(context)
        finally:
            self.unauthenticated -= 1
        if not self._admission.try_admit(context.principal):
            await self._admission.admit(context, context.principal)
        try:
            return await self._authorize_and_handle(context, endpoint, routing_error)
        finally:
            self._admission.release(context.principal)

    async def _authorize_and_handle(
        self, context: RequestContext, endpoint: Endpoint | None, routing_error: errors.ApiError | None
    ) -> web.StreamResponse:
        if context.target.count("&") >= _MOST_PARAMETERS:
            raise errors.bad_request(
                f"The query has more than {_MOST_PARAMETERS} parameters.", reason="too-many-parameters"
            )
        changes_state = endpoint is not None and not endpoint.route.idempotent
        check_csrf(context.request, self._settings.public_url, changes_state=changes_state)
        if endpoint is None:
            raise routing_error or errors.internal_error()
        context.route = endpoint.route
        if context.principal is not None:
            check_role(context.principal, endpoint)
            for authorize in self._authorizers:
                await authorize(context)
        response = await endpoint.handler(context)
        # A response that the handler did not send itself has no standard headers yet.
        return responses.own(context, response) if not context.status else response

    def _find(self, context: RequestContext) -> tuple[Endpoint | None, errors.ApiError | None]:
        """(endpoint, None), or (None, the error) for a request that has none."""
        prefix = self._settings.path_prefix
        outside = prefix != "" and not context.remove_prefix(prefix)
        path, _, query = context.target.partition("?")
        if len(path) > _LONGEST_PATH:
            return None, errors.bad_request(
                f"The path is longer than {_LONGEST_PATH} characters.", reason="invalid-path"
            )
        try:
            match = self._router.match(context.method, path)
            # A path may be ambiguous for other methods only.
            methods = self._router.methods(path) if match is None else []
        except InvalidPathError as error:
            return None, errors.bad_request(f"The path is invalid: {error}.", reason="invalid-path")
        endpoint = match.endpoint.select(context.request) if match is not None else None
        if outside and (endpoint is None or not endpoint.route.health_check):
            if path == prefix:
                # The page's links are relative to a path that ends with a slash.
                return None, errors.Redirect(f"{prefix}/" + (f"?{query}" if query else ""), reason="path-prefix")
            return None, errors.unknown_route(
                f"This MLflow is below {prefix}/ (MLFLOW_PROXY_PATH_PREFIX): append {prefix} to the tracking URI."
            )
        if match is None or endpoint is None:
            if methods and context.method not in methods:
                return None, errors.wrong_method(context.method, methods)
            return None, errors.unknown_route(describe_unknown(context.method, path))
        context.parameters = match.parameters
        return endpoint, None

    async def _authenticate(self, context: RequestContext) -> Principal:
        """The principal. Raises ApiError 401, 403 or 503, or a Redirect to a login page."""
        for authenticator in self._authenticators:
            principal = await authenticator.authenticate(context)
            if principal is not None:
                return principal
        for authenticator in reversed(self._authenticators):
            challenge = authenticator.challenge(context)
            if challenge is not None:
                raise challenge
        raise errors.unauthenticated("Authentication required.", reason="missing-token")

    def _error_response(
        self, error: errors.ApiError, context: RequestContext, *, as_html: bool = False
    ) -> web.StreamResponse:
        context.error, context.attempts = error.reason, error.attempts
        return responses.own(context, error.response(as_html=as_html))

    def _disconnect_reason(self, request: web.BaseRequest) -> str:
        if self._lifecycle.stopping:
            return "shutdown"
        return "client-write-timeout" if WRITE_TIMEOUT in request else "client-closed-request"

    def _record(self, record: RequestRecord) -> None:
        self._metrics.record(record)
        self._access_log.record(record)


def check_role(principal: Principal, endpoint: Endpoint) -> None:
    """Raise ApiError 403 if the principal's role is below the route's."""
    if principal.role < endpoint.route.role:
        raise errors.forbidden(
            f"Not permitted: {principal.name} has the role {principal.role.label}; this request requires "
            f"{endpoint.route.role.label}. Ask the administrator of this MLflow for that role; logging in again does "
            "not change it.",
            reason="insufficient-role",
        )
