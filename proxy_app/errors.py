"""Error responses of the proxy, in MLflow's JSON form, so that stock clients show a useful message.

The error codes and their statuses are MLflow's (mlflow/exceptions.py). Its Python client retries 408, 429, 500, 502,
503 and 504, so a permanent error has none of these statuses. ``reason`` is the code in the access log (field ``error``)
and in the metric ``mlflow_proxy_errors_total``; docs/operate.md lists all of them.
"""

import html
import json
from collections.abc import Iterable, Sequence
from http import HTTPStatus

from aiohttp import web
from multidict import CIMultiDict

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<h1>{title}</h1>{hint}<p>{message}</p>
"""
_BASIC_CHALLENGE = ("WWW-Authenticate", 'Basic realm="MLflow", charset="UTF-8"')
_BEARER_CHALLENGE = ("WWW-Authenticate", "Bearer")
_LOGIN_HINT = "<p>Reload this page and log in with any user name and your token as the password.</p>"


def _text(status: int, text: str, content_type: str, headers: CIMultiDict[str]) -> web.Response:
    # It may repeat text of the request, which need not be UTF-8.
    body = text.encode("utf-8", "replace")
    return web.Response(status=status, body=body, content_type=content_type, charset="utf-8", headers=headers)


class ApiError(Exception):
    """Ends a request with an error response.

    ``status`` is the HTTP status, ``error_code`` MLflow's name of the error, ``message`` the text for the client, and
    ``reason`` the code for the log and the metrics. ``attempts`` counts how often the request was sent to the upstream.
    """

    def __init__(
        self,
        status: int,
        error_code: str,
        message: str,
        *,
        reason: str,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code
        self.message = message
        self.reason = reason
        self.headers = tuple(headers)
        self.attempts = 0

    def response(self, *, as_html: bool = False) -> web.Response:
        """The response: JSON, or an HTML page for a browser; with Cache-Control: no-store."""
        headers = CIMultiDict([("Cache-Control", "no-store"), *self.headers])
        if as_html:
            page = _PAGE.format(
                title=html.escape(HTTPStatus(self.status).phrase),
                message=html.escape(self.message),
                hint=_LOGIN_HINT if _BASIC_CHALLENGE in self.headers else "",
            )
            return _text(self.status, page, "text/html", headers)
        body = json.dumps({"error_code": self.error_code, "message": self.message})
        return _text(self.status, body, "application/json", headers)


class Redirect(ApiError):
    """303: sends a browser to another page instead, such as a login page."""

    def __init__(self, location: str, *, reason: str) -> None:
        super().__init__(303, "UNAUTHENTICATED", f"See {location}", reason=reason, headers=[("Location", location)])


def unauthenticated(message: str, *, reason: str, accepts_token: bool = True) -> ApiError:
    """401. With ``accepts_token`` a browser prompts for a user name and a password, which is the token."""
    # One header for each challenge: browsers do not find Basic behind another one in the same header.
    challenges = [_BASIC_CHALLENGE, _BEARER_CHALLENGE] if accepts_token else [_BEARER_CHALLENGE]
    return ApiError(401, "UNAUTHENTICATED", message, reason=reason, headers=challenges)


def forbidden(message: str, *, reason: str) -> ApiError:
    """403: the principal, its role, or the origin of the request is not allowed."""
    return ApiError(403, "PERMISSION_DENIED", message, reason=reason)


def unknown_route(message: str) -> ApiError:
    """404 for a path that the proxy does not forward."""
    return ApiError(404, "ENDPOINT_NOT_FOUND", message, reason="unknown-route")


def wrong_method(method: str, allowed: Sequence[str]) -> ApiError:
    """405 with Allow for a path that the proxy forwards, with other methods."""
    methods = ", ".join(allowed)
    return ApiError(
        405,
        # Its clients then try the path of another version, as they do for a path that is unknown.
        "ENDPOINT_NOT_FOUND",
        f"This path does not accept {method}; it accepts {methods}.",
        reason="wrong-method",
        headers=[("Allow", methods)],
    )


def bad_request(message: str, *, reason: str) -> ApiError:
    """400: the request is invalid; the same request would fail again."""
    return ApiError(400, "INVALID_PARAMETER_VALUE", message, reason=reason)


def malformed_request() -> ApiError:
    """400 for bytes that are not an HTTP request."""
    return bad_request("The request is not valid HTTP/1.1, or it has too many headers.", reason="malformed-request")


def header_too_long(limit: int) -> ApiError:
    """400 for a request line or header of more than ``limit`` bytes."""
    return bad_request(
        f"The request line or a header is longer than {limit} bytes (MLFLOW_PROXY_HEADER_LIMIT_BYTES).",
        reason="header-too-long",
    )


def internal_error() -> ApiError:
    """500 for a bug in the proxy."""
    return ApiError(500, "INTERNAL_ERROR", "Internal error of the proxy; see its log.", reason="internal-error")


def body_timeout(message: str) -> ApiError:
    """408: the request body does not arrive; the connection is closed."""
    return ApiError(408, "DEADLINE_EXCEEDED", message, reason="body-timeout", headers=[("Connection", "close")])


def body_too_large(limit: int) -> ApiError:
    """413 for a request body of more than ``limit`` bytes."""
    return ApiError(
        413,
        "INVALID_PARAMETER_VALUE",
        f"The request body exceeds the limit of {limit // (1024 * 1024)} MiB. "
        "Log in smaller batches, or raise MLFLOW_PROXY_BODY_LIMIT_MIB.",
        reason="body-too-large",
    )


def unsupported_encoding(coding: str) -> ApiError:
    """415 for a Content-Encoding that the proxy cannot decode where it has to."""
    return ApiError(
        415,
        "INVALID_PARAMETER_VALUE",
        f"Content-Encoding {coding!r} is not supported here; use gzip, deflate or none.",
        reason="unsupported-encoding",
    )


def unsupported_transfer_coding() -> ApiError:
    """501 for a transfer coding other than chunked (RFC 9112, 6.1)."""
    return ApiError(
        501,
        "NOT_IMPLEMENTED",
        "Transfer-Encoding: only chunked is supported. Use Content-Encoding for compressed bodies.",
        reason="unsupported-transfer-coding",
    )


def outcome_unknown(message: str) -> ApiError:
    """409 for a write whose response was lost. Not a 5xx: MLflow's client would send the write again."""
    return ApiError(
        409,
        "ABORTED",
        f"{message} The request may have been carried out: check before you send it again.",
        reason="outcome-unknown",
    )


