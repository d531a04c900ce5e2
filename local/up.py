"""`make up`: starts everything in its order, shows it, and ends it in the opposite order."""

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

from local import s3, stack
from local.admin_token import AdminToken
from local.lock import Busy, check_port, free_port, sole
from local.processes import Child, ChildError, new_log
from local.screen import Screen, ScreenHandler

if TYPE_CHECKING:
    from local.fake_sagemaker import FakeSageMaker

# The first start compiles thousands of modules.
_PATIENCE = 180.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`home` is where everything is written; `app` stands in for a serverless app."""

    port: int
    home: Path
    app: bool

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def run(options: Options) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP (0), or until something is wrong (1, said on the screen)."""
    screen = Screen()
    up = _Up(options, screen)
    try:
        with sole(options.home / "up.lock", options.url):
            check_port(options.port)
            asyncio.run(_until_signal(up))
    except (Busy, ChildError) as error:
        screen.say(str(error))
        return 1
    return 0


async def _until_signal(up: "_Up") -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def on_signal(*_: object) -> None:
        # The second one is from somebody who does not want to wait.
        with contextlib.suppress(RuntimeError):  # the loop has just been closed
            loop.call_soon_threadsafe(up.kill if stop.is_set() else stop.set)

    # Not the loop's own handlers: those give way to Python's when the loop closes, and a late Ctrl-C would show
    # a traceback.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    running, stopping = asyncio.create_task(up.run()), asyncio.create_task(stop.wait())
    await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not running.done():
        up.screen.say("\nStopping ...")
        running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        up.screen.say("Stopped. The data stays for the next start.")


