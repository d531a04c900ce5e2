"""The proxy in front of one MLflow server, in a thread of the test process."""

import asyncio
import contextlib
import threading
from collections.abc import Generator
from pathlib import Path

import uvloop

from local.fake_sagemaker import TRACKING_SERVER_ARN, Authority, FakeSageMaker, serve
from proxy_app.access_log import AccessLog
from proxy_app.credentials import Loaded, Source
from proxy_app.server import running_server
from proxy_app.settings import Settings
from proxy_app.sigv4 import Credentials

_START_SECONDS = 30
_SETTINGS = {
    # MLflow's tests send no token.
    "MLFLOW_PROXY_AUTH": "off",
    "MLFLOW_PROXY_METRICS_LISTEN": "127.0.0.1:0",
    "MLFLOW_PROXY_DRAIN_SECONDS": "0",
}


@contextlib.contextmanager
def behind_proxy(mlflow_url: str, authority: Authority | None, log: Path, port: int = 0) -> Generator[str]:
    """The URL of a proxy in front of MLflow; with ``authority``, it signs for a fake SageMaker.

    ``log``: the file to which the access log is appended. ``port``: that of the proxy; 0: a free one.
    """
    loop = uvloop.new_event_loop()
    url: list[str] = []
    started, ended = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with contextlib.AsyncExitStack() as stack:
            environ, source = await _upstream(stack, mlflow_url, authority)
            environ["MLFLOW_PROXY_LISTEN"] = f"127.0.0.1:{port}"
            lines = stack.enter_context(log.open("a"))
            server = await stack.enter_async_context(
                running_server(
                    Settings.from_env({**_SETTINGS, **environ}), source=source, access_log=AccessLog(lines.write)
                )
            )
            url.append(f"http://{server.address}")
            started.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), name="proxy", daemon=True)
    thread.start()
    try:
        if not started.wait(_START_SECONDS):
            raise RuntimeError(f"the proxy did not start within {_START_SECONDS} s")
        yield url[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(_START_SECONDS)
        if not thread.is_alive():
            loop.close()


async def _upstream(
    stack: contextlib.AsyncExitStack, mlflow_url: str, authority: Authority | None
) -> tuple[dict[str, str], Source | None]:
    if authority is None:
        return {"MLFLOW_PROXY_UPSTREAM_URL": mlflow_url}, None
    aws: FakeSageMaker = await stack.enter_async_context(
        serve(target_arn=TRACKING_SERVER_ARN, upstream=mlflow_url, authority=authority)
    )

    def source() -> Loaded:
        issued = aws.credentials.current()
        return Loaded(Credentials(issued.access_key, issued.secret_key, issued.token), None)

    environ = {
        "MLFLOW_PROXY_TARGET_ARN": TRACKING_SERVER_ARN,
        "MLFLOW_PROXY_TARGET_ENDPOINT": aws.endpoint,
        # It answers the routes that SageMaker does not have.
        "MLFLOW_PROXY_UI_URL": mlflow_url,
        "AWS_CA_BUNDLE": str(aws.ca_file),
    }
    return environ, source
