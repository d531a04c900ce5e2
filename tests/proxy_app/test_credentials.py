"""The credential keeper: refreshes ahead of expiry, failures of the source, and renewal of rejected credentials."""

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


class ChangingSource:
    """Loads new credentials each time, valid for `lifetime` seconds of `clock`; raises while `error` is set."""

    def __init__(self, clock: Callable[[], float], lifetime: float | None = None) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self.error = ""
        self.times: list[float] = []

    @property
    def loads(self) -> int:
        return len(self.times)

    def __call__(self) -> Loaded:
        self.times.append(self._clock())
        if self.error:
            raise CredentialsError(self.error)
        expires = None if self._lifetime is None else self._clock() + self._lifetime
        return Loaded(Credentials(f"AKID{self.loads}", "the-secret"), expires)


class BlockingSource:
    """A source that blocks until it is released, like a slow endpoint; `concurrent` counts the calls in progress."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.entered = threading.Event()
        self.concurrent = self.max_concurrent = self.loads = 0
        self._lock = threading.Lock()

    def __call__(self) -> Loaded:
        with self._lock:
            self.loads += 1
            self.concurrent += 1
            self.max_concurrent = max(self.max_concurrent, self.concurrent)
        self.entered.set()
        in_time = self.released.wait(10)
        with self._lock:
            self.concurrent -= 1
        if not in_time:
            raise CredentialsError("The test did not release the source.")
        return Loaded(Credentials(f"AKID{self.loads}", "secret"), None)


class Clock:
    """A clock that changes only when a test sets `time`."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


def clock() -> Callable[[], float]:
    """The clock of the running loop, usable in other threads."""
    return asyncio.get_running_loop().time


async def wait_until(condition: Callable[[], bool], within: float) -> None:
    """Wait until the condition holds, for at most `within` seconds of the loop's time."""
    deadline = now() + within
    while not condition():
        assert now() < deadline, f"the condition is not true after {within} s"
        await asyncio.sleep(0)
        await asyncio.sleep(1)


# --- Refresh


def test_credentials_are_refreshed_well_before_they_expire() -> None:
    async def main() -> None:
        source = ChangingSource(clock(), lifetime=1200)
        keeper = CredentialKeeper(source, clock())
        async with keeper.running():
            seen = [keeper.current()]
            end = now() + 5 * 1200
            while source.loads < 4:
                assert now() < end, f"{source.loads} loads in five lifetimes of the credentials"
                await asyncio.sleep(10)
                if keeper.current() != seen[-1]:
                    seen.append(keeper.current())
        assert len(set(seen)) == len(seen) >= 3
        for earlier, later in zip(source.times, source.times[1:], strict=False):
            assert 300 <= later - earlier < 1200

    run_fast(main)


@pytest.mark.parametrize(("lifetime", "interval"), [(None, 60), (100, 50)])
def test_credentials_without_or_with_a_near_expiry_are_reloaded(lifetime: float | None, interval: float) -> None:
    async def main() -> None:
        source = ChangingSource(clock(), lifetime)
        async with CredentialKeeper(source, clock()).running():
            await wait_until(lambda: source.loads >= 3, within=3600)
        for earlier, later in zip(source.times, source.times[1:], strict=False):
            assert later - earlier >= interval - 1

    run_fast(main)


def test_refreshes_end_with_the_block() -> None:
    async def main() -> None:
        source = ChangingSource(clock(), lifetime=100)
        async with CredentialKeeper(source, clock()).running():
            await wait_until(lambda: source.loads >= 2, within=3600)
        loads = source.loads
        await asyncio.sleep(500)
        assert source.loads == loads

    run_fast(main)


# --- Failures


