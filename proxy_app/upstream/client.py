"""The HTTP client of both upstreams, with its errors as ApiError."""

from collections.abc import Callable

from .. import errors
from ..errors import ApiError
from ..http_client import (
    Body,
    CertificateError,
    ClientError,
    ConnectError,
    ConnectionPool,
    Headers,
    InvalidHeaderError,
    ReadTimeout,
    Timeouts,
)
from ..settings import Settings
from ..tls import create_ssl_context
from . import UpstreamResponse


class UpstreamClient:
    """The connection pool of one origin; ``host`` is the value of the Host header."""

    def __init__(self, settings: Settings, origin: str) -> None:
        timeouts = Timeouts(
            connect=settings.connect_timeout, read=settings.upstream_timeout, keepalive=settings.upstream_keepalive
        )
        self._timeout, self._long_timeout = settings.upstream_timeout, settings.long_upstream_timeout
        self._pool = ConnectionPool(origin, timeouts, lambda: create_ssl_context(settings.ca_bundle))
        self.host = self._pool.host
        self.running = self._pool.running

    async def send(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: Callable[[], Body],
        *,
        length: int | None,
        idempotent: bool,
        long_running: bool = False,
        body_replayable: bool = True,
        sending: Callable[[int], None] = lambda attempt: None,
    ) -> UpstreamResponse:
        """As ConnectionPool.send, with a longer timeout if ``long_running``.

        ApiError: 502 or 504 without a response; 409 if a write may have been carried out.
        """
        timeout = self._long_timeout if long_running else self._timeout
        try:
            response, attempts = await self._pool.send(
                method,
                target,
                headers,
                body,
                length=length,
                idempotent=idempotent,
                body_replayable=body_replayable,
                read_timeout=timeout,
                sending=sending,
            )
        except ClientError as error:
            api_error = _api_error(error, timeout, idempotent=idempotent)
            api_error.attempts = error.attempts
            raise api_error from error
        return UpstreamResponse(response, attempts, response.headers)


def _api_error(error: ClientError, timeout: float, *, idempotent: bool) -> ApiError:
    match error:
        case InvalidHeaderError():
            return errors.bad_request("A header of this request holds a line break.", reason="invalid-header")
        case CertificateError():
            return errors.bad_gateway(
                f"The certificate of MLflow is not trusted: {error}.", reason="upstream-certificate-untrusted"
            )
        case ConnectError():
            return errors.bad_gateway("The proxy cannot connect to MLflow.", reason="upstream-connect-error")
        case ReadTimeout():
            if idempotent:
                return errors.upstream_timeout(timeout)
            return errors.outcome_unknown(f"MLflow did not respond within {timeout:g} seconds.")
        case _:
            lost = "The connection to MLflow was lost before the response arrived."
            if idempotent:
                return errors.bad_gateway(lost, reason="upstream-read-error")
            return errors.outcome_unknown(lost)


async def read_body(response: UpstreamResponse) -> bytes:
    """The whole body, read at most once. ApiError 502 if it is incomplete."""
    if response.body is None:
        try:
            response.body = await response.response.read()
        except ClientError as error:
            raise errors.bad_gateway(
                "The connection to MLflow was lost in its response.", reason="upstream-read-error"
            ) from error
    return response.body


async def check_success(response: UpstreamResponse) -> None:
    """Raise ApiError 502 for a status of 500 and above, or an incomplete response."""
    await read_body(response)
    if response.status >= 500:
        raise errors.bad_gateway(f"MLflow responds with status {response.status}.", reason="upstream-error")
