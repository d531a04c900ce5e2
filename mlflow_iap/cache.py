"""Caches one token and renews it before it expires, for threads and forked processes."""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable

from .errors import TokenError
from .jwt import Token

log = logging.getLogger("mlflow_iap")

# A token is renewed this long before it expires; a failed renewal is retried at this interval.
RENEWAL_MARGIN_SECONDS = 300.0
RENEWAL_INTERVAL_SECONDS = 30.0
# A token that expires sooner counts as expired: the request needs time to reach IAP.
_MIN_VALIDITY_SECONDS = 10.0
# Without a valid token, the delays between retries after a transient failure.
RETRY_DELAYS_SECONDS = (1.0, 2.0, 4.0, 8.0)


class TokenCache:
    """Thread-safe cache of one token. `fetch` creates a new token; it is never called concurrently.

    Times are seconds since 1970, from `now`.
    """

    def __init__(
        self,
        fetch: Callable[[], Token],
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._fetch = fetch
        self._now = now
        self._sleep = sleep
        self._token: Token | None = None
        self._renew_at = 0.0
        self._failures = 0
        self._last_error = TokenError("")
        self.lock = threading.Lock()
        _caches.add(self)

    def get(self) -> Token:
        """The current token, fetched or renewed if necessary. Raises TokenError if there is no valid token."""
        token, now = self._token, self._now()
        if token is None or now >= token.expires - _MIN_VALIDITY_SECONDS:
            return self._wait_for_token()
        return token if now < self._renew_at else self._renew_early(token)

    def _renew_early(self, token: Token) -> Token:
        """A new token; the old one, without waiting, if another thread is renewing it or the renewal fails."""
        lock = self.lock
        if not lock.acquire(blocking=False):
            return token
        try:
            self._renew_at = self._now() + RENEWAL_INTERVAL_SECONDS
            return self._renew()
        except TokenError as error:
            log.warning(
                "Renewing the IAP token failed; the current one is valid until %s. %s", format_expiry(token), error
            )
            return token
        finally:
            lock.release()

    def _wait_for_token(self) -> Token:
        failures = self._failures
        with self.lock:
            token = self._token
            if token and self._now() < token.expires - _MIN_VALIDITY_SECONDS:
                return token
            # Threads that waited for an attempt that failed share its error instead of retrying one after the other.
            if self._failures != failures:
                known = self._last_error
                raise TokenError(str(known), transient=known.transient, time_related=known.time_related) from known
            try:
                return self._renew_with_retries()
            except TokenError as error:
                self._failures += 1
                self._last_error = error
                raise

    def _renew_with_retries(self) -> Token:
        for delay in RETRY_DELAYS_SECONDS:
            try:
                return self._renew()
            except TokenError as error:
                if not error.transient:
                    raise
                log.warning("Fetching an IAP token failed; retrying in %.0f s. %s", delay, error)
                self._sleep(delay)
        return self._renew()

    def _renew(self) -> Token:
        token, now = self._fetch(), self._now()
        if token.expires - _MIN_VALIDITY_SECONDS <= now:
            raise TokenError(
                f"The IAP token expired at {format_expiry(token)}; a token is valid for one hour.", time_related=True
            )
        self._token = token
        # A source with a cache of its own may return the same token again shortly before it expires.
        self._renew_at = max(token.expires - RENEWAL_MARGIN_SECONDS, now + RENEWAL_INTERVAL_SECONDS)
        return token


def format_expiry(token: Token) -> str:
    """The token's expiry time in UTC, for messages."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(token.expires))


# A fork copies locks in their current state: one held by another thread would never be released in the child.
_caches: "weakref.WeakSet[TokenCache]" = weakref.WeakSet()


def _replace_locks() -> None:
    for cache in _caches:
        cache.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_locks)
