"""TokenBuckets: the rate and the burst hold for any arrivals, and refused requests come back at the rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.limits.token_bucket import RateExceededError, TokenBuckets


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.sampled_from("ab"), st.booleans()), max_size=60),
    st.integers(1, 50),
    st.integers(1, 20),
    st.floats(0, 1),
)
def test_no_interval_has_more_requests_than_rate_and_burst_allow(
    arrivals: list[tuple[float, str, bool]], rate: int, burst: int, longest_wait: float
) -> None:
    clock = Clock()
    buckets = TokenBuckets(rate, burst, clock)
    starts: dict[str, list[float]] = {"a": [], "b": []}
    for pause, owner, cancelled in arrivals:
        clock.now += pause
        try:
            wait = buckets.take(owner, longest_wait)
        except RateExceededError:
            continue
        assert 0 <= wait <= longest_wait
        if cancelled:
            buckets.put_back(owner)
        else:
            starts[owner].append(clock.now + wait)
    for times in starts.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                count, seconds = last - first + 1, times[last] - times[first]
                # A request that took the place of a cancelled one may start together with its successor.
                if not any(cancelled for _, _, cancelled in arrivals):
                    assert count <= burst + rate * seconds + 1e-3


def test_refused_requests_are_told_to_come_back_one_after_the_other() -> None:
    clock = Clock()
    buckets = TokenBuckets(10, 5, clock)
    for _ in range(5):
        assert buckets.take("a", 0) == 0
    told: list[float] = []
    for _ in range(20):
        with pytest.raises(RateExceededError) as refused:
            buckets.take("a", 0)
        told.append(refused.value.retry_after)
    assert told == pytest.approx([0.1 + number / 10 for number in range(20)], abs=1e-3)
    start = clock.now
    # A client that comes back when it was told gets in, as all others do.
    for retry_after in told:
        clock.now = start + retry_after
        assert buckets.take("a", 0) == 0
    assert buckets.take("b", 0) == 0


def test_clients_are_never_told_to_wait_longer_than_a_minute() -> None:
    buckets = TokenBuckets(1, 1, Clock())
    buckets.take("a", 0)
    for _ in range(1000):
        with pytest.raises(RateExceededError) as refused:
            buckets.take("a", 0)
        assert refused.value.retry_after <= 60


def test_owners_with_full_buckets_are_forgotten() -> None:
    clock = Clock()
    buckets = TokenBuckets(100, 10, clock)
    for number in range(20_000):
        clock.now += 0.01
        buckets.take(number, 0)
    assert len(buckets._full_at) <= 1100  # pyright: ignore[reportPrivateUsage]
