"""A hundred writers while the upstream restarts, SIGTERM under load: what was acknowledged is there, all is free."""

import asyncio
import contextlib
import json
import socket
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from proxy_app.setting_values import Address
from tests.doubles.fake_upstreams import OK, FakeUpstream, UpstreamConnection
from tests.doubles.proxy_process import ProxyProcess
from tests.doubles.raw_client import RawClient, request
from tests.doubles.running_proxy import NON_IDEMPOTENT_WRITE, Tokens, wait_until

from .conftest import StartProxy

WRITERS = 100
# After these, MLflow's client sends a request again.
RETRIED = {408, 429, 500, 502, 503, 504}


class Store:
    """An MLflow that stores the ids of writes, on a port that stays the same when it restarts.

    A write is stored before its response is sent: one that is cut off may be there and was not acknowledged.
    """

    def __init__(self) -> None:
        self.stored = Counter[int]()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Serve; at the end of the block all connections are reset, those with a request too."""
        connections: set[UpstreamConnection] = set()
        fake_upstream = FakeUpstream(self._serve)

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = UpstreamConnection(reader, writer, fake_upstream)
            connections.add(connection)
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._serve(connection)
            connections.discard(connection)
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", self.port)
        try:
            yield
        finally:
            server.close()
            for connection in list(connections):
                connection.reset()

    async def _serve(self, connection: UpstreamConnection) -> None:
        while True:
            received = await connection.read_request()
            await asyncio.sleep(0.005)
            self.stored[json.loads(received.body)["id"]] += 1
            await asyncio.sleep(0.005)
            await connection.send(OK)


class Writer:
    """Writes ids one after the other, as MLflow's client does: again after some statuses."""

    def __init__(self, address: Address, token: str) -> None:
        self._address, self._token = address, token
        self.acknowledged: list[int] = []
        self.unknown: list[int] = []
        self.stopped = False

    async def write(self, numbers: range) -> None:
        for number in numbers:
            if self.stopped:
                return
            await self._write(number)

    async def _write(self, number: int) -> None:
        data = request("POST", NON_IDEMPOTENT_WRITE, body=json.dumps({"id": number}).encode(), token=self._token)
        status = 0
        for _ in range(40):
            try:
                async with RawClient.connected(self._address) as client:
                    response = await client.round_trip(data)
            except ConnectionRefusedError:
                self.stopped = True
                return
            except (ConnectionError, asyncio.IncompleteReadError):
                self.unknown.append(number)
                return
            if (status := response.status) == 200:
                self.acknowledged.append(number)
                return
            if response.status not in RETRIED:
                assert response.status == 409, response
                self.unknown.append(number)
                return
            await asyncio.sleep(int(response.header("retry-after") or 0) or 0.1)
        raise AssertionError(f"write {number} failed: {status}")


def check(store: Store, writers: list[Writer]) -> None:
    acknowledged = [number for writer in writers for number in writer.acknowledged]
    unknown = {number for writer in writers for number in writer.unknown}
    assert acknowledged
    assert all(store.stored[number] == 1 for number in acknowledged), "lost, or written twice"
    assert set(store.stored) <= set(acknowledged) | unknown, "written, and reported as failed"
    assert all(count == 1 for count in store.stored.values())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("limits", [(1000, 10.0), (8, 0.2)], ids=["wide limits", "low limits"])
async def test_hundred_writers_lose_nothing_while_the_upstream_restarts(
    start_proxy: StartProxy, limits: tuple[int, float]
) -> None:
    store = Store()
    proxy = await start_proxy(store.origin, principal_max_requests=limits[0], queue_seconds=limits[1])
    writers = [Writer(proxy.address, proxy.tokens.editor) for _ in range(WRITERS)]
    each = 10

    async def restart() -> None:
        for _ in range(3):
            async with store.running():
                await asyncio.sleep(0.3)
            await asyncio.sleep(0.2)

    restarts = asyncio.create_task(restart())
    writes = [
        asyncio.create_task(writer.write(range(number * each, (number + 1) * each)))
        for number, writer in enumerate(writers)
    ]
    await restarts
    async with store.running():
        await asyncio.gather(*writes)
    check(store, writers)
    if limits[0] > WRITERS:  # otherwise the few that are in flight may all be between two restarts
        assert {502, 409} & {line["status"] for line in proxy.lines}, "no request met a restart"
    unknown = sum(len(writer.unknown) for writer in writers)
    assert sum(len(writer.acknowledged) for writer in writers) + unknown == WRITERS * each
    await wait_until(lambda: proxy.in_flight == 0)
    names = ("requests_queued", "principals_in_flight", "principal_requests_in_flight_max", "requests_unauthenticated")
    await wait_until(lambda: [proxy.metric(f"mlflow_proxy_{name}") for name in names] == [0] * 4)
    assert proxy.budget_free == proxy.settings.body_budget
    await wait_until(lambda: proxy.metric("mlflow_proxy_connections") == 0)


@pytest.mark.timeout(60)
async def test_sigterm_under_load_acknowledges_all_that_was_written(tokens: Tokens, tmp_path: Path) -> None:
    store = Store()
    settings = {
        "MLFLOW_PROXY_UPSTREAM_URL": store.origin,
        "MLFLOW_PROXY_PRINCIPAL_MAX_REQUESTS": "16",
        "MLFLOW_PROXY_PRINCIPAL_REQUESTS_PER_SECOND": "10000",
        "MLFLOW_PROXY_DRAIN_SECONDS": "1",
        "MLFLOW_PROXY_GRACE_SECONDS": "10",
    }
    async with store.running(), ProxyProcess.serving(tmp_path, tokens, **settings) as proxy:
        writers = [Writer(proxy.address, tokens.editor) for _ in range(WRITERS)]
        writes = [
            asyncio.create_task(writer.write(range(number * 1000, (number + 1) * 1000)))
            for number, writer in enumerate(writers)
        ]
        await wait_until(lambda: len(store.stored) > 100)
        proxy.signal()
        assert await proxy.ended(within=15) == 0
        await asyncio.gather(*writes)
    check(store, writers)
    assert set(store.stored) == {number for writer in writers for number in writer.acknowledged}
    assert not [line for line in proxy.requests if line["status"] in {499, 500}]
