"""`make up`: starts all services in order, shows their output, and stops them in reverse order."""

import asyncio
import contextlib
import dataclasses
import importlib
import logging
import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from local import s3, services
from local.admin_token import AdminToken
from local.console import Console, ConsoleLogHandler
from local.ports import PortInUseError, check_port, free_port
from local.processes import Child, ChildError, new_log
from local.single_instance import AlreadyRunningError, single_instance

if TYPE_CHECKING:
    from local.fake_sagemaker import FakeSageMaker

# The first start compiles thousands of modules.
_START_TIMEOUT_SECONDS = 180.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`port`: of the proxy; `home`: folder of all data and logs; `app`: fake an app, not a tracking server."""

    port: int
    home: Path
    app: bool

    @property
    def url(self) -> str:
        """The proxy's origin."""
        return f"http://127.0.0.1:{self.port}"


def run(options: Options) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP (returns 0) or until an error, which is printed (returns 1)."""
    console = Console()
    session = _Session(options, console)
    try:
        with single_instance(options.home / "up.lock", options.url):
            check_port(options.port)
            asyncio.run(_until_signal(session))
    except (AlreadyRunningError, PortInUseError, ChildError) as error:
        console.write(str(error))
        return 1
    return 0


async def _until_signal(session: "_Session") -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def on_signal(*_: object) -> None:
        # A second signal kills the child processes without waiting.
        with contextlib.suppress(RuntimeError):  # the loop has just been closed
            loop.call_soon_threadsafe(session.kill if stop.is_set() else stop.set)

    # Not loop.add_signal_handler: its handlers end with the loop, and a late Ctrl-C would show a traceback.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    running, stopping = asyncio.create_task(session.run()), asyncio.create_task(stop.wait())
    await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not running.done():
        session.console.write("\nStopping ...")
        running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        session.console.write(f"Stopped. Data is kept in {_short(session.data)}.")


class _Session:
    """The running services, from the start of the first to the end of the last."""

    def __init__(self, options: Options, console: Console) -> None:
        self.console = console
        self.data = options.home / "data"
        self._options = options
        self._logs = options.home / "logs"
        self._scratch = options.home / "up-scratch"
        self._children: list[Child] = []

    def kill(self) -> None:
        """End the child processes at once."""
        for child in self._children:
            child.kill()

    async def run(self) -> None:
        """Start the services and wait. ChildError when one cannot start or ends; all have ended on return."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Child] = loop.create_future()

        def on_end(child: Child) -> None:
            loop.call_soon_threadsafe(lambda: ended.done() or ended.set_result(child))

        async with contextlib.AsyncExitStack() as started:
            await self._start(started, on_end)
            raise (await ended).error()

    async def _start(self, started: contextlib.AsyncExitStack, on_end: Callable[[Child], None]) -> None:
        options, console = self._options, self.console
        shutil.rmtree(self._scratch, ignore_errors=True)
        first_start = not (self.data / "mlflow.db").exists()
        console.write("Starting MLflow on this machine" + (" (the first start takes longer)" if first_start else ""))

        # MLflow starts slowest, so it starts first; the others start meanwhile.
        s3_port = free_port(options.port + 1)
        mlflow = services.start_mlflow(
            self._scratch,
            self.data / "mlflow.db",
            f"http://127.0.0.1:{s3_port}",
            self._logs / "mlflow.log",
            on_line=partial(console.child_output, "MLflow"),
            on_end=on_end,
        )
        storage = services.start_s3(
            self._scratch,
            self.data / "s3",
            self._logs / "s3.log",
            s3_port,
            on_line=partial(console.child_output, "S3"),
            on_end=on_end,
        )
        self._children += [mlflow, storage]
        started.push_async_callback(_stop, mlflow, storage, grace=5)
        token = AdminToken(self.data, self._scratch)
        secret = await asyncio.to_thread(token.get)
        mlflow_url = await _url(mlflow)
        aws = await self._start_fake_sagemaker(started, mlflow_url)
        ui = services.start_ui(
            self._scratch,
            aws.target.arn,
            aws.plugin_environ,
            self._logs / "mlflow-ui.log",
            on_line=partial(console.child_output, "MLflow's UI"),
            on_end=on_end,
        )
        self._children.append(ui)
        started.push_async_callback(_stop, ui, grace=5)
        ui_url = await _url(ui)
        s3_url = await _url(storage)
        console.step("S3 (moto)")

        metrics = f"127.0.0.1:{free_port()}"
        proxy = services.start_proxy(
            self._scratch,
            {
                **aws.environ,
                "MLFLOW_PROXY_TARGET_ARN": aws.target.arn,
                "MLFLOW_PROXY_TARGET_ENDPOINT": aws.endpoint,
                "MLFLOW_PROXY_UI_URL": ui_url,
                "MLFLOW_PROXY_ARTIFACTS_URI": s3.ARTIFACTS,
                "AWS_ENDPOINT_URL_S3": s3_url,
                "MLFLOW_PROXY_LISTEN": f"127.0.0.1:{options.port}",
                "MLFLOW_PROXY_METRICS_LISTEN": metrics,
                "MLFLOW_PROXY_TOKENS_FILE": str(token.tokens),
                "MLFLOW_PROXY_TOKENS_RELOAD_SECONDS": "1",
                "MLFLOW_PROXY_DRAIN_SECONDS": "0",
                "MLFLOW_PROXY_GRACE_SECONDS": "5",
            },
            self._logs / "proxy.log",
            on_line=console.proxy_log,
            on_end=on_end,
        )
        self._children.append(proxy)
        started.push_async_callback(_stop, proxy, grace=6)
        await asyncio.to_thread(services.wait_until_ready, mlflow, mlflow_url + "/health", _START_TIMEOUT_SECONDS)
        console.step("MLflow")
        await asyncio.to_thread(services.wait_until_ready, proxy, options.url + "/readyz", _START_TIMEOUT_SECONDS)
        if not await self._accepts(proxy, secret):  # revoked or expired since the last start
            secret = await asyncio.to_thread(token.renew)
            await self._wait_until_accepted(proxy, secret)
        console.step("Proxy")
        await asyncio.to_thread(services.wait_until_ready, ui, ui_url + "/health", _START_TIMEOUT_SECONDS)
        console.step("MLflow's UI")
        console.write(self._welcome(secret, s3_url, metrics, aws.faults_url))

    async def _start_fake_sagemaker(self, started: contextlib.AsyncExitStack, upstream: str) -> "FakeSageMaker":
        # Importing and generating keys take half a second each; they run while MLflow starts.
        fake_sagemaker = await asyncio.to_thread(importlib.import_module, "local.fake_sagemaker")
        authority = await asyncio.to_thread(fake_sagemaker.Authority.create, self._scratch / "tls")
        file = logging.FileHandler(new_log(self._logs / "fake-sagemaker.log"), encoding="utf-8")
        started.callback(file.close)
        logging.basicConfig(
            level=logging.INFO,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
            handlers=[file, ConsoleLogHandler(self.console)],
        )
        arn = fake_sagemaker.APP_ARN if self._options.app else fake_sagemaker.TRACKING_SERVER_ARN
        aws = await started.enter_async_context(
            fake_sagemaker.serve(target_arn=arn, upstream=upstream, authority=authority)
        )
        self.console.step("Fake SageMaker")
        return aws

    async def _accepts(self, proxy: Child, secret: str) -> bool:
        """Whether the proxy accepts the token, by a request that is forwarded to MLflow."""
        url = self._options.url + "/api/2.0/mlflow/experiments/search?max_results=1"
        headers = {"Authorization": f"Bearer {secret}"}
        self.console.hidden_requests += 1
        return await asyncio.to_thread(services.wait_until_ready, proxy, url, 20, headers) == 200

    async def _wait_until_accepted(self, proxy: Child, secret: str) -> None:
        for _ in range(50):
            if await self._accepts(proxy, secret):
                return
            await asyncio.sleep(0.1)
        log = _short(self._logs / "proxy.log")
        raise ChildError(f"The proxy rejects the token that was just created; see {log}.")

    def _welcome(self, secret: str, s3_url: str, metrics: str, faults_url: str) -> str:
        url = self._options.url
        return f"""
MLflow is running behind the proxy: {url}

Configure a client:
  export MLFLOW_TRACKING_URI={url}
  export MLFLOW_TRACKING_TOKEN={secret}

Browser        {url}  (MLflow's UI; user name: any; password: the token)
Verify         make verify  (in a shell with the first two variables)
Inject faults  curl -d '{{"kind": "error", "times": 5}}' {faults_url}
Metrics        http://{metrics}/metrics
S3             {s3_url}  (clients do not need it: artifacts pass through the proxy)
Data, logs     {_short(self.data)}, {_short(self._logs)}

Press Ctrl-C to stop. Requests:"""


async def _url(child: Child) -> str:
    return await asyncio.to_thread(child.wait_for_url, _START_TIMEOUT_SECONDS)


async def _stop(*children: Child, grace: float) -> None:
    await asyncio.gather(*(asyncio.to_thread(child.stop, grace) for child in children))


def _short(path: Path) -> str:
    """The path, relative to the current folder if it is inside it."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
