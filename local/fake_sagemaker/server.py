"""The listeners of the fake SageMaker, all on 127.0.0.1, and their addresses."""

import asyncio
import contextlib
import dataclasses
import ssl
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

from aiohttp import web

from local.fake_sagemaker import faults
from local.fake_sagemaker.control_plane import ControlPlane
from local.fake_sagemaker.credentials import Credentials
from local.fake_sagemaker.errors import AwsError, mlflow_api_error
from local.fake_sagemaker.faults import Faults
from local.fake_sagemaker.forward import MlflowUpstream
from local.fake_sagemaker.http_message import RecordedRequest
from local.fake_sagemaker.mlflow_api import BODY_LIMIT, MlflowApi
from local.fake_sagemaker.mlflow_ui import MlflowUi, PresignedUrls
from local.fake_sagemaker.target import Target
from local.fake_sagemaker.tls import Authority

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeSageMaker:
    """A running fake SageMaker."""

    target: Target
    endpoint: str
    """https://localhost:port, MLflow's endpoint."""
    control_endpoint: str
    """https://localhost:port, SageMaker's control plane and STS."""
    ui_endpoint: str
    """http://127.0.0.1:port, the origin of presigned URLs."""
    credentials_url: str
    """The value of AWS_CONTAINER_CREDENTIALS_FULL_URI."""
    faults_url: str
    """The API of fault injection: see faults.faults_app."""
    ca_file: Path
    credentials: Credentials
    faults: Faults
    recorded_requests: deque[RecordedRequest]
    """The last 1,000 requests at MLflow's endpoint, oldest first."""

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables with which botocore uses these endpoints."""
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.credentials_url,
            "AWS_CA_BUNDLE": str(self.ca_file),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_SAGEMAKER": self.control_endpoint,
            "AWS_ENDPOINT_URL_STS": self.control_endpoint,
            "AWS_REGION": self.target.region,
            "AWS_DEFAULT_REGION": self.target.region,
        }

    @property
    def plugin_environ(self) -> dict[str, str]:
        """`environ`, with the variables with which AWS's plugin sagemaker-mlflow uses these endpoints."""
        return {
            **self.environ,
            "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": self.endpoint,
            "REQUESTS_CA_BUNDLE": str(self.ca_file),
        }


@contextlib.asynccontextmanager
async def serve(
    *,
    target_arn: str,
    upstream: str,
    authority: Authority,
    lifetime: float = 3600,
    clock: Callable[[], float] = time.time,
) -> AsyncGenerator[FakeSageMaker]:
    """Act as `target_arn` in front of the MLflow server at `upstream` (an origin, plain HTTP).

    `lifetime`: of credentials, in seconds. `clock`: returns seconds since the epoch, for all expirations.
    ValueError for an invalid ARN.
    """
    target = Target.parse(target_arn)
    credentials = Credentials(account=target.account, lifetime=lifetime, clock=clock)
    injected = Faults(credentials)
    recorded_requests: deque[RecordedRequest] = deque(maxlen=1000)
    presigned_urls = PresignedUrls(clock)
    tls = authority.server_context()
    async with contextlib.AsyncExitStack() as stack:
        mlflow = MlflowUpstream(upstream)
        stack.push_async_callback(mlflow.close)
        api = MlflowApi(
            target=target,
            credentials=credentials,
            mlflow=mlflow,
            injected=injected,
            recorded_requests=recorded_requests,
            clock=clock,
        )
        control = ControlPlane(
            target=target,
            credentials=credentials,
            presigned_urls=presigned_urls,
            injected=injected,
            clock=clock,
        )
        api.port = await _listen(stack, _app(api.handle), tls)
        control.port = await _listen(stack, _app(control.handle), tls)
        ui_port = await _listen(stack, _app(MlflowUi(presigned_urls, mlflow).handle))
        credentials_port = await _listen(stack, _app(_credentials_handler(credentials, injected)))
        faults_port = await _listen(stack, faults.faults_app(injected))
        presigned_urls.origin = f"http://127.0.0.1:{ui_port}"
        yield FakeSageMaker(
            target=target,
            endpoint=f"https://localhost:{api.port}",
            control_endpoint=f"https://localhost:{control.port}",
            ui_endpoint=presigned_urls.origin,
            credentials_url=f"http://127.0.0.1:{credentials_port}/credentials",
            faults_url=f"http://127.0.0.1:{faults_port}/faults",
            ca_file=authority.ca_file,
            credentials=credentials,
            faults=injected,
            recorded_requests=recorded_requests,
        )


def _credentials_handler(credentials: Credentials, injected: Faults) -> _Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        fault = injected.next_for("credentials", request.path)
        try:
            await faults.apply_before_forwarding(fault, request)
        except AwsError as error:
            return mlflow_api_error(error)
        return web.json_response(credentials.current().as_json())

    return handle


def _app(handler: _Handler) -> web.Application:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ConnectionError:
            # An injected reset, or the client has disconnected: this response is not sent.
            return web.Response()

    app = web.Application(client_max_size=BODY_LIMIT)
    app.router.add_route("*", "/{tail:.*}", handle)
    return app


async def _listen(stack: contextlib.AsyncExitStack, app: web.Application, tls: ssl.SSLContext | None = None) -> int:
    """Serve the app on a free port of 127.0.0.1 until `stack` closes; returns the port."""
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        max_line_size=65536,
        max_field_size=65536,
        shutdown_timeout=1,
    )
    await runner.setup()
    stack.push_async_callback(_close, runner)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    return int(runner.addresses[0][1])


async def _close(runner: web.AppRunner) -> None:
    """Stop without waiting for clients: idle TLS connections would stay open for 30 seconds."""
    transports = [connection.transport for connection in runner.server.connections] if runner.server else []
    await runner.cleanup()
    for transport in transports:
        if transport is not None:
            transport.abort()
    await asyncio.sleep(0)
