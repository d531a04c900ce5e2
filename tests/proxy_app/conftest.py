"""Event loops like the proxy's own, and what the tests of a running proxy share."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio
import uvloop

from local.fake_sagemaker.tls import Authority
from proxy_app.settings import Settings
from proxy_app.upstream.client import UpstreamClient
from tests.doubles.fake_upstreams import Behaviour, FakeUpstream
from tests.doubles.running_proxy import RunningProxy, Tokens, running_proxy

# What talks to transports directly is tried on both event loops; the rest runs on the proxy's usual one.
_BOTH = {"test_connection.py", "test_retries.py", "test_sending.py"}

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
StartUpstream = Callable[..., Awaitable[FakeUpstream]]
StartClient = Callable[..., Awaitable[UpstreamClient]]
StartProxy = Callable[..., Awaitable[RunningProxy]]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    usual: dict[str, LoopFactory] = {"uvloop": uvloop.new_event_loop}
    return usual | {"asyncio": asyncio.new_event_loop} if item.path.name in _BOTH else usual


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls"))


@pytest_asyncio.fixture
async def running() -> AsyncGenerator[contextlib.AsyncExitStack]:
    """Ends in order what a test has started."""
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def start_upstream(running: contextlib.AsyncExitStack) -> StartUpstream:
    """`await start_upstream(behaviour)`; `tls` and `buffer` are as for `FakeUpstream.running`."""

    async def start(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None, buffer: int = 0) -> FakeUpstream:
        return await running.enter_async_context(FakeUpstream.running(behaviour, tls=tls, buffer=buffer))

    return start


@pytest.fixture
def start_client(running: contextlib.AsyncExitStack) -> StartClient:
    """`await start_client(toy.origin, any_setting=...)`: the upstream's client without a proxy."""

    async def start(origin: str, **changes: Any) -> UpstreamClient:
        values: dict[str, Any] = {"upstream_url": origin, "upstream_timeout": 5.0, "connect_timeout": 2.0, **changes}
        client = UpstreamClient(Settings(**values), origin)
        await running.enter_async_context(client.running())
        return client

    return start


@pytest.fixture
def start_proxy(running: contextlib.AsyncExitStack, tokens: Tokens) -> StartProxy:
    """`await start_proxy(toy.origin, signed=..., source=..., any_setting=...)`."""

    async def start(upstream: str, **changes: Any) -> RunningProxy:
        return await running.enter_async_context(running_proxy(upstream, tokens, **changes))

    return start
