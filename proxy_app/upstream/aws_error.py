"""Errors of AWS's API, ``{"message": ...}``, translated into MLflow's form: its clients show them as INTERNAL_ERROR.

MLflow's own errors have an ``error_code`` and are forwarded as they are.
"""

import contextlib
import json
from dataclasses import dataclass
from typing import Any, cast

from .. import errors
from . import UpstreamResponse
from .client import read_body

_SHORT = 8192
_JSON = frozenset({"application/json", "application/x-amz-json-1.0", "application/x-amz-json-1.1"})
# The credentials are no longer valid, as opposed to not authorized.
_STALE = ("ExpiredToken", "token included in the request is expired", "UnrecognizedClient", "InvalidClientTokenId")
# Parts of the error codes for which AWS's SDKs wait (botocore.retries.standard), some of them with status 400 or 503.
_THROTTLED = ("Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown")
# In seconds, where the response has none.
_RETRY_AFTER = "5"
_ERROR_CODES = {
    400: "BAD_REQUEST",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    409: "RESOURCE_CONFLICT",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


@dataclass(frozen=True, slots=True)
class AwsError:
    """An error of AWS's API: HTTP status, message, and Retry-After as sent, empty if absent.

    ``stale``: AWS rejected the credentials as expired or unknown. ``throttled``: AWS has not carried the request out,
    since there were too many.
    """

    status: int
    message: str
    stale: bool
    throttled: bool
    retry_after: str

    def api_error(self) -> errors.ApiError:
        """The same message in MLflow's form, with the same status.

        Stale credentials become 503: the client cannot change them. Throttling becomes 429 with Retry-After.
        """
        if self.throttled:
            return errors.ApiError(
                429,
                "REQUEST_LIMIT_EXCEEDED",
                f"SageMaker: {self.message}",
                reason="aws-throttled",
                headers=[("Retry-After", self.retry_after or _RETRY_AFTER)],
            )
        if self.stale:
            return errors.unavailable(
                f"SageMaker rejects the proxy's credentials: {self.message}", reason="aws-credentials-rejected"
            )
        hint = " (The proxy's AWS role is not authorized; your token is valid.)" if self.status == 403 else ""
        return errors.ApiError(
            self.status,
            _ERROR_CODES.get(self.status, "INTERNAL_ERROR" if self.status >= 500 else "BAD_REQUEST"),
            f"SageMaker: {self.message}{hint}",
            reason="aws-error",
            headers=[("Retry-After", self.retry_after)] if self.retry_after else (),
        )


async def read_short_error(upstream: UpstreamResponse) -> UpstreamResponse:
    """The response, with its body read if it is a short JSON error. ApiError 502 if it is incomplete."""
    response = upstream.response
    if response.header(b"content-type").partition(";")[0].strip() not in _JSON:
        return upstream
    # Without a length it is short if it has arrived completely.
    length = response.buffered if response.complete else response.content_length or 0
    if 0 < length <= _SHORT:
        await read_body(upstream)
    return upstream


def aws_error(upstream: UpstreamResponse) -> AwsError | None:
    """The error of AWS's API in this response; None if it is a response of MLflow."""
    if upstream.body is None:
        return None
    with contextlib.suppress(ValueError):
        content: Any = json.loads(upstream.body)
        if isinstance(content, dict) and "error_code" not in content:
            return _parsed(upstream, cast("dict[str, Any]", content))
    return None


def is_throttled(upstream: UpstreamResponse) -> bool:
    """Whether AWS or MLflow has not carried the request out, since there were too many."""
    if upstream.status == 429:
        return True
    return upstream.status in {400, 503} and (error := aws_error(upstream)) is not None and error.throttled


def seconds_to_wait(upstream: UpstreamResponse) -> float | None:
    """Retry-After in seconds; None if it is absent or a date."""
    text = upstream.response.header(b"retry-after")
    return float(text) if text.isdecimal() else None


def with_retry_after(upstream: UpstreamResponse) -> UpstreamResponse:
    """A response with Retry-After: MLflow's clients wait for it."""
    if not upstream.response.header(b"retry-after"):
        upstream.headers = [*upstream.headers, (b"Retry-After", _RETRY_AFTER.encode())]
    return upstream


def _parsed(upstream: UpstreamResponse, content: dict[str, Any]) -> AwsError | None:
    response = upstream.response
    kind = f"{response.header(b'x-amzn-errortype')} {content.get('__type', '')}".strip()
    # After its first line, "signature does not match" repeats what was signed: the session token is a part of that.
    message = str(content.get("message") or content.get("Message") or kind).partition("\n")[0]
    if not message:
        return None
    stale = response.status in {400, 401, 403} and any(sign in kind or sign in message for sign in _STALE)
    throttled = response.status == 429 or (response.status in {400, 503} and any(sign in kind for sign in _THROTTLED))
    return AwsError(response.status, message, stale, throttled, response.header(b"retry-after"))
