"""FairPool: never above a limit, no lost wake-up, everything given back, owners in turn."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy_app.limits.fair_pool import FairPool, QueueFullError

CAPACITY, PER_OWNER, MAX_WAITING = 10, 6, 4
OWNERS = "abcd"


class PoolMachine(RuleBasedStateMachine):
    """Requests arrive, end, are cancelled, and the capacity changes; the loop runs in between, or does not."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.pool = FairPool(CAPACITY, PER_OWNER, MAX_WAITING)
        self.pending: dict[asyncio.Task[None], tuple[str, int]] = {}
        self.held: list[tuple[str, int]] = []
        self.settled = True

    async def _acquire(self, owner: str, size: int) -> None:
        await self.pool.acquire(owner, size)
        self.held.append((owner, size))

    @rule(owner=st.sampled_from(OWNERS), size=st.integers(1, PER_OWNER))
    def acquire(self, owner: str, size: int) -> None:
        self.pending[self.loop.create_task(self._acquire(owner, size))] = owner, size
        self.settled = False

    @rule(owner=st.sampled_from(OWNERS), size=st.integers(1, PER_OWNER))
    def try_acquire(self, owner: str, size: int) -> None:
        if self.pool.try_acquire(owner, size):
            self.held.append((owner, size))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        owner, size = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.pool.release(owner, size)
        self.settled = False

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        list(self.pending)[data.draw(st.integers(0, len(self.pending) - 1))].cancel()
        self.settled = False

    @rule(capacity=st.integers(1, CAPACITY))
    def resize(self, capacity: int) -> None:
        self.pool.capacity = capacity
        self.settled = False

    @rule()
    def run_loop(self) -> None:
        for _ in range(4):
            self.loop.run_until_complete(asyncio.sleep(0))
        for task in [task for task in self.pending if task.done()]:
            del self.pending[task]
            if not task.cancelled() and (error := task.exception()) is not None:
                assert isinstance(error, QueueFullError)
        self.settled = True

    @invariant()
    def never_above_a_limit_and_never_negative(self) -> None:
        granted = Counter[str]()
        for owner, size in self.held:
            granted[owner] += size
        assert sum(granted.values()) <= self.pool.used <= CAPACITY
        assert max(granted.values(), default=0) <= self.pool.largest_share <= PER_OWNER
        if self.settled:
            assert self.pool.used == sum(granted.values())
            assert self.pool.waiting == len(self.pending)

    @invariant()
    def a_request_waits_only_for_a_limit(self) -> None:
        if not self.settled:
            return
        held = Counter[str]()
        for owner, size in self.held:
            held[owner] += size
        first: dict[str, int] = {}
        for owner, size in self.pending.values():
            first.setdefault(owner, size)
        eligible = [size for owner, size in first.items() if held[owner] + size <= PER_OWNER]
        assert not eligible or max(eligible) > self.pool.free, "a request waits although it fits"
        assert all(count <= MAX_WAITING for count in Counter(owner for owner, _ in self.pending.values()).values())

    def teardown(self) -> None:
        self.pool.capacity = CAPACITY
        for _ in range(100):
            self.run_loop()
            while self.held:
                self.pool.release(*self.held.pop())
        assert not self.pending
        assert (self.pool.used, self.pool.waiting, self.pool.owners) == (0, 0, 0)
        self.loop.close()


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=150, stateful_step_count=40)


@given(st.lists(st.sampled_from(OWNERS), max_size=30), st.integers(1, 3))
def test_of_owners_that_wait_each_gets_one_place_before_another_gets_two(arrivals: list[str], places: int) -> None:
    async def run() -> None:
        pool = FairPool(places, places)
        for _ in range(places):
            assert pool.try_acquire("first")
        granted: list[str] = []
        waiting = Counter(arrivals)

        async def acquire(owner: str) -> None:
            await pool.acquire(owner)
            granted.append(owner)

        tasks = [asyncio.create_task(acquire(owner)) for owner in arrivals]
        await asyncio.sleep(0)
        since = {owner: Counter[str]() for owner in waiting}
        holder = "first"
        for _ in arrivals:
            pool.release(holder)
            await asyncio.sleep(0)
            holder = granted[-1]
            since[holder].clear()
            waiting[holder] -= 1
            for owner in since:
                if owner != holder and waiting[owner]:
                    since[owner][holder] += 1
                    assert since[owner][holder] <= 1, f"{holder} got two places while {owner} waited"
        await asyncio.gather(*tasks)
        # Requests of one owner in the order of their arrival, and all of them.
        assert Counter(granted) == Counter(arrivals)

    asyncio.run(run())


async def test_owner_at_its_own_limit_does_not_hold_up_others() -> None:
    pool = FairPool(10, 2)
    assert pool.try_acquire("greedy", 2)
    waiting = [asyncio.create_task(pool.acquire("greedy")) for _ in range(20)]
    await asyncio.sleep(0)
    assert all(pool.try_acquire("polite") for _ in range(2))
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (pool.used, pool.waiting) == (4, 0)


async def test_cancelling_the_first_request_in_the_queue_wakes_those_behind_it() -> None:
    pool = FairPool(10, 10)
    assert pool.try_acquire("a", 7)
    large = asyncio.create_task(pool.acquire("b", 6))
    small = asyncio.create_task(pool.acquire("c", 3))
    await asyncio.sleep(0)
    assert not small.done()
    large.cancel()
    async with asyncio.timeout(5):
        await small
    assert pool.free == 0


async def test_size_above_an_owners_share_is_an_error_instead_of_an_endless_wait() -> None:
    with pytest.raises(ValueError, match="at most 3"):
        await FairPool(10, 3).acquire("a", 4)
