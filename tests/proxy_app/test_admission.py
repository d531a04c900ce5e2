"""Fair use through the proxy: limits of each principal, the queue, 429 with Retry-After, and stock clients."""

import asyncio
import contextlib
import os
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from proxy_app.auth import Principal, Role
from proxy_app.context import RequestContext, RequestRecord
from proxy_app.errors import ApiError
from proxy_app.limits.admission import Admission
from proxy_app.settings import Settings
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK
from tests.doubles.raw_client import RawClient, request
from tests.doubles.running_proxy import IDEMPOTENT_WRITE, READ, RunningProxy, wait_until

from .conftest import StartProxy, StartUpstream

both_upstreams = pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
ALICE, BOB = (Principal(name, Role.VIEWER, "token") for name in ("alice", "bob"))


class Flood:
    """Open requests of one token, each on its own connection."""

    def __init__(self, proxy: RunningProxy, token: str, stack: contextlib.AsyncExitStack) -> None:
        self._proxy, self._token, self._stack = proxy, token, stack
        self.clients: list[RawClient] = []

    async def send(self, number: int, target: str = READ) -> None:
        for _ in range(number):
            client = await self._stack.enter_async_context(self._proxy.connect())
            await client.send(request("GET", target, token=self._token))
            self.clients.append(client)

    async def statuses(self) -> Counter[int]:
        return Counter([(await client.read_response()).status for client in self.clients])


def idle(proxy: RunningProxy) -> bool:
    """Whether no limit holds anything."""
    names = ("requests_in_flight", "requests_queued", "principals_in_flight", "principal_requests_in_flight_max")
    return [proxy.metric(f"mlflow_proxy_{name}") for name in (*names, "requests_unauthenticated")] == [0] * 5


@both_upstreams
async def test_principal_above_its_limit_queues_and_leaves_room_for_others(
    start_upstream: StartUpstream, start_proxy: StartProxy, signed: bool
) -> None:
    respond = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(respond))
    proxy = await start_proxy(
        fake_upstream.origin, signed=signed, max_requests=20, principal_max_requests=3, queue_seconds=30.0
    )
    async with contextlib.AsyncExitStack() as stack:
        greedy = Flood(proxy, proxy.tokens.viewer, stack)
        await greedy.send(8)
        # Three in flight, three in the queue, two refused.
        await wait_until(lambda: len(proxy.lines) == 2)
        assert proxy.metric("mlflow_proxy_requests_queued") == 3
        assert proxy.metric("mlflow_proxy_principal_requests_in_flight_max") == 3
        assert len(fake_upstream.requests) == 3
        polite = Flood(proxy, proxy.tokens.editor, stack)
        await polite.send(1)
        await wait_until(lambda: len(fake_upstream.requests) == 4)
        assert proxy.metric("mlflow_proxy_principals_in_flight") == 2
        respond.set()
        assert await polite.statuses() == {200: 1}
        assert await greedy.statuses() == {200: 6, 429: 2}
    assert {line["error"] for line in proxy.lines if line["status"] == 429} == {"principal-max-requests"}
    assert proxy.metric("mlflow_proxy_errors_total", error="principal-max-requests") == 2
    assert sorted("queue_ms" in line for line in proxy.lines if line["status"] == 200) == [False] * 4 + [True] * 3
    await wait_until(lambda: idle(proxy))


async def test_request_that_waits_too_long_gets_429_with_retry_after(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    respond = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(respond))
    proxy = await start_proxy(fake_upstream.origin, principal_max_requests=1, queue_seconds=0.2)
    async with proxy.connect() as first:
        await first.send(request("GET", READ, token=proxy.tokens.viewer))
        await wait_until(lambda: len(fake_upstream.requests) == 1)
        response = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
        assert response.error == (429, "REQUEST_LIMIT_EXCEEDED")
        assert 1 <= int(response.header("retry-after") or 0) <= 60
        assert "MLFLOW_PROXY_PRINCIPAL_MAX_REQUESTS" in response.message
        assert proxy.lines[-1]["queue_ms"] >= 190
        # Health checks are not limited.
        assert (await proxy.send(request("GET", "/healthz"))).status == 200
        respond.set()
        assert (await first.read_response()).status == 200
    await wait_until(lambda: idle(proxy))


