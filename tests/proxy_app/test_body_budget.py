"""One budget for all signed bodies in flight: beyond it requests wait in line, and nothing of it is ever lost."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.request_body import Budget
from tests.doubles import toy_upstreams as toys
from tests.doubles.raw_client import in_chunks, request
from tests.doubles.running_proxy import WRITE_AGAIN, until
from tests.doubles.toy_upstreams import OK, Talk

from .conftest import StartProxy, StartToy


async def test_bodies_beyond_the_budget_wait_in_the_order_they_came(
    start_toy: StartToy, start_proxy: StartProxy
) -> None:
    go_on = asyncio.Event()
    toy = await start_toy(toys.held(go_on))
    proxy = await start_proxy(toy.origin, signed=True, body_limit=1000, body_budget=1000)
    async with contextlib.AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(proxy.caller()) for _ in range(4)]
        # The second does not fit beside the first; the third would, and has to wait behind the second all the same.
        for number, (caller, size) in enumerate(zip(callers, (700, 600, 100, 900), strict=True), 1):
            await caller.send(request("POST", WRITE_AGAIN, body=b"%d" % number * size, token=proxy.tokens.editor))
            await until(lambda number=number: proxy.in_flight == number)
        await until(lambda: len(toy.asked) == 1)
        await asyncio.sleep(0.1)
        assert ([asked.body[:1] for asked in toy.asked], proxy.budget_free) == ([b"1"], 300)
        go_on.set()
        assert [(await caller.answer("POST")).status for caller in callers] == [200] * 4
    assert sorted(asked.body[:1] for asked in toy.asked) == [b"1", b"2", b"3", b"4"]
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


async def test_a_flood_never_holds_more_than_the_budget(start_toy: StartToy, start_proxy: StartProxy) -> None:
    at_once = most = 0

    async def slow(talk: Talk) -> None:
        nonlocal at_once, most
        while True:
            asked = await talk.ask()
            at_once += len(asked.body)
            most = max(most, at_once)
            await asyncio.sleep(0.01)
            at_once -= len(asked.body)
            await talk.send(OK)

    toy = await start_toy(slow)
    proxy = await start_proxy(toy.origin, signed=True, body_limit=100_000, body_budget=250_000)
    frees: list[float] = []

    async def one(number: int) -> int:
        body = b"x" * (20_000 + number % 5 * 20_000)
        answer = await proxy.ask(request("POST", WRITE_AGAIN, body=body, token=proxy.tokens.editor))
        frees.append(proxy.budget_free or 0)
        return answer.status

    assert set(await asyncio.gather(*(one(number) for number in range(60)))) == {200}
    assert 100_000 < most <= 250_000
    assert min(frees) >= 0
    assert proxy.budget_free == 250_000


async def test_a_body_of_unknown_length_counts_as_the_largest_until_it_has_come(
    start_toy: StartToy, start_proxy: StartProxy
) -> None:
    go_on = asyncio.Event()
    toy = await start_toy(toys.held(go_on))
    proxy = await start_proxy(toy.origin, signed=True, body_limit=1000, body_budget=3000)
    async with proxy.caller() as caller:
        await caller.send(request("POST", WRITE_AGAIN, "Transfer-Encoding: chunked", token=proxy.tokens.editor))
        await until(lambda: proxy.budget_free == 2000)
        await caller.send(in_chunks(b"x" * 10, b""))
        await until(lambda: proxy.budget_free == 2990)
        go_on.set()
        assert (await caller.answer()).status == 200
    assert proxy.budget_free == 3000


async def test_waiting_too_long_for_the_budget_is_answered_with_when_to_try_again(
    start_toy: StartToy, start_proxy: StartProxy
) -> None:
    toy = await start_toy(toys.silent())
    proxy = await start_proxy(toy.origin, signed=True, body_limit=1000, body_budget=1000, body_timeout=0.2)
    async with proxy.caller() as first:
        await first.send(request("POST", WRITE_AGAIN, body=b"x" * 1000, token=proxy.tokens.editor))
        await until(lambda: len(toy.asked) == 1)
        answer = await proxy.ask(request("POST", WRITE_AGAIN, body=b"{}", token=proxy.tokens.editor))
        assert answer.error == (503, "TEMPORARILY_UNAVAILABLE")
        assert int(answer.header("retry-after") or 0) > 0
        # Requests without a body need no budget.
        assert proxy.lines[-1]["error"] == "body-budget"
    await until(lambda: proxy.budget_free == 1000)


async def test_a_caller_who_leaves_the_queue_holds_nobody_up(start_toy: StartToy, start_proxy: StartProxy) -> None:
    go_on = asyncio.Event()
    toy = await start_toy(toys.held(go_on))
    proxy = await start_proxy(toy.origin, signed=True, body_limit=1000, body_budget=1000)
    async with proxy.caller() as first, proxy.caller() as third:
        await first.send(request("POST", WRITE_AGAIN, body=b"1" * 700, token=proxy.tokens.editor))
        await until(lambda: len(toy.asked) == 1)
        async with proxy.caller() as second:
            await second.send(request("POST", WRITE_AGAIN, body=b"2" * 600, token=proxy.tokens.editor))
            await until(lambda: proxy.in_flight == 2)
            await third.send(request("POST", WRITE_AGAIN, body=b"3" * 300, token=proxy.tokens.editor))
            await until(lambda: proxy.in_flight == 3)
            assert len(toy.asked) == 1
        await until(lambda: len(toy.asked) == 2)
        go_on.set()
        assert [(await caller.answer("POST")).status for caller in (first, third)] == [200, 200]
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
