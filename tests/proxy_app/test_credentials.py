"""Credentials are fresh at all times, whatever their source does, and nobody waits for them."""

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from proxy_app.credentials import CredentialKeeper, CredentialsError, Loaded
from proxy_app.errors import ApiError
from proxy_app.sigv4 import Credentials
from tests.doubles.fast_time import now, run_fast

OLD = Credentials("AKIDOLD", "secret")


class Keys:
    """A source that gives other keys each time, for `life` seconds by `clock`; while `trouble` is set it fails."""

    def __init__(self, clock: Callable[[], float], life: float | None = None) -> None:
        self._clock = clock
        self._life = life
        self.trouble = ""
        self.times: list[float] = []

    @property
    def loads(self) -> int:
        return len(self.times)

    def __call__(self) -> Loaded:
        self.times.append(self._clock())
        if self.trouble:
            raise CredentialsError(self.trouble)
        expires = None if self._life is None else self._clock() + self._life
        return Loaded(Credentials(f"AKID{self.loads}", "the-secret"), expires)


class Gated:
    """A source that takes until it is let go, as a slow endpoint does; `inside` counts who is in it at once."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.entered = threading.Event()
        self.inside = self.most_inside = self.loads = 0
        self._lock = threading.Lock()

    def __call__(self) -> Loaded:
        with self._lock:
            self.loads += 1
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        self.entered.set()
        released = self.let_go.wait(10)
        with self._lock:
            self.inside -= 1
        if not released:
            raise CredentialsError("The test did not let go.")
        return Loaded(Credentials(f"AKID{self.loads}", "secret"), None)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


def clock() -> Callable[[], float]:
    """The running loop's time, for other threads too."""
    return asyncio.get_running_loop().time


async def wait_until(holds: Callable[[], bool], within: float) -> None:
    """Within so many seconds of the loop's time, and of as many real ones before a test is given up for lost."""
    deadline = now() + within
    while not holds():
        assert now() < deadline, "it did not happen in time"
        await asyncio.sleep(0)
        await asyncio.sleep(1)


# --- In time


def test_keys_are_loaded_anew_while_the_old_ones_hold_for_long() -> None:
    async def main() -> None:
        source = Keys(clock(), life=1200)
        keeper = CredentialKeeper(source, clock())
        async with keeper.running():
            seen = [keeper.current()]
            while source.loads < 4:
                await asyncio.sleep(10)
                if keeper.current() != seen[-1]:
                    seen.append(keeper.current())
        assert len(set(seen)) == len(seen) >= 3
        for earlier, later in zip(source.times, source.times[1:], strict=False):
            assert 300 <= later - earlier < 1200

    run_fast(main)


@pytest.mark.parametrize(("life", "pause"), [(None, 60), (100, 50)])
def test_keys_without_an_end_or_with_a_near_one_are_looked_at_again(life: float | None, pause: float) -> None:
    async def main() -> None:
        source = Keys(clock(), life)
        async with CredentialKeeper(source, clock()).running():
            await wait_until(lambda: source.loads >= 3, within=3600)
        for earlier, later in zip(source.times, source.times[1:], strict=False):
            assert later - earlier >= pause - 1

    run_fast(main)


def test_the_end_of_the_block_ends_the_loading() -> None:
    async def main() -> None:
        source = Keys(clock(), life=100)
        async with CredentialKeeper(source, clock()).running():
            await wait_until(lambda: source.loads >= 2, within=3600)
        loads = source.loads
        await asyncio.sleep(500)
        assert source.loads == loads

    run_fast(main)


# --- In trouble


def test_a_failed_refresh_leaves_the_old_keys_until_they_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        source = Keys(clock(), life=960)
        keeper = CredentialKeeper(source, clock())
        async with keeper.running():
            old, end = keeper.current(), keeper.expires
            assert end is not None
            source.trouble = "The metadata endpoint is away."
            used_in_trouble = False
            while True:
                before = now()
                try:
                    assert keeper.current() == old
                except ApiError as refusal:
                    assert now() >= end
                    refused = refusal
                    break
                assert before < end
                used_in_trouble |= keeper.failures > 0
                await asyncio.sleep(5)
            assert used_in_trouble
            assert (refused.status, refused.error_code) == (503, "TEMPORARILY_UNAVAILABLE")
            assert refused.message == "The proxy cannot sign requests: The metadata endpoint is away."
            assert "Retry-After" in dict(refused.headers)
            assert keeper.failures > 3

            source.trouble = ""
            await wait_until(lambda: keeper.failures == 0, within=600)
            assert keeper.current() != old
        # From one second on up to half a minute, and then no faster.
        trouble = source.times[1:-1]
        assert trouble[1] - trouble[0] >= 0.5
        assert trouble[-1] - trouble[-2] >= 15

    run_fast(main)
    said = [record.getMessage() for record in caplog.records if record.__dict__.get("event") == "credentials"]
    assert said[0] == "The metadata endpoint is away. (attempt 1)"
    assert said[1] == "The metadata endpoint is away. (attempt 2)"
    assert said[-1] == "AWS credentials are available again"
    assert said.count("AWS credentials are available again") == 1
    assert "the-secret" not in caplog.text


