"""One token, kept fresh: for many threads, in forked processes, over days."""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable

from .errors import TokenError
from .jwt import Token

log = logging.getLogger("mlflow_iap")

# A token is replaced this long before its end, and then every so often until that works.
EARLY = 300.0
AGAIN = 30.0
# What is left of a token must be enough for the way to IAP.
_TRAVEL = 10.0
# With no token at hand, pauses between tries when it is Google or the network that fails.
PAUSES = (1.0, 2.0, 4.0, 8.0)


class TokenCache:
    """`get()` is the current token. `fetch` makes a new one and is never called twice at a time.

    Times are seconds since 1970 by `now`.
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
        self._refresh_at = 0.0
        self._failures = 0
        self._failure = TokenError("")
        self.lock = threading.Lock()
        _caches.add(self)

    def get(self) -> Token:
        """Raises TokenError when there is no valid token and none can be had."""
        token, now = self._token, self._now()
        if token is None or now >= token.expires - _TRAVEL:
            return self._fetched()
        return token if now < self._refresh_at else self._refreshed_early(token)

    def _refreshed_early(self, token: Token) -> Token:
        """A new token, or the old one while another thread is at it or it does not work: nobody waits for it."""
        lock = self.lock
        if not lock.acquire(blocking=False):
            return token
        try:
            self._refresh_at = self._now() + AGAIN
            return self._renew()
        except TokenError as error:
            log.warning("The token for IAP could not be renewed; the old one is good until %s. %s", at(token), error)
            return token
        finally:
            lock.release()

    def _fetched(self) -> Token:
        failures = self._failures
        with self.lock:
            token = self._token
            if token and self._now() < token.expires - _TRAVEL:
                return token
            # Whoever waited for a try that failed shares its outcome, rather than trying one after the other.
            if self._failures != failures:
                known = self._failure
                raise TokenError(str(known), transient=known.transient, late=known.late) from known
            try:
                return self._tried()
            except TokenError as error:
                self._failures += 1
                self._failure = error
                raise

    def _tried(self) -> Token:
        for pause in PAUSES:
            try:
                return self._renew()
            except TokenError as error:
                if not error.transient:
                    raise
                log.warning("No token for IAP yet, next try in %.0f s. %s", pause, error)
                self._sleep(pause)
        return self._renew()

    def _renew(self) -> Token:
        token, now = self._fetch(), self._now()
        if token.expires - _TRAVEL <= now:
            raise TokenError(f"The token for IAP has expired at {at(token)}; a token lasts an hour.", late=True)
        self._token = token
        # Something that keeps a token itself may hand out one that is near its end, again and again.
        self._refresh_at = max(token.expires - EARLY, now + AGAIN)
        return token


def at(token: Token) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(token.expires))


# A fork copies locks as they are: one that another thread holds would never be released in the child.
_caches: "weakref.WeakSet[TokenCache]" = weakref.WeakSet()


def _after_fork() -> None:
    for cache in _caches:
        cache.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
