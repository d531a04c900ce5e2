"""MLflow's endpoint as SageMaker guards it."""

import logging
from collections import deque
from collections.abc import Callable

from aiohttp import web
from multidict import CIMultiDictProxy

from local.fake_sagemaker import contract, faults
from local.fake_sagemaker.credentials import Credentials
from local.fake_sagemaker.faults import Faults
from local.fake_sagemaker.forward import Mlflow
from local.fake_sagemaker.refusals import Refusal, api_error, request_id
from local.fake_sagemaker.seen import Seen
from local.fake_sagemaker.signature import verify
from local.fake_sagemaker.target import ARN_HEADERS, Target
from local.fake_sagemaker.wire import Received

BODY_LIMIT = 64 * 1024 * 1024
_log = logging.getLogger("fake_sagemaker")


class Api:
    """One request: read it whole, check it, send it on."""

    def __init__(
        self,
        *,
        target: Target,
        credentials: Credentials,
        mlflow: Mlflow,
        injected: Faults,
        seen: deque[Seen],
        clock: Callable[[], float],
    ) -> None:
        self._target = target
        self._credentials = credentials
        self._mlflow = mlflow
        self._faults = injected
        self._seen = seen
        self._clock = clock
        self.port = 0
        """Where this listens; set once it does."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        fault = None
        status = 0
        try:
            received = await receive(request)
            self._check(received)
            fault = self._faults.take("api", received.path)
            await faults.before(fault, request)
            response = await self._mlflow.answer(
                request,
                received.body,
                strip=_signing_headers(request.headers),
                extra={"x-amzn-RequestId": request_id()},
                fault=fault,
            )
            status = response.status
        except Refusal as refusal:
            level = logging.INFO if fault else logging.WARNING  # a fault was asked for
            _log.log(level, "%s %s refused: %s", request.method, request.raw_path, refusal)
            response = api_error(refusal)
            response.headers.update(faults.retry_after(fault))
            status = response.status
        finally:
            self._seen.append(Seen(request.method, request.raw_path, request.headers, status))
        return response

    def _check(self, received: Received) -> None:
        contract.refuse_leaks(received, self.port)
        caller = verify(
            received,
            self._credentials,
            service=self._target.service,
            region=self._target.region,
            now=self._clock(),
            must_sign=frozenset({"x-amz-content-sha256"} | (ARN_HEADERS & _names(received.headers))),
        )
        contract.check_target(received, self._target, caller.principal)


async def receive(request: web.BaseRequest) -> Received:
    """The request with its whole body. Refusal (413) over 64 MiB."""
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refusal("RequestEntityTooLarge", "Request Too Long", status=413) from None
    return Received(request.method, request.raw_path, request.headers, body)


def _names(headers: CIMultiDictProxy[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in headers)


def _signing_headers(headers: CIMultiDictProxy[str]) -> frozenset[str]:
    """What is for SageMaker and not for MLflow."""
    return frozenset(n for n in _names(headers) if n.startswith("x-amz-")) | ARN_HEADERS | {"authorization"}
