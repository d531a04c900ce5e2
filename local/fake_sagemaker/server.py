"""The fake SageMaker's listeners, all on loopback, and what a client needs to know of them."""

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
from local.fake_sagemaker.api import BODY_LIMIT, Api
from local.fake_sagemaker.control import Control
from local.fake_sagemaker.credentials import Credentials
from local.fake_sagemaker.faults import Faults
from local.fake_sagemaker.forward import Mlflow
from local.fake_sagemaker.refusals import Refusal, api_error
from local.fake_sagemaker.seen import Seen
from local.fake_sagemaker.target import Target
from local.fake_sagemaker.tls import Authority
from local.fake_sagemaker.ui import Tickets, Ui

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
    """http://127.0.0.1:port, where presigned links lead."""
    credentials_url: str
    """For AWS_CONTAINER_CREDENTIALS_FULL_URI."""
    faults_url: str
    """POST, GET, DELETE: see faults.control_app."""
    ca_file: Path
    credentials: Credentials
    faults: Faults
    seen: deque[Seen]
    """The last 1,000 requests at MLflow's endpoint, oldest first."""

    @property
    def environ(self) -> dict[str, str]:
        """What botocore has to be told to get credentials here and to reach the control plane."""
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.credentials_url,
            "AWS_CA_BUNDLE": str(self.ca_file),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_SAGEMAKER": self.control_endpoint,
            "AWS_ENDPOINT_URL_STS": self.control_endpoint,
            "AWS_REGION": self.target.region,
            "AWS_DEFAULT_REGION": self.target.region,
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

    `lifetime`: how long credentials hold, in seconds. `clock`: seconds since the epoch, for all that expires.
    ValueError for a wrong ARN.
    """
    target = Target.parse(target_arn)
    credentials = Credentials(account=target.account, lifetime=lifetime, clock=clock)
    injected = Faults(credentials)
    seen: deque[Seen] = deque(maxlen=1000)
    tickets = Tickets(clock)
    tls = authority.server_context()
    async with contextlib.AsyncExitStack() as stack:
        mlflow = Mlflow(upstream)
        stack.push_async_callback(mlflow.close)
        api = Api(target=target, credentials=credentials, mlflow=mlflow, injected=injected, seen=seen, clock=clock)
        control = Control(target=target, credentials=credentials, tickets=tickets, injected=injected, clock=clock)
        api.port = await _listen(stack, _app(api.handle), tls)
        control.port = await _listen(stack, _app(control.handle), tls)
        ui_port = await _listen(stack, _app(Ui(tickets, mlflow).handle))
        credentials_port = await _listen(stack, _app(_credentials_handler(credentials, injected)))
        faults_port = await _listen(stack, faults.control_app(injected))
        tickets.origin = f"http://127.0.0.1:{ui_port}"
        yield FakeSageMaker(
            target=target,
            endpoint=f"https://localhost:{api.port}",
            control_endpoint=f"https://localhost:{control.port}",
            ui_endpoint=tickets.origin,
            credentials_url=f"http://127.0.0.1:{credentials_port}/credentials",
            faults_url=f"http://127.0.0.1:{faults_port}/faults",
            ca_file=authority.ca_file,
            credentials=credentials,
            faults=injected,
            seen=seen,
        )


def _credentials_handler(credentials: Credentials, injected: Faults) -> _Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        fault = injected.take("credentials", request.path)
        try:
            await faults.before(fault, request)
        except Refusal as refusal:
            return api_error(refusal)
        return web.json_response(credentials.current().as_json())

    return handle


def _app(handler: _Handler) -> web.Application:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ConnectionError:
            # Reset on purpose, or the client has gone: this goes nowhere.
            return web.Response()

    app = web.Application(client_max_size=BODY_LIMIT)
    app.router.add_route("*", "/{tail:.*}", handle)
    return app


async def _listen(stack: contextlib.AsyncExitStack, app: web.Application, tls: ssl.SSLContext | None = None) -> int:
    """Start the app on a free loopback port; it stops with the stack."""
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
    """Stop, and wait for no client to say goodbye: TLS would keep its idle connections open for half a minute."""
    transports = [connection.transport for connection in runner.server.connections] if runner.server else []
    await runner.cleanup()
    for transport in transports:
        if transport is not None:
            transport.abort()
    await asyncio.sleep(0)
