"""The proxy in this process, on free ports, started by what starts it in production."""

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
# A route for each rule about sending again: a viewer's read, an editor's write that may be repeated, one that may not.
READ = "/api/2.0/mlflow/runs/get?run_id=1"
SEARCH = "/api/2.0/mlflow/runs/search"
IDEMPOTENT_WRITE = "/api/2.0/mlflow/runs/set-tag"
NON_IDEMPOTENT_WRITE = "/api/2.0/mlflow/runs/create"
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/1/model.bin"


class Tokens:
    """A token for each role, named some-viewer and so on, and the file that holds their hashes."""

    def __init__(self, folder: Path) -> None:
        made = [Token.new(f"some-{role.label}", role, 1) for role in ROLES]
        self.all = {token.role.label: plain for token, plain in made}
        self.viewer, self.editor, self.admin = self.all.values()
        self.file = folder / "tokens.json"
        self.file.write_text(serialize(token for token, _ in made))


def signing_keys() -> Loaded:
    """A credential source: long-term keys."""
    return Loaded(Credentials("AKIDTOY", "secret-key", "session-token"), None)


@dataclasses.dataclass(frozen=True, slots=True)
class RunningProxy:
    """`lines` are the lines of its log, as written."""

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
        """The answer to one request on a connection of its own."""
        async with self.connect() as client:
            return await client.round_trip(data)


def quick_settings(upstream: str, tokens: Tokens, *, signed: bool = False, **changes: Any) -> Settings:
    """Free ports and short times; `signed` takes the origin for SageMaker's."""
    anywhere = Address("127.0.0.1", 0)
    told: dict[str, Any] = {"target_arn": ARN, "target_endpoint": upstream} if signed else {"upstream_url": upstream}
    told |= {"tokens_file": tokens.file, "listen": anywhere, "metrics_listen": anywhere}
    told |= {"body_timeout": 5.0, "upstream_timeout": 5.0, "connect_timeout": 2.0}
    return Settings.build({**told, **changes})


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
    """The proxy in front of an origin."""
    settings = quick_settings(upstream, tokens, signed=signed, **changes)
    written: list[str] = []
    async with running_server(
        settings, source=source, access_log=AccessLog(written.append), extensions=extensions
    ) as server:
        yield RunningProxy(server, settings, tokens, written)


async def wait_until(holds: Callable[[], bool | Awaitable[bool]], within: float = 5.0) -> float:
    """Wait for it; the seconds that took."""
    started = time.perf_counter()
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return time.perf_counter() - started
        assert time.perf_counter() - started < within, "it did not happen in time"
        await asyncio.sleep(0.005)


async def wait_until_stable(read: Callable[[], int], still: float = 0.15) -> int:
    """The number once it has not changed for so many seconds."""
    known, since = read(), time.perf_counter()
    started = since
    while time.perf_counter() - since < still:
        assert time.perf_counter() - started < 10, "it never stands still"
        await asyncio.sleep(0.01)
        if read() != known:
            known, since = read(), time.perf_counter()
    return known