async def test_free_places_go_to_principals_in_turn(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    respond = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(respond))
    proxy = await start_proxy(fake_upstream.origin, max_requests=1, queue_seconds=30.0)
    async with contextlib.AsyncExitStack() as stack:
        greedy = Flood(proxy, proxy.tokens.viewer, stack)
        await greedy.send(20)
        await wait_until(lambda: proxy.in_flight == 20)
        polite = Flood(proxy, proxy.tokens.editor, stack)
        await polite.send(2)
        await wait_until(lambda: proxy.in_flight == 22)
        respond.set()
        assert await greedy.statuses() + await polite.statuses() == {200: 22}
    served = [line["principal"] for line in proxy.lines]
    # The first one was in flight before, and one of the other principal may be ahead in each turn.
    assert [index for index, name in enumerate(served) if name == "some-editor"][1] <= 4


async def test_rate_paces_a_loop_without_a_429(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    """A training loop sends one request after the other: it becomes slower, and no request fails."""
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, principal_requests_per_second=100, queue_seconds=5.0)
    async with proxy.connect() as client:
        started = time.monotonic()
        statuses = [
            (await client.round_trip(request("GET", READ, token=proxy.tokens.viewer))).status for _ in range(250)
        ]
        seconds = time.monotonic() - started
    assert set(statuses) == {200}
    # A burst of 200, then 100 per second.
    assert seconds >= 0.45


@pytest.mark.parametrize("parallel", [30, 60], ids=["page", "page-twice"])
async def test_page_of_the_ui_is_within_the_defaults(
    start_upstream: StartUpstream, start_proxy: StartProxy, parallel: int
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, principal_requests_per_second=100, principal_max_requests=64)
    async with contextlib.AsyncExitStack() as stack:
        browser = Flood(proxy, proxy.tokens.viewer, stack)
        await browser.send(parallel)
        assert await browser.statuses() == {200: parallel}
    assert all("queue_ms" not in line for line in proxy.lines)


async def test_rate_above_the_queue_gets_429_with_the_time_at_which_it_is_free(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, principal_requests_per_second=1, queue_seconds=0.0)
    async with proxy.connect() as client:
        responses = [
            await client.round_trip(request("POST", IDEMPOTENT_WRITE, body=b"{}", token=proxy.tokens.editor))
            for _ in range(64)
        ]
        # Another principal is not affected.
        assert (await client.round_trip(request("GET", READ, token=proxy.tokens.viewer))).status == 200
    assert Counter(response.status for response in responses) == {200: 60, 429: 4}
    refused = [response for response in responses if response.status == 429]
    assert [int(response.header("retry-after") or 0) for response in refused] == [1, 2, 3, 4]
    assert "MLFLOW_PROXY_PRINCIPAL_REQUESTS_PER_SECOND" in refused[0].message
    assert proxy.metric("mlflow_proxy_errors_total", error="principal-rate") == 4


async def test_client_that_disconnects_in_the_queue_gives_its_place_back(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    respond = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(respond))
    proxy = await start_proxy(fake_upstream.origin, principal_max_requests=2, queue_seconds=30.0)
    async with contextlib.AsyncExitStack() as stack:
        greedy = Flood(proxy, proxy.tokens.viewer, stack)
        await greedy.send(4)
        await wait_until(lambda: proxy.metric("mlflow_proxy_requests_queued") == 2)
        for client in greedy.clients[1:]:
            client.writer.transport.abort()
        await wait_until(lambda: proxy.metric("mlflow_proxy_requests_queued") == 0)
        await wait_until(lambda: proxy.metric("mlflow_proxy_principal_requests_in_flight_max") == 1)
        respond.set()
        assert (await greedy.clients[0].read_response()).status == 200
    await wait_until(lambda: idle(proxy))


