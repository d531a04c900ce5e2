"""What the proxy answers when it refuses or fails: MLflow's JSON form, so that stock clients show a useful sentence.

The error codes and their statuses are MLflow's (mlflow/exceptions.py). Its Python client sends every request again on
408, 429, 500, 502, 503 and 504, so a fault that stays gets none of these.
"""

import html
import json
from collections.abc import Iterable
from http import HTTPStatus

from aiohttp import web
from multidict import CIMultiDict

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<h1>{title}</h1>{hint}<p>{message}</p>
"""
_ASK_BROWSER = ("WWW-Authenticate", 'Basic realm="MLflow", charset="UTF-8"')
_RELOAD_HINT = "<p>Reload this page and, when the browser asks, type any user name, and your token as the password.</p>"


def _text(status: int, text: str, content_type: str, headers: CIMultiDict[str]) -> web.Response:
    # What a caller sent may be in it, and need not be UTF-8.
    body = text.encode("utf-8", "replace")
    return web.Response(status=status, body=body, content_type=content_type, charset="utf-8", headers=headers)


class Refusal(Exception):
    """A request that ends here. ``reason`` is one word for logs; ``message`` is for the caller."""

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
        # How often it was sent to the upstream before it ended here.
        self.attempts = 0

    def response(self, *, for_a_person: bool = False) -> web.Response:
        """The answer: JSON, or a page for whoever looks at it in a browser."""
        kept = CIMultiDict([("Cache-Control", "no-store"), *self.headers])
        if for_a_person:
            page = _PAGE.format(
                title=html.escape(HTTPStatus(self.status).phrase),
                message=html.escape(self.message),
                hint=_RELOAD_HINT if _ASK_BROWSER in self.headers else "",
            )
            return _text(self.status, page, "text/html", kept)
        body = json.dumps({"error_code": self.error_code, "message": self.message})
        return _text(self.status, body, "application/json", kept)


def unauthenticated(message: str, *, reason: str, by_token: bool = True) -> Refusal:
    """``by_token``: whether a token would help, for which a browser then asks."""
    # A line each: browsers do not look for Basic behind another challenge.
    bearer = ("WWW-Authenticate", "Bearer")
    return Refusal(
        401, "UNAUTHENTICATED", message, reason=reason, headers=[_ASK_BROWSER, bearer] if by_token else [bearer]
    )


def forbidden(message: str, *, reason: str) -> Refusal:
    return Refusal(403, "PERMISSION_DENIED", message, reason=reason)


def no_such_route(message: str, *, reason: str = "unknown-route") -> Refusal:
    return Refusal(404, "ENDPOINT_NOT_FOUND", message, reason=reason)


def malformed(message: str, *, reason: str) -> Refusal:
    return Refusal(400, "INVALID_PARAMETER_VALUE", message, reason=reason)


def garbled(header_limit: int | None) -> Refusal:
    """Bytes that are no HTTP request; ``header_limit``: what a line or a header was longer than."""
    if header_limit is None:
        message = "The proxy cannot read this: it is no HTTP/1.1 request, or it has too many headers."
    else:
        message = f"The request line or a header is longer than {header_limit} bytes (MLFLOW_PROXY_HEADER_LIMIT_BYTES)."
    return malformed(message, reason="garbled" if header_limit is None else "header-too-long")


def fault() -> Refusal:
    return Refusal(500, "INTERNAL_ERROR", "A fault in the proxy; its log says more.", reason="fault")


def too_slow(message: str) -> Refusal:
    return Refusal(408, "DEADLINE_EXCEEDED", message, reason="slow-body", headers=[("Connection", "close")])


def too_large(limit: int) -> Refusal:
    return Refusal(
        413,
        "INVALID_PARAMETER_VALUE",
        f"The request body is larger than the {limit // (1024 * 1024)} MiB that this proxy signs. "
        "Log in smaller batches, or raise MLFLOW_PROXY_BODY_LIMIT_MIB.",
        reason="body-too-large",
    )


def outcome_unknown(message: str) -> Refusal:
    """A write whose answer was lost. Not a 5xx: MLflow's client would send it again, and it may do its work twice."""
    return Refusal(
        409,
        "ABORTED",
        f"{message} The request may have been carried out all the same: look before you send it again.",
        reason="outcome-unknown",
    )


def too_many(message: str, *, retry_after: int = 1) -> Refusal:
    return Refusal(
        429, "REQUEST_LIMIT_EXCEEDED", message, reason="too-many", headers=[("Retry-After", str(retry_after))]
    )


def bad_gateway(message: str, *, reason: str) -> Refusal:
    return Refusal(502, "TEMPORARILY_UNAVAILABLE", message, reason=reason)


def unavailable(message: str, *, reason: str, retry_after: int = 5) -> Refusal:
    return Refusal(503, "TEMPORARILY_UNAVAILABLE", message, reason=reason, headers=[("Retry-After", str(retry_after))])


def upstream_timeout(seconds: float) -> Refusal:
    return Refusal(
        504,
        "DEADLINE_EXCEEDED",
        f"MLflow did not answer within {seconds:g} seconds.",
        reason="upstream-timeout",
    )
