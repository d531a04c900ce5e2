"""The body budget, which all signed requests in flight share: requests beyond it wait, and no part of it is lost."""

import asyncio
import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy_app.request_body import Budget
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, UpstreamConnection
from tests.doubles.raw_client import chunked_body, request
from tests.doubles.running_proxy import IDEMPOTENT_WRITE, READ, wait_until

from .conftest import StartProxy, StartUpstream


async def test_bodies_beyond_the_budget_wait_first_come_first_served(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    respond = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(respond))
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=1000, body_budget=1000)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(proxy.connect()) for _ in range(4)]
        # The second does not fit beside the first. The third does, but waits behind the second.
        for number, (client, size) in enumerate(zip(clients, (700, 600, 100, 900), strict=True), 1):
            await client.send(request("POST", IDEMPOTENT_WRITE, body=b"%d" % number * size, token=proxy.tokens.editor))
            await wait_until(lambda number=number: proxy.in_flight == number)
        await wait_until(lambda: len(fake_upstream.requests) == 1)
        await asyncio.sleep(0.1)
        assert ([received.body[:1] for received in fake_upstream.requests], proxy.budget_free) == ([b"1"], 300)
        respond.set()
        assert [(await client.read_response("POST")).status for client in clients] == [200] * 4
    assert sorted(received.body[:1] for received in fake_upstream.requests) == [b"1", b"2", b"3", b"4"]
    assert proxy.budget_free == 1000


_STEPS = st.one_of(
    st.tuples(st.just("acquire"), st.integers(1, 10)),
    st.tuples(st.just("release"), st.integers(0, 20)),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("run loop"), st.just(0)),
)


@given(st.lists(_STEPS, max_size=40), st.booleans())
@example([("acquire", 7), ("acquire", 6), ("acquire", 3), ("cancel", 1)], True)
@example([("acquire", 10), ("run loop", 0), ("acquire", 6), ("run loop", 0), ("release", 0), ("cancel", 1)], False)
def test_budget_grants_in_order_and_loses_nothing(steps: list[tuple[str, int]], run_after_each: bool) -> None:
    async def run_steps() -> None:
        budget = Budget(10)
        acquired: list[int] = []
        order: list[int] = []
        tasks: list[asyncio.Task[None]] = []
        sizes: list[int] = []

        async def acquire(number: int, size: int) -> None:
            await budget.acquire(size)
            order.append(number)
            acquired.append(size)

        for action, number in steps:
            if action == "acquire":
                tasks.append(asyncio.create_task(acquire(len(tasks), number)))
                sizes.append(number)
            elif action == "release" and acquired:
                budget.release(acquired.pop(number % len(acquired)))
            elif action == "cancel" and tasks:
                tasks[number % len(tasks)].cancel()
            if action == "run loop" or run_after_each:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert 0 <= budget.free <= 10
            if run_after_each:
                waiting = [size for size, task in zip(sizes, tasks, strict=True) if not task.done()]
                assert not waiting or waiting[0] > budget.free, "the first request in the queue waits although it fits"
        # The remaining tasks acquire their share as the others release theirs. Bounded, since Hypothesis would go on
        # with further examples after a timeout.
        for _ in range(2 * len(tasks) + 2):
            await asyncio.sleep(0)
            while acquired:
                budget.release(acquired.pop())
        assert all(task.done() for task in tasks)
        # Otherwise tasks that acquire in the same iteration of the loop resume in any order.
        if run_after_each:
            assert order == sorted(order)
        for task in tasks:
            assert task.cancelled() or task.exception() is None
        while acquired:
            budget.release(acquired.pop())
        assert budget.free == 10

    asyncio.run(run_steps())