class _Up:
    """The parts, from the start of the first to the end of the last."""

    def __init__(self, options: Options, screen: Screen) -> None:
        self.screen = screen
        self._options = options
        self._data = options.home / "data"
        self._logs = options.home / "logs"
        self._scratch = options.home / "up-scratch"
        self._children: list[Child] = []

    def kill(self) -> None:
        """End the children without waiting for what they are doing."""
        for child in self._children:
            child.kill()

    async def run(self) -> None:
        """Start, show, and wait. ChildError when a part cannot start or ends; all have ended on return."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Child] = loop.create_future()

        def on_end(child: Child) -> None:
            loop.call_soon_threadsafe(lambda: ended.done() or ended.set_result(child))

        async with contextlib.AsyncExitStack() as started:
            await self._start(started, on_end)
            raise (await ended).error()

    async def _start(self, started: contextlib.AsyncExitStack, on_end: Callable[[Child], None]) -> None:
        options, screen = self._options, self.screen
        shutil.rmtree(self._scratch, ignore_errors=True)
        first = not (self._data / "mlflow.db").exists()
        screen.say("Starting MLflow on this machine" + (" (the first time, which takes longer)" if first else ""))

        # The slowest first; all that can be is done meanwhile.
        s3_port = free_port(options.port + 1)
        mlflow = stack.start_mlflow(
            self._scratch,
            self._data / "mlflow.db",
            f"http://127.0.0.1:{s3_port}",
            self._logs / "mlflow.log",
            on_line=partial(screen.child_line, "MLflow"),
            on_end=on_end,
        )
        storage = stack.start_s3(
            self._scratch,
            self._data / "s3",
            self._logs / "s3.log",
            s3_port,
            on_line=partial(screen.child_line, "S3"),
            on_end=on_end,
        )
        self._children += [mlflow, storage]
        started.push_async_callback(_stop, mlflow, storage, grace=5)
        token = AdminToken(self._data, self._scratch)
        secret = await asyncio.to_thread(token.get)
        mlflow_url = await _url(mlflow)
        aws = await self._fake_sagemaker(started, mlflow_url)
        s3_url = await _url(storage)
        screen.step("S3 (moto)")

        metrics = f"127.0.0.1:{free_port()}"
        proxy = stack.start_proxy(
            self._scratch,
            {
                **aws.environ,
                "MLFLOW_PROXY_TARGET_ARN": aws.target.arn,
                "MLFLOW_PROXY_TARGET_ENDPOINT": aws.endpoint,
                "MLFLOW_PROXY_LISTEN": f"127.0.0.1:{options.port}",
                "MLFLOW_PROXY_METRICS_LISTEN": metrics,
                "MLFLOW_PROXY_TOKENS_FILE": str(token.tokens),
                "MLFLOW_PROXY_TOKENS_RELOAD_SECONDS": "1",
                "MLFLOW_PROXY_DRAIN_SECONDS": "0",
                "MLFLOW_PROXY_GRACE_SECONDS": "5",
            },
            self._logs / "proxy.log",
            on_line=screen.proxy_line,
            on_end=on_end,
        )
        self._children.append(proxy)
        started.push_async_callback(_stop, proxy, grace=6)
        await asyncio.to_thread(stack.wait_answering, mlflow, mlflow_url + "/health", _PATIENCE)
        screen.step("MLflow")
        await asyncio.to_thread(stack.wait_answering, proxy, options.url + "/readyz", _PATIENCE)
        if not await self._accepted(proxy, secret):
            secret = await asyncio.to_thread(token.renew)
            await self._until_accepted(proxy, secret)
        screen.step("the proxy")
        screen.say(self._welcome(secret, s3_url, metrics, aws.faults_url))

    async def _fake_sagemaker(self, started: contextlib.AsyncExitStack, upstream: str) -> "FakeSageMaker":
        # Half a second of imports and half a second of key making, while MLflow starts.
        fake_sagemaker = await asyncio.to_thread(importlib.import_module, "local.fake_sagemaker")
        authority = await asyncio.to_thread(fake_sagemaker.Authority.create, self._scratch / "tls")
        file = logging.FileHandler(new_log(self._logs / "fake-sagemaker.log"), encoding="utf-8")
        started.callback(file.close)
        logging.basicConfig(
            level=logging.INFO,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
            handlers=[file, ScreenHandler(self.screen)],
        )
        arn = fake_sagemaker.APP_ARN if self._options.app else fake_sagemaker.TRACKING_SERVER_ARN
        aws = await started.enter_async_context(
            fake_sagemaker.serve(target_arn=arn, upstream=upstream, authority=authority)
        )
        self.screen.step("the fake SageMaker")
        return aws

    async def _accepted(self, proxy: Child, secret: str) -> bool:
        """Whether the proxy takes the token; asked with a request that goes all the way to MLflow."""
        url = self._options.url + "/api/2.0/mlflow/experiments/search?max_results=1"
        headers = {"Authorization": f"Bearer {secret}"}
        self.screen.hidden_requests += 1
        return await asyncio.to_thread(stack.wait_answering, proxy, url, 20, headers) == 200

    async def _until_accepted(self, proxy: Child, secret: str) -> None:
        for _ in range(50):
            if await self._accepted(proxy, secret):
                return
            await asyncio.sleep(0.1)
        log = _short(self._logs / "proxy.log")
        raise ChildError(f"The proxy does not take the token that was just made: see {log}.")

    def _welcome(self, secret: str, s3_url: str, metrics: str, faults_url: str) -> str:
        exports = "\n".join(f"  export {name}={value}" for name, value in s3.client_environ(s3_url).items())
        url = self._options.url
        return f"""
MLflow is behind the proxy at {url}

For your client:
  export MLFLOW_TRACKING_URI={url}
  export MLFLOW_TRACKING_TOKEN={secret}

Until artifacts go through the proxy, a client that logs or reads artifacts needs their S3 as well:
{exports}

In a browser   {url}  (any user name; the password is the token)
Try it         make verify   (in a shell with the first two lines)
See it fail    curl -d '{{"kind": "throttle", "times": 5}}' {faults_url}
Metrics        http://{metrics}/metrics
Data and logs  {_short(self._data)} and {_short(self._logs)}

Ctrl-C ends it. Requests:"""


async def _url(child: Child) -> str:
    return await asyncio.to_thread(child.wait_announced, _PATIENCE)


async def _stop(*children: Child, grace: float) -> None:
    await asyncio.gather(*(asyncio.to_thread(child.stop, grace) for child in children))


def _short(path: Path) -> str:
    """As somebody types it who is here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
