"""AWS's errors and their responses."""

import json
import uuid

from aiohttp import web

SIGNATURE_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)


class AwsError(Exception):
    """An error response of SageMaker or STS.

    `status` is the HTTP status of MLflow's endpoint; `error_type` is AWS's error type; `detail` is for the log only.
    """

    def __init__(self, error_type: str, message: str, *, status: int = 403, detail: str = "") -> None:
        super().__init__(f"{error_type}: {message}" + (f" [{detail}]" if detail else ""))
        self.error_type = error_type
        self.message = message
        self.status = status
        self.detail = detail


def new_request_id() -> str:
    """A value for the header x-amzn-RequestId."""
    return str(uuid.uuid4())


def mlflow_api_error(error: AwsError) -> web.Response:
    """The response of MLflow's endpoint: {"message": ...}, with the error type in a header."""
    return web.json_response(
        {"message": error.message},
        status=error.status,
        headers={"x-amzn-RequestId": new_request_id(), "x-amzn-ErrorType": error.error_type},
    )


def control_plane_error(error: AwsError) -> web.Response:
    """The response of AWS's JSON 1.1 services: 400 (or 5xx), with the error type in the body."""
    return web.Response(
        status=error.status if error.status >= 500 else 400,
        body=json.dumps({"__type": error.error_type, "message": error.message}).encode(),
        headers={"x-amzn-RequestId": new_request_id(), "Content-Type": "application/x-amz-json-1.1"},
    )