def too_many_requests(message: str, *, reason: str, retry_after: int = 1) -> ApiError:
    """429: a limit of requests; ``retry_after`` is in seconds."""
    return ApiError(
        429,
        "REQUEST_LIMIT_EXCEEDED",
        f"{message} Try again in {retry_after} s.",
        reason=reason,
        headers=[("Retry-After", str(retry_after))],
    )


def bad_gateway(message: str, *, reason: str) -> ApiError:
    """502: MLflow cannot be reached, or its response is invalid."""
    return ApiError(502, "TEMPORARILY_UNAVAILABLE", message, reason=reason)


def missing_in_upstream(path: str) -> ApiError:
    """404 for a request of MLflow's page that SageMaker's older MLflow does not know."""
    return ApiError(
        404,
        "ENDPOINT_NOT_FOUND",
        f"SageMaker's MLflow is older than this page and does not have {path}.",
        reason="missing-in-upstream",
    )


def ui_unavailable() -> ApiError:
    """502: the server of MLflow's page does not respond."""
    return bad_gateway(
        "MLflow's UI does not respond; the API is not affected. Reload the page in a few seconds.",
        reason="ui-unavailable",
    )


def unavailable(message: str, *, reason: str, retry_after: int = 5) -> ApiError:
    """503: a dependency or a limit of the proxy; ``retry_after`` is in seconds."""
    return ApiError(503, "TEMPORARILY_UNAVAILABLE", message, reason=reason, headers=[("Retry-After", str(retry_after))])


def upstream_timeout(seconds: float) -> ApiError:
    """504: MLflow did not respond within ``seconds``."""
    return ApiError(
        504, "DEADLINE_EXCEEDED", f"MLflow did not respond within {seconds:g} seconds.", reason="upstream-timeout"
    )
