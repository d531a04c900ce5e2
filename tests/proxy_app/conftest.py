"""Event loops of the proxy's tests, and fixtures that start upstreams, upstream clients and proxies."""

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

# Tests that use transports directly run on both event loops; all others run on uvloop, the proxy's default.
_ON_BOTH_LOOPS = {"test_connection.py", "test_retries.py", "test_sending.py"}

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
StartUpstream = Callable[..., Awaitable[FakeUpstream]]
StartClient = Callable[..., Awaitable[UpstreamClient]]
StartProxy = Callable[..., Awaitable[RunningProxy]]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    default: dict[str, LoopFactory] = {"uvloop": new_uvloop}
    return default | {"asyncio": asyncio.new_event_loop} if item.path.name in _ON_BOTH_LOOPS else default


def new_uvloop() -> asyncio.AbstractEventLoop:
    """A uvloop on which pytest-timeout ends a test.

    pytest-timeout raises in a signal handler. While uvloop waits for I/O, it passes that exception to the loop's
    exception handler, so by default the test would wait for ever.
    """
    loop = uvloop.new_event_loop()
    loop.set_exception_handler(_cancel_at_timeout)
    return loop


def _cancel_at_timeout(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    loop.default_exception_handler(context)
    if isinstance(error := context.get("exception"), pytest.fail.Exception):
        for task in asyncio.all_tasks(loop):
            task.cancel(str(error))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls"))


@pytest_asyncio.fixture
async def running() -> AsyncGenerator[contextlib.AsyncExitStack]:
    """The stack of what a test starts, closed in reverse order at its end."""
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def start_upstream(running: contextlib.AsyncExitStack) -> StartUpstream:
    """`await start_upstream(behaviour)`; `tls` and `buffer` as in `FakeUpstream.running`."""

    async def start(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None, buffer: int = 0) -> FakeUpstream:
        return await running.enter_async_context(FakeUpstream.running(behaviour, tls=tls, buffer=buffer))

    return start


@pytest.fixture
def start_client(running: contextlib.AsyncExitStack) -> StartClient:
    """`await start_client(fake_upstream.origin, SETTING=...)`: the client of the upstream, without a proxy."""

    async def start(origin: str, **changes: Any) -> UpstreamClient:
        values: dict[str, Any] = {"upstream_url": origin, "upstream_timeout": 5.0, "connect_timeout": 2.0, **changes}
        client = UpstreamClient(Settings(**values), origin)
        await running.enter_async_context(client.running())
        return client

    return start


@pytest.fixture
def start_proxy(running: contextlib.AsyncExitStack, tokens: Tokens) -> StartProxy:
    """`await start_proxy(fake_upstream.origin, signed=..., source=..., SETTING=...)`."""

    async def start(upstream: str, **changes: Any) -> RunningProxy:
        return await running.enter_async_context(running_proxy(upstream, tokens, **changes))

    return start