def test_credentials_are_used_until_expiry_when_refreshes_fail(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        source = ChangingSource(clock(), lifetime=960)
        keeper = CredentialKeeper(source, clock())
        async with keeper.running():
            old, end = keeper.current(), keeper.expires
            assert end is not None
            source.error = "The metadata endpoint is not available."
            used_after_failure = False
            while True:
                before = now()
                try:
                    assert keeper.current() == old
                except ApiError as error:
                    assert now() >= end
                    raised = error
                    break
                assert before < end
                used_after_failure |= keeper.failures > 0
                await asyncio.sleep(5)
            assert used_after_failure
            assert (raised.status, raised.error_code) == (503, "TEMPORARILY_UNAVAILABLE")
            assert raised.message == "The proxy cannot sign requests: The metadata endpoint is not available."
            assert "Retry-After" in dict(raised.headers)
            assert keeper.failures > 3

            source.error = ""
            await wait_until(lambda: keeper.failures == 0, within=600)
            assert keeper.current() != old
        # The delay between attempts grows from one second to half a minute, with up to half of it as jitter.
        failed = source.times[1:-1]
        assert failed[1] - failed[0] >= 0.5
        assert failed[-1] - failed[-2] >= 15

    run_fast(main)
    messages = [record.getMessage() for record in caplog.records if record.__dict__.get("event") == "credentials"]
    assert messages[0] == "The metadata endpoint is not available. (attempt 1)"
    assert messages[1] == "The metadata endpoint is not available. (attempt 2)"
    assert messages[-1] == "AWS credentials are available again"
    assert messages.count("AWS credentials are available again") == 1
    assert "the-secret" not in caplog.text


def test_keeper_starts_without_credentials_and_loads_them_later() -> None:
    async def main() -> None:
        source = ChangingSource(clock())
        source.error = "The file does not exist."
        keeper = CredentialKeeper(source, clock())
        async with keeper.running():
            with pytest.raises(ApiError, match="The proxy cannot sign requests: The file does not exist") as raised:
                keeper.current()
            assert (raised.value.status, raised.value.reason) == (503, "aws-credentials-unavailable")
            assert keeper.expires is None
            source.error = ""
            await wait_until(lambda: keeper.failures == 0, within=600)
            assert keeper.current().access_key == f"AKID{source.loads}"

    run_fast(main)


def test_current_raises_before_the_first_load() -> None:
    with pytest.raises(ApiError, match="not been loaded yet"):
        CredentialKeeper(ChangingSource(Clock())).current()


async def test_credentials_expire_exactly_at_their_expiry() -> None:
    time = Clock()
    keeper = CredentialKeeper(ChangingSource(time, lifetime=100), time)
    async with keeper.running():
        assert keeper.expires == time.time + 100
        time.time += 99.999
        assert keeper.current().access_key == "AKID1"
        time.time += 0.001
        with pytest.raises(ApiError, match="have expired and could not be refreshed"):
            keeper.current()


# --- No blocking


async def test_slow_source_does_not_block_the_event_loop() -> None:
    source = BlockingSource()

    async def release_from_the_loop() -> None:
        await asyncio.to_thread(source.entered.wait, 10)
        for _ in range(100):
            await asyncio.sleep(0)
        # If the source blocked the loop, this would not run, and the source would raise an error after 10 s.
        source.released.set()

    releasing = asyncio.create_task(release_from_the_loop())
    keeper = CredentialKeeper(source)
    async with keeper.running():
        assert keeper.current().access_key == "AKID1"
    await releasing


async def test_current_does_not_wait_for_a_refresh_under_way() -> None:
    time, source = Clock(), BlockingSource()
    keeper = CredentialKeeper(source, time)
    source.released.set()
    async with keeper.running():
        loaded = keeper.current()
        source.released.clear()
        source.entered.clear()
        time.time += 60
        renewals = asyncio.create_task(keeper.renew(loaded))
        await asyncio.to_thread(source.entered.wait, 10)
        assert keeper.current() == loaded
        assert not renewals.done()
        source.released.set()
        assert await renewals
        assert keeper.current() != loaded


# --- Rejected by AWS


async def test_concurrent_renewals_load_once() -> None:
    time, source = Clock(), BlockingSource()
    keeper = CredentialKeeper(source, time)
    source.released.set()
    async with keeper.running():
        rejected = keeper.current()
        source.released.clear()
        source.entered.clear()
        time.time += 60
        renewals = [asyncio.create_task(keeper.renew(rejected)) for _ in range(20)]
        await asyncio.to_thread(source.entered.wait, 10)
        renewals += [asyncio.create_task(keeper.renew(rejected)) for _ in range(20)]
        renewals[0].cancel()
        await asyncio.sleep(0)
        source.released.set()
        outcomes = await asyncio.gather(*renewals, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError), "this renewal was cancelled"
    assert outcomes[1:] == [True] * 39
    assert (source.loads, source.max_concurrent) == (2, 1)


async def test_repeated_renewals_load_at_most_every_five_seconds() -> None:
    time = Clock()
    source = ChangingSource(time)
    keeper = CredentialKeeper(source, time)
    async with keeper.running():
        assert not await keeper.renew(keeper.current()), "the credentials were loaded less than five seconds ago"
        assert source.loads == 1
        for seconds in range(1, 21):
            time.time += 1
            await keeper.renew(keeper.current())
            assert source.loads == 1 + seconds // 5


async def test_rejection_of_older_credentials_does_not_load() -> None:
    time = Clock()
    source = ChangingSource(time)
    keeper = CredentialKeeper(source, time)
    async with keeper.running():
        time.time += 60
        assert await keeper.renew(OLD)
        assert source.loads == 1


async def test_renewal_that_loads_the_same_credentials_returns_false() -> None:
    time = Clock()
    keeper = CredentialKeeper(lambda: Loaded(OLD, None), time)
    async with keeper.running():
        time.time += 60
        assert not await keeper.renew(OLD)


async def test_failed_renewal_returns_false_and_leaves_the_credentials() -> None:
    time = Clock()
    source = ChangingSource(time)
    keeper = CredentialKeeper(source, time)
    async with keeper.running():
        loaded = keeper.current()
        time.time += 60
        source.error = "Not available."
        assert not await keeper.renew(loaded)
        assert keeper.current() == loaded, "the rejection may have been temporary"
