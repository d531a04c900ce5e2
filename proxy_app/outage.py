"""The log of a problem that lasts: when it starts, every minute until it ends, and its end."""

import logging
import time
from collections.abc import Callable

_LOG_INTERVAL = 60.0


class Outage:
    """A repeated attempt that fails for some time; ``failures`` counts the failed attempts in a row.

    Failures are logged at level ERROR with ``event``. They are repeated, since an alarm on their number would otherwise
    end before the problem does. ``clock`` is monotonic, in seconds.
    """

    def __init__(self, log: logging.Logger, event: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._extra = {"event": event}
        self._clock = clock
        self._message = ""
        self._logged_at = 0.0
        self.failures = 0

    def failed(self, message: str) -> None:
        """Count a failed attempt; log it if the message is new, or a minute has passed."""
        now = self._clock()
        if not self.failures or message != self._message or now - self._logged_at >= _LOG_INTERVAL:
            self._log.error("%s", message, extra=self._extra)
            self._message, self._logged_at = message, now
        self.failures += 1

    def succeeded(self, message: str) -> None:
        """Log ``message`` if attempts failed before."""
        if self.failures:
            self._log.info("%s", message, extra=self._extra)
        self.failures = 0
