"""Sends messages to a running proxy, and reports what should not have happened."""

import asyncio
import contextlib
import dataclasses
import json
import logging
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil

from proxy_app.artifacts.root import ArtifactRoot
from proxy_app.auth import Role
from proxy_app.credentials import Loaded
from proxy_app.sigv4 import Credentials
from tests.doubles.fake_upstreams import FakeUpstream
from tests.doubles.mlflow_routing import Servers
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import READ, RunningProxy, Tokens, running_proxy, wait_until

from .judge import Judge
from .messages import BUCKET, PREFIX, Messages

_CONNECTIONS = 48
# Closes the connection after the responses. If a message is incomplete, its client disconnects after so many seconds.
_LAST = b"GET /healthz HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n"
_PATIENCE = 0.4
_PRESIGNED = re.compile(rb"https?://[^\"\s]+X-Amz-Signature=[0-9a-f]+")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


@dataclasses.dataclass(slots=True)
class Report:
    """What happened: ``wrong`` is empty if the proxy held. ``grown`` is the growth of the process in MiB."""

    mode: str
    role: str
    connections: int = 0
    statuses: Counter[int] = dataclasses.field(default_factory=Counter[int])
    seen: Counter[str] = dataclasses.field(default_factory=Counter[str])
    wrong: list[str] = dataclasses.field(default_factory=list[str])
    grown: float = 0.0
    seconds: float = 0.0

    def line(self) -> str:
        """One line of JSON."""
        fields = {**dataclasses.asdict(self), "statuses": dict(sorted(self.statuses.items())), "seen": dict(self.seen)}
        return json.dumps({**fields, "grown": round(self.grown, 1), "seconds": round(self.seconds, 1)})


class _Faults(logging.Handler):
    """Collects log lines of errors: each is a bug, or something that no client may cause."""

    def __init__(self, wrong: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._wrong = wrong

    def emit(self, record: logging.LogRecord) -> None:
        self._wrong.append(f"log: {record.getMessage()} {record.exc_info}")


@contextlib.asynccontextmanager
async def judged_proxy(judge: Judge, tokens: Tokens, *, artifacts: bool) -> AsyncGenerator[RunningProxy]:
    """A proxy in front of strict upstreams: SageMaker, and with ``artifacts`` also S3 and a UI server."""
    keys = judge.credential
    source = Loaded(Credentials(keys.access_key, keys.secret_key, keys.token), None)
    async with contextlib.AsyncExitStack() as stack:
        start = stack.enter_async_context
        mlflow = await start(FakeUpstream.running(judge.upstream("mlflow", judge.check_sagemaker, judge.answer_mlflow)))
        settings: dict[str, Any] = {}
        if artifacts:
            s3 = await start(FakeUpstream.running(judge.upstream("s3", judge.check_s3, judge.answer_s3)))
            page = await start(FakeUpstream.running(judge.upstream("ui", judge.check_ui, judge.answer_mlflow)))
            settings = {
                "artifacts_root": ArtifactRoot(BUCKET, PREFIX),
                "s3_endpoint": s3.origin,
                "presigned_transfers": True,
                "ui_url": page.origin,
            }
        yield await start(
            running_proxy(mlflow.origin, tokens, signed=True, source=lambda: source, keepalive=30.0, **settings)
        )


async def fuzz(
    folder: Path, servers: Servers, role: Role | None, *, artifacts: bool, seconds: float, seed: int
) -> Report:
    """Send messages of one role, None for no authentication, for some seconds."""
    tokens = Tokens(folder)
    messages = Messages(seed, tokens.all[role.label] if role else "", artifacts=artifacts)
    judge = Judge(role, servers, messages.location)
    report = Report("artifacts" if artifacts else "signed", role.label if role else "none", wrong=judge.wrong)
    faults = _Faults(judge.wrong)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: judge.wrong.append(f"event loop: {context}"))
    logging.getLogger().addHandler(faults)
    process, started = psutil.Process(), time.monotonic()
    try:
        async with judged_proxy(judge, tokens, artifacts=artifacts) as proxy:
            end = started + seconds

            async def send_messages() -> None:
                while time.monotonic() < end:
                    await send(proxy, messages.next(), report)

            await asyncio.gather(*(send(proxy, messages.next(), report) for _ in range(_CONNECTIONS)))
            before = process.memory_info().rss
            await asyncio.gather(*(send_messages() for _ in range(_CONNECTIONS)))
            await wait_until(lambda: proxy.in_flight == 0)
            report.grown = (process.memory_info().rss - before) / (1 << 20)
            check_log(proxy, report)
            if proxy.budget_free != proxy.settings.body_budget:
                judge.wrong.append(f"memory of bodies is lost: {proxy.budget_free}")
            judge.role = Role.VIEWER
            alive = await proxy.send(request("GET", READ, token=tokens.viewer))
            if alive.status != 200:
                judge.wrong.append(f"no longer serves: {alive.status}")
    finally:
        logging.getLogger().removeHandler(faults)
        loop.set_exception_handler(None)
    report.seen, report.seconds = judge.seen, time.monotonic() - started
    return report


async def send(proxy: RunningProxy, chunks: list[bytes], report: Report) -> None:
    """Send the bytes of a connection, and check what the proxy returns."""
    report.connections += 1
    if report.connections % 500 == 0:
        # So that the log of a long run takes no memory.
        check_log(proxy, report)
    received = b""
    # The proxy closes the connection after many of them.
    with contextlib.suppress(ConnectionError):
        async with proxy.connect() as client:
            for chunk in (*chunks, _LAST):
                await client.send(chunk)
                await asyncio.sleep(0)
            with contextlib.suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(_PATIENCE):
                        data = await client.reader.read(65536)
                    if not data:
                        break
                    received += data
    report.statuses.update(int(status) for status in _STATUS.findall(received))
    if received and not received.startswith(b"HTTP/1."):
        report.wrong.append(f"client: not HTTP: {received[:200]!r}")
    urls: list[bytes] = _PRESIGNED.findall(received)
    for url in urls:
        path = unquote(urlsplit(url.decode()).path)
        if not path.startswith(f"/{BUCKET}/{PREFIX}/") or {".", ".."} & set(re.split(r"[/\\]", path)):
            report.wrong.append(f"presigned outside of the root: {url!r}")


def check_log(proxy: RunningProxy, report: Report) -> None:
    """Report lines of the access log about bugs, and about other roles."""
    for line in proxy.lines:
        if line.get("error") in {"internal-error", "upstream-read-error"} or line["status"] == 500:
            report.wrong.append(f"access log: {line}")
        if line["role"] not in {None, report.role}:
            report.wrong.append(f"another role: {line}")
    proxy.written.clear()
