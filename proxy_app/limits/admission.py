"""Admission of requests: limits of each principal and in all, with a short queue above them."""

import asyncio
import math
import random
import time
from collections.abc import Hashable

from .. import errors
from ..auth import Principal
from ..context import RequestRecord
from ..metrics import Metrics
from ..settings import Settings
from .fair_pool import FairPool, QueueFullError
from .settings import FairUseSettings
from .token_bucket import RateExceededError, TokenBuckets

RESPONSE_BYTES = 512 * 1024
"""The most that the proxy holds of a response whose client does not read: buffers of TLS (256 KiB), of the upstream's
and of the client's connection. test_unread_responses.py measures it."""
_BURST_SECONDS = 2
# A page of MLflow's UI loads its files and sends its API calls at the same time.
_LEAST_BURST = 60
_LONGEST_RETRY = 60
# Refusals of a principal per second, and at once. Beyond that a client ignores Retry-After; its refusals come later, so
# that it sends less: at most after _LONGEST_DELAY seconds.
_REFUSALS_PER_SECOND = 20
_REFUSALS_AT_ONCE = 100
_LONGEST_DELAY = 2.0


class Admission:
    """Admits authenticated requests; each is released at its end.

    ``pool`` holds a place for each request in flight; its owners are principals. All limits hold for this process.
    """

    def __init__(self, settings: Settings) -> None:
        limits = settings.section(FairUseSettings)
        self._per_principal = limits.principal_max_requests
        self._rate = limits.principal_requests_per_second
        self._queue_seconds = limits.queue_seconds
        self.pool = FairPool(places(settings), self._per_principal, self._per_principal)
        self._buckets = TokenBuckets(self._rate, max(self._rate * _BURST_SECONDS, _LEAST_BURST))
        # As many requests of a principal wait for its rate as for its places.
        self._longest_wait = min(self._queue_seconds, self._per_principal / self._rate)
        self._refusals = TokenBuckets(_REFUSALS_PER_SECOND, _REFUSALS_AT_ONCE)
        # Each one keeps a connection.
        self._most_delayed = settings.max_connections // 2
        self._paced = self._delayed = 0

    def add_metrics(self, metrics: Metrics) -> None:
        """Add gauges. None has a label per principal, whose number has no bound."""
        pool = self.pool
        metrics.gauge(
            "mlflow_proxy_requests_queued",
            "Requests that wait for a limit, or for their refusal.",
            lambda: pool.waiting + self._paced + self._delayed,
        )
        metrics.gauge("mlflow_proxy_principals_in_flight", "Principals with requests in flight.", lambda: pool.owners)
        metrics.gauge(
            "mlflow_proxy_principal_requests_in_flight_max",
            "Requests in flight of the principal that has most.",
            lambda: pool.largest_share,
        )

    def try_admit(self, principal: Principal) -> bool:
        """Take a place if no limit delays or refuses the request; else ``admit`` is called. Nearly every one passes."""
        owner = principal.owner
        if self._buckets.try_take(owner):
            if self.pool.try_acquire(owner):
                return True
            self._buckets.put_back(owner)
        return False

    async def admit(self, record: RequestRecord, principal: Principal) -> None:
        """Take a place for a request, and record how long it waited. ApiError 429.

        A cancelled call takes nothing.
        """
        owner, wait, refusal = principal.owner, 0.0, None
        try:
            wait = self._buckets.take(owner, self._longest_wait)
        except RateExceededError as error:
            refusal = errors.too_many_requests(
                f"{principal.name} sends more than {self._rate} requests per second "
                "(MLFLOW_PROXY_PRINCIPAL_REQUESTS_PER_SECOND).",
                reason="principal-rate",
                retry_after=math.ceil(error.retry_after),
            )
        started = time.perf_counter()
        try:
            refusal = refusal or await self._wait(principal, owner, wait)
            if refusal is not None:
                await self._delay_refusal(owner)
                raise refusal
        finally:
            record.queue_seconds = time.perf_counter() - started

    def release(self, principal: Principal) -> None:
        """Give the place of a finished request back."""
        self.pool.release(principal.owner)

    async def _wait(self, principal: Principal, owner: Hashable, wait: float) -> errors.ApiError | None:
        """Take a place after ``wait`` seconds, or return the refusal."""
        if wait:
            self._paced += 1
            try:
                await asyncio.sleep(wait)
            except asyncio.CancelledError:
                self._buckets.put_back(owner)
                raise
            finally:
                self._paced -= 1
        try:
            async with asyncio.timeout(self._queue_seconds):
                await self.pool.acquire(owner)
        except (QueueFullError, TimeoutError):
            return self._refusal(principal, owner)
        return None

    async def _delay_refusal(self, owner: Hashable) -> None:
        if self._delayed >= self._most_delayed:
            return
        try:
            wait = self._refusals.take(owner, _LONGEST_DELAY)
        except RateExceededError:
            wait = _LONGEST_DELAY
        if wait:
            self._delayed += 1
            try:
                await asyncio.sleep(wait)
            finally:
                self._delayed -= 1

    def _refusal(self, principal: Principal, owner: Hashable) -> errors.ApiError:
        if self.pool.holds_its_share(owner):
            # The longer requests have had to wait, the later they come back: MLflow's clients try eight times.
            return errors.too_many_requests(
                f"{principal.name} has {self._per_principal} requests in flight (MLFLOW_PROXY_PRINCIPAL_MAX_REQUESTS).",
                reason="principal-max-requests",
                retry_after=_spread(self.pool.waited(owner)),
            )
        return errors.too_many_requests(
            "The proxy has reached its limit of requests in flight (MLFLOW_PROXY_MAX_REQUESTS, "
            "MLFLOW_PROXY_RESPONSE_BUDGET_MIB).",
            reason="too-many-requests",
            retry_after=_spread(self._queue_seconds),
        )


def places(settings: Settings) -> int:
    """The number of requests in flight of all principals."""
    return max(1, min(settings.max_requests, settings.response_budget // RESPONSE_BYTES))


def _spread(seconds: float) -> int:
    """Whole seconds around this number, so that clients do not come back at the same moment."""
    return min(math.ceil(max(seconds, 1) * random.uniform(0.75, 1.25)), _LONGEST_RETRY)
