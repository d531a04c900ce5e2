"""Token buckets: a rate per owner with a burst, in the form of the generic cell rate algorithm (ITU-T I.371).

One number for each owner: the time at which its bucket is full again.
"""

import time
from collections.abc import Callable, Hashable

# In seconds; the longest time for which a client is asked to wait.
_LONGEST_RETRY = 60.0
# In seconds, for sums of floating-point numbers.
_TOLERANCE = 1e-6
# Owners are forgotten when there are more of them than this, and their buckets are full.
_PRUNE = 1024


class RateExceededError(Exception):
    """A request above the rate; ``retry_after`` is the number of seconds after which it would be within it."""

    def __init__(self, retry_after: float) -> None:
        super().__init__()
        self.retry_after = retry_after


class TokenBuckets:
    """A bucket of ``burst`` tokens for each owner, filled at ``rate`` tokens per second."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate
        self._burst_seconds = (burst - 1) / rate + _TOLERANCE
        self._clock = clock
        self._full_at: dict[Hashable, float] = {}
        # Until when the rate is promised to requests that were told to come back.
        self._promised: dict[Hashable, float] = {}
        self._prune_above = _PRUNE

    def try_take(self, owner: Hashable) -> bool:
        """Take a token if there is one now; returns whether there was."""
        now = self._clock()
        full_at = max(self._full_at.get(owner, 0.0), now)
        if full_at - now > self._burst_seconds:
            return False
        self._full_at[owner] = full_at + self._interval
        if len(self._full_at) > self._prune_above:
            self._prune(now)
        return True

    def take(self, owner: Hashable, longest_wait: float) -> float:
        """Take a token; returns the seconds until it is there. RateExceededError if they exceed ``longest_wait``.

        Requests that are refused are told to come back one after the other, at the rate.
        """
        if self.try_take(owner):
            return 0.0
        now, full_at = self._clock(), self._full_at[owner]
        wait = full_at - now - self._burst_seconds
        if wait > longest_wait:
            promised = max(self._promised.get(owner, 0.0) + self._interval, full_at - self._burst_seconds)
            self._promised[owner] = promised = min(promised, now + _LONGEST_RETRY)
            raise RateExceededError(promised - now)
        self._full_at[owner] = full_at + self._interval
        return max(wait, 0.0)

    def put_back(self, owner: Hashable) -> None:
        """Give a token back that was taken and not used."""
        if owner in self._full_at:
            self._full_at[owner] -= self._interval

    def _prune(self, now: float) -> None:
        for times in (self._full_at, self._promised):
            for owner in [owner for owner, at in times.items() if at <= now]:
                del times[owner]
        self._prune_above = max(_PRUNE, 2 * len(self._full_at))