async def test_requests_without_authentication_take_no_place_and_have_a_bound_of_their_own(
    start_upstream: StartUpstream, start_proxy: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, max_requests=2)
    authenticate = proxy.server.app.proxy._authenticate  # pyright: ignore[reportPrivateUsage]

    async def slowly(context: RequestContext) -> Principal:
        # As with an identity header whose key is not known yet.
        await release.wait()
        return await authenticate(context)

    monkeypatch.setattr(proxy.server.app.proxy, "_authenticate", slowly)
    async with contextlib.AsyncExitStack() as stack:
        unauthenticated = [await stack.enter_async_context(proxy.connect()) for _ in range(3)]
        for client in unauthenticated:
            await client.send(request("GET", READ))
        response = await unauthenticated[2].read_response()
        assert response.error == (429, "REQUEST_LIMIT_EXCEEDED")
        assert proxy.lines[-1]["error"] == "too-many-unauthenticated"
        assert proxy.metric("mlflow_proxy_requests_unauthenticated") == 2
        assert proxy.metric("mlflow_proxy_principals_in_flight") == 0
        release.set()
        assert [(await client.read_response()).status for client in unauthenticated[:2]] == [401, 401]
    await wait_until(lambda: idle(proxy))


async def test_retry_after_grows_while_no_place_becomes_free() -> None:
    """MLflow's clients try eight times: as with their own backoff, that has to last for minutes."""
    admission = Admission(Settings.build({"principal_max_requests": 1, "queue_seconds": 0.0, "upstream_url": "x"}))
    assert admission.try_admit(ALICE)
    told: list[int] = []
    for _ in range(2):
        assert not admission.try_admit(ALICE)
        with pytest.raises(ApiError) as refused:
            await admission.admit(RequestRecord("id", "GET"), ALICE)
        told.append(int(dict(refused.value.headers)["Retry-After"]))
        await asyncio.sleep(2.1)
    assert told[0] in {1, 2}
    assert told[1] in {2, 3}
    assert admission.try_admit(BOB)
    admission.release(ALICE)
    admission.release(BOB)
    assert (admission.pool.used, admission.pool.owners) == (0, 0)


# With the client's own settings of retries.
_WRITERS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from mlflow import MlflowClient

client = MlflowClient(sys.argv[1])
with ThreadPoolExecutor(24) as pool:
    list(pool.map(lambda step: client.log_metric("1", "loss", 0.5, step=step), range(int(sys.argv[2]))))
"""


@pytest.mark.timeout(120)
async def test_stock_client_finishes_its_work_under_low_limits(
    start_upstream: StartUpstream, start_proxy: StartProxy, tmp_path: Path
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(
        fake_upstream.origin, principal_max_requests=2, principal_requests_per_second=40, queue_seconds=0.1
    )
    requests = 100
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-c", _WRITERS, f"http://{proxy.address}", str(requests)),
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "MLFLOW_TRACKING_TOKEN": proxy.tokens.editor,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()[-2000:]
    statuses = Counter(line["status"] for line in proxy.lines)
    assert set(statuses) == {200, 429}
    assert statuses[200] == len(fake_upstream.requests) == requests
    assert statuses[429] < requests
    await wait_until(lambda: idle(proxy))


async def test_client_that_ignores_retry_after_is_refused_later_and_other_principals_are_not(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, principal_requests_per_second=1, queue_seconds=0.0)
    get = request("GET", READ, token=proxy.tokens.viewer)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(proxy.connect()) for _ in range(40)]

        async def ignore_retry_after(client: RawClient) -> None:
            while True:
                await client.round_trip(get)

        flood = [asyncio.create_task(ignore_retry_after(client)) for client in clients]
        await wait_until(lambda: proxy.metric("mlflow_proxy_requests_queued") == 40)
        count = len(proxy.lines)
        await asyncio.sleep(1)
        assert len(proxy.lines) - count <= 60
        async with proxy.connect() as polite:
            durations: list[float] = []
            for _ in range(20):
                started = time.monotonic()
                assert (await polite.round_trip(request("GET", READ, token=proxy.tokens.editor))).status == 200
                durations.append(time.monotonic() - started)
        assert sorted(durations)[10] < 0.2
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
    await wait_until(lambda: idle(proxy))
