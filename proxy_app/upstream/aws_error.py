"""Errors of AWS's front, ``{"message": ...}``, which MLflow's clients show as INTERNAL_ERROR: put into MLflow's form.

MLflow's own errors have an ``error_code`` and pass as they are.
"""

import contextlib
import json
from dataclasses import dataclass
from typing import Any, cast

from .. import errors
from .connection import UpstreamError
from .pool import Answer

_SHORT = 8192
_JSON = frozenset({"application/json", "application/x-amz-json-1.0", "application/x-amz-json-1.1"})
# These say that the credentials no longer hold, rather than what they allow.
_STALE = ("ExpiredToken", "token included in the request is expired", "UnrecognizedClient", "InvalidClientTokenId")
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
    """What AWS's front said. ``stale``: it did not take the credentials."""

    status: int
    message: str
    stale: bool
    retry_after: str

    def refusal(self) -> errors.Refusal:
        """The same sentence and, but for stale credentials, the same status in MLflow's form."""
        if self.stale:
            return errors.unavailable(
                f"SageMaker does not take the proxy's credentials: {self.message}", reason="credentials-refused"
            )
        hint = " (The proxy's own AWS role was refused, not your token.)" if self.status == 403 else ""
        return errors.Refusal(
            self.status,
            _ERROR_CODES.get(self.status, "INTERNAL_ERROR" if self.status >= 500 else "BAD_REQUEST"),
            f"SageMaker: {self.message}{hint}",
            reason="aws-error",
            headers=[("Retry-After", self.retry_after)] if self.retry_after else (),
        )


async def read_short_error(answer: Answer) -> Answer:
    """An error; if it is a short one in JSON, with its body read. Refusal: 502 when it breaks off."""
    response = answer.response
    if response.header(b"content-type").partition(";")[0].strip() not in _JSON:
        return answer
    # Without a length it is short if all of it is here.
    length = response.held if response.complete else response.content_length or 0
    if not 0 < length <= _SHORT:
        return answer
    try:
        return answer._replace(body=await response.read())
    except UpstreamError as error:
        raise errors.bad_gateway("The connection to MLflow broke in its answer.", reason="upstream-broke") from error


def aws_error(answer: Answer) -> AwsError | None:
    """What AWS's front said in this answer; None if the answer is MLflow's."""
    if answer.body is None:
        return None
    with contextlib.suppress(ValueError):
        content: Any = json.loads(answer.body)
        if isinstance(content, dict) and "error_code" not in content:
            return _parsed(answer, cast("dict[str, Any]", content))
    return None


def _parsed(answer: Answer, content: dict[str, Any]) -> AwsError | None:
    response = answer.response
    kind = f"{response.header(b'x-amzn-errortype')} {content.get('__type', '')}".strip()
    # Behind its first line, "signature does not match" repeats what was signed: the session token is a part of that.
    message = str(content.get("message") or content.get("Message") or kind).partition("\n")[0]
    if not message:
        return None
    stale = response.status in {400, 401, 403} and any(sign in kind or sign in message for sign in _STALE)
    return AwsError(response.status, message, stale, response.header(b"retry-after"))
