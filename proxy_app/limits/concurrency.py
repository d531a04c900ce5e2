"""Adaptive concurrency: how many requests an upstream gets at once follows from its throttling.

Additive increase, multiplicative decrease, as in TCP. AWS throttles by token buckets: a throttled request keeps its
place for a pause, in which they fill, so that even at a concurrency of one the rate falls below the throttled one.
"""

import asyncio
import math
import random
import time
from collections.abc import Hashable

from .. import errors
from ..metrics import Metrics
from .fair_pool import FairPool

# In seconds. Growth in this time, if the places were not sufficient: by a twentieth, and at least by one.
_GROWTH_INTERVAL = 1.0
_GROWTH = 20
_PAUSE = 1.0
_LONGEST_PAUSE = 5.0
_LONGEST_RETRY = 60


class AdaptiveConcurrency:
    """Places for requests to one upstream, ``most`` at first; owners that wait for them get them in turn.

    ``queue_seconds`` is the longest wait of a request, all its attempts together.
    """

    def __init__(self, most: int, queue_seconds: float) -> None:
        self.pool = FairPool(most, most)
        self.queue_seconds = queue_seconds
        self._most = most
        self._shrunk_at = self._grown_at = -math.inf

    def add_metrics(self, metrics: Metrics) -> None:
        """Add gauges."""
        pool = self.pool
        metrics.gauge("mlflow_proxy_upstream_concurrency", "Requests to SageMaker.", lambda: pool.used)
        metrics.gauge(
            "mlflow_proxy_upstream_concurrency_limit", "Their limit, by its throttling.", lambda: pool.capacity
        )

    async def acquire(self, owner: Hashable, within: float) -> None:
        """Take a place. ApiError 429 if there is none ``within`` seconds. A cancelled call takes nothing."""
        if self.pool.try_acquire(owner):
            return
        try:
            async with asyncio.timeout(within):
                await self.pool.acquire(owner)
        except TimeoutError:
            seconds = max(self.pool.waited(owner), self.queue_seconds, 1) * random.uniform(0.75, 1.25)
            raise errors.too_many_requests(
                "SageMaker throttles the proxy.",
                reason="aws-throttled",
                retry_after=min(math.ceil(seconds), _LONGEST_RETRY),
            ) from None

    def succeeded(self, owner: Hashable) -> None:
        """Give the place of a request back that was not throttled; grow if others would have used more places."""
        pool = self.pool
        if pool.capacity < self._most and pool.free <= 0:
            now = time.monotonic()
            if now - self._grown_at >= _GROWTH_INTERVAL:
                self._grown_at = now
                pool.capacity = min(self._most, pool.capacity + max(1, pool.capacity // _GROWTH))
        pool.release(owner)

    def throttled(self, owner: Hashable, sent_at: float, retry_after: float | None) -> float:
        """Shrink, and give the place of a throttled request back after a pause; returns the pause in seconds.

        ``sent_at`` is the time (``time.monotonic``) at which the request was sent: those that were on their way when
        the pool shrank tell nothing new. ``retry_after`` is what the upstream asks for, in seconds.
        """
        pool, now = self.pool, time.monotonic()
        if sent_at > self._shrunk_at:
            self._shrunk_at = self._grown_at = now
            pool.capacity = max(1, min(pool.capacity, pool.used) // 2)
        pause = min(_PAUSE if retry_after is None else max(retry_after, _PAUSE), _LONGEST_PAUSE)
        asyncio.get_running_loop().call_later(pause, pool.release, owner)
        return pause
