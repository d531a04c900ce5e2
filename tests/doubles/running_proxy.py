"""The proxy in the test process, on free ports, started with the functions of production."""

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from proxy_app.access_log import AccessLog
from proxy_app.app import NO_EXTENSIONS, Extensions
from proxy_app.auth import ROLES
from proxy_app.auth.tokens import Token, serialize
from proxy_app.credentials import Loaded, Source
from proxy_app.server import Server, running_server
from proxy_app.setting_values import Address
from proxy_app.settings import Settings
from proxy_app.sigv4 import Credentials

from .raw_client import RawClient, RawResponse

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/team"
# Routes that differ in required role and idempotency: reads for viewers, and writes for editors.
READ = "/api/2.0/mlflow/runs/get?run_id=1"
SEARCH = "/api/2.0/mlflow/runs/search"
IDEMPOTENT_WRITE = "/api/2.0/mlflow/runs/set-tag"
NON_IDEMPOTENT_WRITE = "/api/2.0/mlflow/runs/create"
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/1/model.bin"


class Tokens:
    """A token for each role, named some-viewer, some-editor and some-admin; `file` has their hashes."""

    def __init__(self, folder: Path) -> None:
        created = [Token.new(f"some-{role.label}", role, 1) for role in ROLES]
        self.all = {token.role.label: plaintext for token, plaintext in created}
        self.viewer, self.editor, self.admin = self.all.values()
        self.file = folder / "tokens.json"
        self.file.write_text(serialize(token for token, _ in created))


def signing_keys() -> Loaded:
    """A source of credentials that do not expire."""
    return Loaded(Credentials("AKIDEXAMPLE", "secret-key", "session-token"), None)


@dataclasses.dataclass(frozen=True, slots=True)
class RunningProxy:
    """A proxy that serves requests; `written` are the lines of its access log, `lines` their parsed JSON."""

    server: Server
    settings: Settings
    tokens: Tokens
    written: list[str]

    @property
    def address(self) -> Address:
        return self.server.address

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written]

    @property
    def in_flight(self) -> int:
        return self.server.app.proxy.in_flight

    @property
    def registry(self) -> CollectorRegistry:
        return self.server.app.metrics.registry

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    @property
    def budget_free(self) -> float | None:
        return self.metric("mlflow_proxy_body_budget_free_bytes")

    def connect(self, *, buffer: int = 0) -> contextlib.AbstractAsyncContextManager[RawClient]:
        return RawClient.connected(self.address, buffer=buffer)

    async def send(self, data: bytes) -> RawResponse:
        """Send one request on a new connection; returns the response."""
        async with self.connect() as client:
            return await client.round_trip(data)


def quick_settings(upstream: str, tokens: Tokens, *, signed: bool = False, **changes: Any) -> Settings:
    """Settings with free ports and short timeouts. `signed`: the upstream is a SageMaker endpoint."""
    free_port = Address("127.0.0.1", 0)
    values: dict[str, Any] = {"target_arn": ARN, "target_endpoint": upstream} if signed else {"upstream_url": upstream}
    values |= {"tokens_file": tokens.file, "listen": free_port, "metrics_listen": free_port}
    values |= {"body_timeout": 5.0, "upstream_timeout": 5.0, "connect_timeout": 2.0}
    # A test sends more than one user would.
    values |= {"principal_requests_per_second": 1_000_000, "principal_max_requests": 1000}
    return Settings.build({**values, **changes})


@contextlib.asynccontextmanager
async def running_proxy(
    upstream: str,
    tokens: Tokens,
    *,
    signed: bool = False,
    source: Source = signing_keys,
    extensions: Extensions = NO_EXTENSIONS,
    **changes: Any,
) -> AsyncGenerator[RunningProxy]:
    """Run the proxy in front of the upstream with this origin."""
    settings = quick_settings(upstream, tokens, signed=signed, **changes)
    written: list[str] = []
    async with running_server(
        settings, source=source, access_log=AccessLog(written.append), extensions=extensions
    ) as server:
        yield RunningProxy(server, settings, tokens, written)


async def wait_until(condition: Callable[[], bool | Awaitable[bool]], within: float = 5.0) -> float:
    """Poll until the condition is true; returns the elapsed seconds. Fails after `within` seconds."""
    started = time.perf_counter()
    while True:
        result = condition()
        if result if isinstance(result, bool) else await result:
            return time.perf_counter() - started
        assert time.perf_counter() - started < within, f"the condition is not true after {within} s"
        await asyncio.sleep(0.005)


async def wait_until_stable(read: Callable[[], int], seconds: float = 0.15) -> int:
    """Poll until the number has not changed for so many seconds; returns it."""
    value, changed = read(), time.perf_counter()
    started = changed
    while time.perf_counter() - changed < seconds:
        assert time.perf_counter() - started < 10, "the number still changes after 10 s"
        await asyncio.sleep(0.01)
        if read() != value:
            value, changed = read(), time.perf_counter()
    return value