def test_a_proxy_starts_without_keys_and_takes_them_when_they_come() -> None:
    async def main() -> None:
        source = Keys(clock())
        source.trouble = "Nothing is there yet."
        keeper = CredentialKeeper(source, clock())
        async with keeper.running():
            with pytest.raises(ApiError, match="The proxy cannot sign requests: Nothing is there yet") as refused:
                keeper.current()
            assert (refused.value.status, refused.value.reason) == (503, "aws-credentials-unavailable")
            assert keeper.expires is None
            source.trouble = ""
            await wait_until(lambda: keeper.failures == 0, within=600)
            assert keeper.current().access_key == f"AKID{source.loads}"

    run_fast(main)


def test_before_the_first_load_there_is_nothing_to_sign_with() -> None:
    with pytest.raises(ApiError, match="not been loaded yet"):
        CredentialKeeper(Keys(Clock())).current()


async def test_keys_end_to_the_second() -> None:
    time = Clock()
    keeper = CredentialKeeper(Keys(time, life=100), time)
    async with keeper.running():
        assert keeper.expires == time.time + 100
        time.time += 99.999
        assert keeper.current().access_key == "AKID1"
        time.time += 0.001
        with pytest.raises(ApiError, match="have expired and could not be refreshed"):
            keeper.current()


# --- Without blocking


async def test_a_slow_source_never_holds_up_the_event_loop() -> None:
    source = Gated()

    async def let_go_after_some_turns() -> None:
        await asyncio.to_thread(source.entered.wait, 10)
        for _ in range(100):
            await asyncio.sleep(0)
        # Were the loop held up, nothing would come here, and the source would give up.
        source.let_go.set()

    turning = asyncio.create_task(let_go_after_some_turns())
    keeper = CredentialKeeper(source)
    async with keeper.running():
        assert keeper.current().access_key == "AKID1"
    await turning


async def test_current_does_not_wait_for_a_refresh_under_way() -> None:
    time, source = Clock(), Gated()
    keeper = CredentialKeeper(source, time)
    source.let_go.set()
    async with keeper.running():
        respond_when_set = keeper.current()
        source.let_go.clear()
        source.entered.clear()
        time.time += 60
        renewing = asyncio.create_task(keeper.renew(respond_when_set))
        await asyncio.to_thread(source.entered.wait, 10)
        assert keeper.current() == respond_when_set
        assert not renewing.done()
        source.let_go.set()
        assert await renewing
        assert keeper.current() != respond_when_set


# --- After a refusal by AWS


async def test_many_refusals_at_once_make_one_load() -> None:
    time, source = Clock(), Gated()
    keeper = CredentialKeeper(source, time)
    source.let_go.set()
    async with keeper.running():
        rejected = keeper.current()
        source.let_go.clear()
        source.entered.clear()
        time.time += 60
        renewing = [asyncio.create_task(keeper.renew(rejected)) for _ in range(20)]
        await asyncio.to_thread(source.entered.wait, 10)
        renewing += [asyncio.create_task(keeper.renew(rejected)) for _ in range(20)]
        renewing[0].cancel()
        await asyncio.sleep(0)
        source.let_go.set()
        outcomes = await asyncio.gather(*renewing, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError), "one caller left"
    assert outcomes[1:] == [True] * 39
    assert (source.loads, source.most_inside) == (2, 1)


async def test_keys_that_are_refused_again_and_again_are_asked_for_every_few_seconds() -> None:
    time = Clock()
    source = Keys(time)
    keeper = CredentialKeeper(source, time)
    async with keeper.running():
        assert not await keeper.renew(keeper.current()), "they were loaded just now"
        assert source.loads == 1
        for seconds in range(1, 21):
            time.time += 1
            await keeper.renew(keeper.current())
            assert source.loads == 1 + seconds // 5


async def test_a_refusal_of_older_keys_asks_for_nothing() -> None:
    time = Clock()
    source = Keys(time)
    keeper = CredentialKeeper(source, time)
    async with keeper.running():
        time.time += 60
        assert await keeper.renew(OLD)
        assert source.loads == 1


async def test_the_same_keys_again_are_no_others() -> None:
    time = Clock()
    keeper = CredentialKeeper(lambda: Loaded(OLD, None), time)
    async with keeper.running():
        time.time += 60
        assert not await keeper.renew(OLD)


async def test_a_load_that_fails_gives_no_others() -> None:
    time = Clock()
    source = Keys(time)
    keeper = CredentialKeeper(source, time)
    async with keeper.running():
        respond_when_set = keeper.current()
        time.time += 60
        source.trouble = "Away."
        assert not await keeper.renew(respond_when_set)
        assert keeper.current() == respond_when_set, "AWS may have been wrong: they are all there is"