async def test_concurrent_bodies_never_exceed_the_budget(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    current = highest = 0

    async def slow(connection: UpstreamConnection) -> None:
        nonlocal current, highest
        while True:
            received = await connection.read_request()
            current += len(received.body)
            highest = max(highest, current)
            await asyncio.sleep(0.01)
            current -= len(received.body)
            await connection.send(OK)

    fake_upstream = await start_upstream(slow)
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=100_000, body_budget=250_000)
    free: list[float] = []

    async def send(number: int) -> int:
        body = b"x" * (20_000 + number % 5 * 20_000)
        response = await proxy.send(request("POST", IDEMPOTENT_WRITE, body=body, token=proxy.tokens.editor))
        free.append(proxy.budget_free if proxy.budget_free is not None else -1)
        return response.status

    assert set(await asyncio.gather(*(send(number) for number in range(60)))) == {200}
    assert 100_000 < highest <= 250_000
    assert min(free) >= 0
    assert proxy.budget_free == 250_000


async def test_body_of_unknown_length_takes_the_limit_until_it_is_complete(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    respond = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(respond))
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=1000, body_budget=3000)
    async with proxy.connect() as client:
        await client.send(request("POST", IDEMPOTENT_WRITE, "Transfer-Encoding: chunked", token=proxy.tokens.editor))
        await wait_until(lambda: proxy.budget_free == 2000)
        await client.send(chunked_body(b"x" * 10, b""))
        await wait_until(lambda: proxy.budget_free == 2990)
        respond.set()
        assert (await client.read_response()).status == 200
    assert proxy.budget_free == 3000


async def test_exhausted_budget_returns_503_with_retry_after(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.stall())
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=1000, body_budget=1000, body_timeout=0.2)
    async with proxy.connect() as first:
        await first.send(request("POST", IDEMPOTENT_WRITE, body=b"x" * 1000, token=proxy.tokens.editor))
        await wait_until(lambda: len(fake_upstream.requests) == 1)
        response = await proxy.send(request("POST", IDEMPOTENT_WRITE, body=b"{}", token=proxy.tokens.editor))
        assert response.error == (503, "TEMPORARILY_UNAVAILABLE")
        assert int(response.header("retry-after") or 0) > 0
        assert proxy.lines[-1]["error"] == "body-budget"
        # Requests without a body need no budget.
        async with proxy.connect() as reader:
            await reader.send(request("GET", READ, token=proxy.tokens.viewer))
            await wait_until(lambda: len(fake_upstream.requests) == 2)
    await wait_until(lambda: proxy.budget_free == 1000)


async def test_client_that_disconnects_while_waiting_does_not_block_others(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    respond = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(respond))
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=1000, body_budget=1000)
    async with proxy.connect() as first, proxy.connect() as third:
        await first.send(request("POST", IDEMPOTENT_WRITE, body=b"1" * 700, token=proxy.tokens.editor))
        await wait_until(lambda: len(fake_upstream.requests) == 1)
        async with proxy.connect() as second:
            await second.send(request("POST", IDEMPOTENT_WRITE, body=b"2" * 600, token=proxy.tokens.editor))
            await wait_until(lambda: proxy.in_flight == 2)
            await third.send(request("POST", IDEMPOTENT_WRITE, body=b"3" * 300, token=proxy.tokens.editor))
            await wait_until(lambda: proxy.in_flight == 3)
            assert len(fake_upstream.requests) == 1
        await wait_until(lambda: len(fake_upstream.requests) == 2)
        respond.set()
        assert [(await client.read_response("POST")).status for client in (first, third)] == [200, 200]
    assert proxy.budget_free == 1000


async def test_cancellation_during_a_release_loses_no_budget() -> None:
    budget = Budget(10)
    await budget.acquire(10)
    tasks = [asyncio.create_task(budget.acquire(6)) for _ in range(3)]
    await asyncio.sleep(0)
    # In one iteration of the loop: the first is cancelled, and its share becomes free.
    tasks[0].cancel()
    budget.release(10)
    # The second is cancelled in the iteration in which it acquires its share.
    tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    async with asyncio.timeout(5):
        await tasks[2]
    assert budget.free == 4
