"""One budget for all signed bodies in flight: beyond it requests wait in line, and nothing of it is ever lost."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.request_body import Budget
from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import OK, UpstreamConnection
from tests.doubles.raw_client import chunked_body, request
from tests.doubles.running_proxy import IDEMPOTENT_WRITE, wait_until

from .conftest import StartProxy, StartUpstream


async def test_bodies_beyond_the_budget_wait_in_the_order_they_came(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    go_on = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(go_on))
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=1000, body_budget=1000)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(proxy.connect()) for _ in range(4)]
        # The second does not fit beside the first; the third would, and has to wait behind the second all the same.
        for number, (client, size) in enumerate(zip(clients, (700, 600, 100, 900), strict=True), 1):
            await client.send(request("POST", IDEMPOTENT_WRITE, body=b"%d" % number * size, token=proxy.tokens.editor))
            await wait_until(lambda number=number: proxy.in_flight == number)
        await wait_until(lambda: len(fake_upstream.requests) == 1)
        await asyncio.sleep(0.1)
        assert ([received.body[:1] for received in fake_upstream.requests], proxy.budget_free) == ([b"1"], 300)
        go_on.set()
        assert [(await client.read_response("POST")).status for client in clients] == [200] * 4
    assert sorted(received.body[:1] for received in fake_upstream.requests) == [b"1", b"2", b"3", b"4"]
    assert proxy.budget_free == 1000


_STEPS = st.one_of(
    st.tuples(st.just("take"), st.integers(1, 10)),
    st.tuples(st.just("give"), st.integers(0, 20)),
    st.tuples(st.just("give up"), st.integers(0, 20)),
    st.tuples(st.just("turn"), st.just(0)),
)


@given(st.lists(_STEPS, max_size=40), st.booleans())
def test_the_budget_serves_in_order_and_loses_nothing(steps: list[tuple[str, int]], one_by_one: bool) -> None:
    async def play() -> None:
        budget = Budget(10)
        holding: list[int] = []
        served: list[int] = []
        waiting: list[asyncio.Task[None]] = []

        async def take(number: int, size: int) -> None:
            await budget.acquire(size)
            served.append(number)
            holding.append(size)

        for what, number in steps:
            if what == "take":
                waiting.append(asyncio.create_task(take(len(waiting), number)))
            elif what == "give" and holding:
                budget.release(holding.pop(number % len(holding)))
            elif what == "give up" and waiting:
                waiting[number % len(waiting)].cancel()
            if what == "turn" or one_by_one:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert 0 <= budget.free <= 10
        # Whoever still waits is served as the others give back.
        while not all(task.done() for task in waiting):
            await asyncio.sleep(0)
            while holding:
                budget.release(holding.pop())
        # Else those who are served in one turn of the loop come to hear of it in any order.
        if one_by_one:
            assert served == sorted(served)
        for task in waiting:
            assert task.cancelled() or task.exception() is None
        while holding:
            budget.release(holding.pop())
        assert budget.free == 10

    asyncio.run(play())


async def test_a_flood_never_holds_more_than_the_budget(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    at_once = most = 0

    async def slow(connection: UpstreamConnection) -> None:
        nonlocal at_once, most
        while True:
            received = await connection.read_request()
            at_once += len(received.body)
            most = max(most, at_once)
            await asyncio.sleep(0.01)
            at_once -= len(received.body)
            await connection.send(OK)

    fake_upstream = await start_upstream(slow)
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=100_000, body_budget=250_000)
    frees: list[float] = []

    async def one(number: int) -> int:
        body = b"x" * (20_000 + number % 5 * 20_000)
        response = await proxy.send(request("POST", IDEMPOTENT_WRITE, body=body, token=proxy.tokens.editor))
        frees.append(proxy.budget_free or 0)
        return response.status

    assert set(await asyncio.gather(*(one(number) for number in range(60)))) == {200}
    assert 100_000 < most <= 250_000
    assert min(frees) >= 0
    assert proxy.budget_free == 250_000


async def test_a_body_of_unknown_length_counts_as_the_largest_until_it_has_come(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    go_on = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(go_on))
    proxy = await start_proxy(fake_upstream.origin, signed=True, body_limit=1000, body_budget=3000)
    async with proxy.connect() as client:
        await client.send(request("POST", IDEMPOTENT_WRITE, "Transfer-Encoding: chunked", token=proxy.tokens.editor))
        await wait_until(lambda: proxy.budget_free == 2000)
        await client.send(chunked_body(b"x" * 10, b""))
        await wait_until(lambda: proxy.budget_free == 2990)
        go_on.set()
        assert (await client.read_response()).status == 200
    assert proxy.budget_free == 3000


async def test_waiting_too_long_for_the_budget_is_answered_with_when_to_try_again(
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
        # Requests without a body need no budget.
        assert proxy.lines[-1]["error"] == "body-budget"
    await wait_until(lambda: proxy.budget_free == 1000)


async def test_a_caller_who_leaves_the_queue_holds_nobody_up(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    go_on = asyncio.Event()
    fake_upstream = await start_upstream(fake_upstreams.respond_when_set(go_on))
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
        go_on.set()
        assert [(await client.read_response("POST")).status for client in (first, third)] == [200, 200]
    assert proxy.budget_free == 1000


async def test_the_budget_survives_whoever_gives_up_while_it_is_given_back() -> None:
    budget = Budget(10)
    await budget.acquire(10)
    waiting = [asyncio.create_task(budget.acquire(6)) for _ in range(3)]
    await asyncio.sleep(0)
    # In one turn of the loop: the first gives up, and what it waited for becomes free.
    waiting[0].cancel()
    budget.release(10)
    # And one gives up in the turn in which it is served.
    waiting[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    with pytest.raises(asyncio.CancelledError):
        await waiting[1]
    await waiting[2]
    assert budget.free == 4
