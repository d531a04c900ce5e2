"""Errors in AWS's shape."""

import json
import uuid

from aiohttp import web

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)


class Refusal(Exception):
    """A request that SageMaker would refuse.

    `status` is the HTTP status of MLflow's endpoint; `kind` is AWS's error type; `detail` is for the log only.
    """

    def __init__(self, kind: str, message: str, *, status: int = 403, detail: str = "") -> None:
        super().__init__(f"{kind}: {message}" + (f" [{detail}]" if detail else ""))
        self.kind = kind
        self.message = message
        self.status = status
        self.detail = detail


def request_id() -> str:
    return str(uuid.uuid4())


def api_error(refusal: Refusal) -> web.Response:
    """As MLflow's endpoints answer: {"message": ...} and the type in a header, not in the body."""
    return web.json_response(
        {"message": refusal.message},
        status=refusal.status,
        headers={"x-amzn-RequestId": request_id(), "x-amzn-ErrorType": refusal.kind},
    )


def control_error(refusal: Refusal) -> web.Response:
    """As AWS's JSON 1.1 services answer: 400 (500 for their own faults) and the type in the body."""
    return web.Response(
        status=refusal.status if refusal.status >= 500 else 400,
        body=json.dumps({"__type": refusal.kind, "message": refusal.message}).encode(),
        headers={"x-amzn-RequestId": request_id(), "Content-Type": "application/x-amz-json-1.1"},
    )
