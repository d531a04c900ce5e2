"""SageMaker's endpoint for MLflow's API."""

import logging
from collections import deque
from collections.abc import Callable

from aiohttp import web
from multidict import CIMultiDictProxy

from local.fake_sagemaker import faults, request_checks
from local.fake_sagemaker.credentials import Credentials
from local.fake_sagemaker.errors import AwsError, mlflow_api_error, new_request_id
from local.fake_sagemaker.faults import Faults
from local.fake_sagemaker.forward import MlflowUpstream
from local.fake_sagemaker.http_message import ReceivedRequest, RecordedRequest
from local.fake_sagemaker.signature import verify_signature
from local.fake_sagemaker.target import ARN_HEADERS, Target

BODY_LIMIT = 64 * 1024 * 1024
_log = logging.getLogger("fake_sagemaker")


class MlflowApi:
    """Handles requests: reads the whole request, checks it, and forwards it to MLflow."""

    def __init__(
        self,
        *,
        target: Target,
        credentials: Credentials,
        mlflow: MlflowUpstream,
        injected: Faults,
        recorded_requests: deque[RecordedRequest],
        clock: Callable[[], float],
    ) -> None:
        self._target = target
        self._credentials = credentials
        self._mlflow = mlflow
        self._faults = injected
        self._recorded = recorded_requests
        self._clock = clock
        self.port = 0
        """The port of the listener; set once it listens."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """MLflow's response, or that of a rejected request or an injected fault."""
        fault = None
        status = 0
        try:
            received = await receive(request)
            self._check(received)
            fault = self._faults.next_for("api", received.path)
            await faults.apply_before_forwarding(fault, request)
            response = await self._mlflow.forward(
                request,
                received.body,
                strip=_signing_headers(request.headers),
                extra={"x-amzn-RequestId": new_request_id()},
                fault=fault,
            )
            status = response.status
        except AwsError as error:
            level = logging.INFO if fault else logging.WARNING  # injected faults are expected
            _log.log(level, "%s %s rejected: %s", request.method, request.raw_path, error)
            response = mlflow_api_error(error)
            response.headers.update(faults.retry_after_header(fault))
            status = response.status
        finally:
            self._recorded.append(RecordedRequest(request.method, request.raw_path, request.headers, status))
        return response

    def _check(self, received: ReceivedRequest) -> None:
        request_checks.reject_client_headers(received, self.port)
        credential = verify_signature(
            received,
            self._credentials,
            service=self._target.service,
            region=self._target.region,
            now=self._clock(),
            must_sign=frozenset({"x-amz-content-sha256"} | (ARN_HEADERS & _names(received.headers))),
        )
        request_checks.check_target_arn(received, self._target, credential.principal)


async def receive(request: web.BaseRequest) -> ReceivedRequest:
    """The request with its complete body. AwsError (413) over 64 MiB."""
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise AwsError("RequestEntityTooLarge", "Request Too Long", status=413) from None
    return ReceivedRequest(request.method, request.raw_path, request.headers, body)


def _names(headers: CIMultiDictProxy[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in headers)


def _signing_headers(headers: CIMultiDictProxy[str]) -> frozenset[str]:
    """Names of the headers that SageMaker consumes and does not forward to MLflow."""
    return frozenset(n for n in _names(headers) if n.startswith("x-amz-")) | ARN_HEADERS | {"authorization"}
