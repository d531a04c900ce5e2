"""`serve` and `run` in this process: signals, draining, and the event loop. test_server.py runs processes."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest

from proxy_app.server import ListenError, run, running_server, serve
from proxy_app.setting_values import Address
from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import OK
from tests.doubles.raw_client import RawClient, request
from tests.doubles.running_proxy import READ, Tokens, quick_settings, wait_until

from .conftest import StartUpstream


@pytest.fixture(autouse=True)
def collectable_objects() -> Generator[None]:
    """`serve` excludes the objects that exist at its start from garbage collection."""
    yield
    gc.unfreeze()


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "proxy_app.server")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "proxy_app.server"]


async def served_address(messages: Callable[[], list[str]]) -> Address:
    """The address in the message of the start; signals are handled from then on."""
    await wait_until(lambda: any(message.startswith("Serving ") for message in messages()))
    host, _, port = messages()[0].partition(" on http://")[2].partition(";")[0].rpartition(":")
    return Address(host, int(port))


async def status_of(address: Address, target: str, token: str = "") -> int:
    async with RawClient.connected(address) as client:
        return (await client.round_trip(request("GET", target, token=token))).status


def is_listening(address: Address) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_signal_drains_and_ends_the_server(
    start_upstream: StartUpstream, tokens: Tokens, messages: Callable[[], list[str]], number: signal.Signals
) -> None:
    fake = await start_upstream(fake_upstreams.respond_with(OK))
    serving = asyncio.create_task(serve(quick_settings(fake.origin, tokens, drain=1.0, grace=5.0)))
    address = await served_address(messages)
    assert await status_of(address, READ, tokens.viewer) == 200
    async with RawClient.connected(address) as idle:
        assert (await idle.round_trip(request("GET", "/readyz"))).status == 200
        os.kill(os.getpid(), number)
        await wait_until(lambda: messages()[-1].startswith("Stopping"))
        response = await idle.round_trip(request("GET", "/readyz"))
        assert (response.status, response.json()["reason"]) == (503, "shutting-down")
        assert await status_of(address, READ, tokens.viewer) == 200, "new connections are accepted while it drains"
        response = await idle.round_trip(request("GET", READ, token=tokens.viewer))
        assert (response.status, response.header("connection")) == (200, "close")
        assert await idle.closed() == b""
    await asyncio.wait_for(serving, 3)
    assert messages()[-1] == "Stopped"
    assert not is_listening(address)


async def test_server_ends_as_soon_as_idle_connections_are_closed(
    start_upstream: StartUpstream, tokens: Tokens, messages: Callable[[], list[str]]
) -> None:
    fake = await start_upstream(fake_upstreams.respond_with(OK))
    serving = asyncio.create_task(serve(quick_settings(fake.origin, tokens, drain=0.0, grace=30.0)))
    address = await served_address(messages)
    async with RawClient.connected(address) as idle:
        assert (await idle.round_trip(request("GET", READ, token=tokens.viewer))).status == 200
        os.kill(os.getpid(), signal.SIGTERM)
        assert await idle.closed() == b""
    await asyncio.wait_for(serving, 3)


async def test_second_and_third_signals_skip_the_waits(
    start_upstream: StartUpstream, tokens: Tokens, messages: Callable[[], list[str]]
) -> None:
    fake = await start_upstream(fake_upstreams.stall())
    serving = asyncio.create_task(serve(quick_settings(fake.origin, tokens, drain=30.0, grace=60.0)))
    address = await served_address(messages)
    async with RawClient.connected(address) as client:
        await client.send(request("GET", READ, token=tokens.viewer))
        await wait_until(lambda: bool(fake.requests))
        os.kill(os.getpid(), signal.SIGTERM)
        await wait_until(lambda: messages()[-1].startswith("Stopping"))
        os.kill(os.getpid(), signal.SIGTERM)
        await wait_until(lambda: not is_listening(address))
        assert not serving.done()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving, 3)
        assert await client.closed() == b""


async def test_requests_that_exceed_the_grace_period_are_aborted(
    start_upstream: StartUpstream, tokens: Tokens, messages: Callable[[], list[str]]
) -> None:
    fake = await start_upstream(fake_upstreams.stall())
    serving = asyncio.create_task(serve(quick_settings(fake.origin, tokens, drain=0.1, grace=0.4)))
    address = await served_address(messages)
    async with RawClient.connected(address) as client:
        await client.send(request("GET", READ, token=tokens.viewer))
        await wait_until(lambda: bool(fake.requests))
        started = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await client.closed() == b""
        await asyncio.wait_for(serving, 3)
    assert time.monotonic() - started >= 0.35


@pytest.mark.parametrize("setting", ["listen", "metrics_listen"])
async def test_address_in_use_is_an_error_that_names_the_setting(tokens: Tokens, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        changes: dict[str, Any] = {setting: address}
        settings = quick_settings("http://127.0.0.1:1", tokens, **changes)
        with pytest.raises(ListenError, match=f"MLFLOW_PROXY_{setting.upper()}: cannot listen on {address}: "):
            async with running_server(settings):
                pass


@pytest.mark.parametrize("new_loop", [None, asyncio.new_event_loop], ids=["default", "asyncio"])
def test_run_serves_on_a_new_loop_until_a_signal(
    tokens: Tokens, messages: Callable[[], list[str]], new_loop: Callable[[], asyncio.AbstractEventLoop] | None
) -> None:
    def terminate() -> None:
        deadline = time.monotonic() + 10
        while not messages() and time.monotonic() < deadline:
            time.sleep(0.01)
        if messages():
            os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=terminate)
    sender.start()
    run(quick_settings("http://127.0.0.1:1", tokens, drain=0.0, grace=1.0), new_loop)
    sender.join()
    assert [message.partition(" ")[0] for message in messages()] == ["Serving", "Stopping:", "Stopped"]
