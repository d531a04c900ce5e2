"""SageMaker's MLflow: each request is buffered, signed with the proxy's own AWS credentials, and sent."""

import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Hashable

from .. import errors
from ..credentials import CredentialKeeper
from ..http_client import Headers
from ..limits.admission import places
from ..limits.concurrency import AdaptiveConcurrency
from ..limits.settings import FairUseSettings
from ..request_body import EMPTY_BODY, BufferedBody
from ..routing import sagemaker_path
from ..settings import Settings
from ..sigv4 import Credentials, canonical_path, encoded_query, signed_headers
from ..target import SageMakerTarget
from . import UpstreamRequest, UpstreamResponse
from .aws_error import aws_error, is_throttled, read_short_error, seconds_to_wait, with_retry_after
from .client import UpstreamClient, check_success
from .ui_link import ui_link


class SageMakerUpstream:
    """Signs requests for a SageMaker tracking server or MLflow app, and sends them."""

    def __init__(self, settings: Settings, target: SageMakerTarget, credentials: CredentialKeeper) -> None:
        self.origin = target.origin
        self._target = target
        self._arn_header = (target.arn_header.encode(), target.arn.encode())
        self._client = UpstreamClient(settings, target.origin)
        self._credentials = credentials
        self.concurrency = AdaptiveConcurrency(places(settings), settings.section(FairUseSettings).queue_seconds)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Refresh the credentials, and close the connections at the end of the block."""
        async with self._client.running(), self._credentials.running():
            yield

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Buffer, sign and send the request. Raises ApiError, also for an error of AWS's API."""
        path, _, query = request.target.partition("?")
        path, query = sagemaker_path(canonical_path(path)), encoded_query(query)
        body = await request.body.buffer()
        try:
            return await self._sign_and_send(
                request.method,
                path,
                query,
                request.headers,
                body,
                idempotent=request.idempotent,
                long_running=request.long_running,
                sending=request.sending,
                owner=request.body.owner,
            )
        finally:
            # The response may take long, and other requests wait for the memory.
            request.body.release()

    async def probe(self) -> None:
        """Get the experiment 0, which always exists; the proxy's smallest policy allows this action.

        Raises ApiError.
        """
        path, query = "/api/2.0/mlflow/experiments/get", "experiment_id=0"
        await check_success(await self._sign_and_send("GET", path, query, (), EMPTY_BODY, idempotent=True))

    async def ui_link(self) -> str:
        """A presigned URL of SageMaker's MLflow UI, with the proxy's rights. See ``ui_link.ui_link``."""
        return await ui_link(self._target, self._credentials.current())

    async def _sign_and_send(
        self,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        body: BufferedBody,
        *,
        idempotent: bool,
        long_running: bool = False,
        sending: Callable[[int], None] = lambda attempt: None,
        owner: Hashable = None,
    ) -> UpstreamResponse:
        concurrency = self.concurrency

        async def send(credentials: Credentials) -> UpstreamResponse:
            """Send as SageMaker's throttling allows, and again after it: throttled requests are not carried out."""
            attempts, deadline = 0, time.monotonic() + concurrency.queue_seconds
            while True:
                if not concurrency.pool.try_acquire(owner):
                    await concurrency.acquire(owner, deadline - time.monotonic())
                sent_at = time.monotonic()
                try:
                    response = await self._send(
                        method,
                        path,
                        query,
                        headers,
                        body,
                        credentials,
                        idempotent=idempotent,
                        long_running=long_running,
                        sending=sending,
                    )
                    throttled = response.status >= 400 and is_throttled(response)
                except BaseException:
                    concurrency.pool.release(owner)
                    raise
                response.attempts = attempts = attempts + response.attempts
                if not throttled:
                    concurrency.succeeded(owner)
                    return response
                pause = concurrency.throttled(owner, sent_at, seconds_to_wait(response))
                if time.monotonic() + pause >= deadline:
                    return response
                response.close()

        credentials = self._credentials.current()
        response = await send(credentials)
        error = aws_error(response)
        # Stale credentials are rejected before the request is carried out, so any request may be sent again.
        if error and error.stale and await self._credentials.renew(credentials):
            response = await send(self._credentials.current())
            error = aws_error(response)
        if error:
            api_error = error.api_error()
            api_error.attempts = response.attempts
            raise api_error
        return response if response.status != 429 else with_retry_after(response)

    async def _send(
        self,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        body: BufferedBody,
        credentials: Credentials,
        *,
        idempotent: bool,
        long_running: bool,
        sending: Callable[[int], None],
    ) -> UpstreamResponse:
        target = self._target
        signed = [("host", self._client.host), (target.arn_header, target.arn)]
        types = [value for name, value in headers if name.lower() == b"content-type"]
        if types:
            if not types[0].isascii():
                # AWS's SDKs sign no such header.
                raise errors.bad_request("The Content-Type is not ASCII.", reason="invalid-header")
            # Only one, since a second one would be signed as a part of the first.
            headers = [header for header in headers if header[0].lower() != b"content-type"]
            headers.append((b"content-type", types[0]))
            signed.append(("content-type", types[0].decode()))
        signature = signed_headers(
            method,
            path,
            query,
            signed,
            body.sha256,
            credentials=credentials,
            region=target.region,
            service=target.service,
            now=time.time(),
        )
        response = await self._client.send(
            method,
            f"{path}?{query}" if query else path,
            [*headers, self._arn_header, *[(name.encode(), value.encode()) for name, value in signature]],
            body.payload,
            length=len(body.content),
            idempotent=idempotent,
            long_running=long_running,
            sending=sending,
        )
        return response if response.status < 400 else await read_short_error(response)
