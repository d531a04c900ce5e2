"""`IapAuth` for `requests`: puts the token on requests to the hosts that were named, and on no others."""

import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from requests.auth import AuthBase

from . import sources
from .cache import TokenCache
from .hosts import gets_token, host_of
from .jwt import Token, read
from .settings import Settings

if TYPE_CHECKING:
    from requests import PreparedRequest

log = logging.getLogger("mlflow_iap")


class IapAuth(AuthBase):
    """`requests.get(url, auth=IapAuth())`.

    Settings come from the environment when the first request needs them, and stay. One object is for all threads
    and for processes forked from this one; each keeps one token.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._source: sources.Source | None = None
        self._now = now
        self._cache = TokenCache(self._fetch, now=now, sleep=sleep)
        self._told: set[str] = set()

    @property
    def settings(self) -> Settings:
        """Raises SettingsError; what is wrong can be put right, and is read again."""
        if self._settings is None:
            self._settings = Settings.from_env(os.environ)
        return self._settings

    @property
    def source(self) -> sources.Source:
        """Where tokens come from. Raises SettingsError or TokenError when there is nowhere."""
        if self._source is None:
            self._source = sources.choose(self.settings, os.environ, self._now)
        return self._source

    def token(self) -> Token:
        """The current token, fetched or renewed if need be. Raises SettingsError or TokenError."""
        return self._cache.get()

    def allowed(self, url: str) -> bool:
        """Whether the token may go there; if not, the log says so once for each host. Raises SettingsError."""
        if gets_token(url, self.settings.hosts):
            return True
        host = str(host_of(url) or "")
        if host not in self._told:
            self._told.add(host)
            named = ", ".join(sorted(map(str, self.settings.hosts))) or "none"
            log.warning("%s gets no token for IAP: MLFLOW_IAP_HOSTS names %s.", host or "A request", named)
        return False

    def __call__(self, request: "PreparedRequest") -> "PreparedRequest":
        if self.allowed(request.url or ""):
            taken = "Authorization" in request.headers
            name = self.settings.header or ("Proxy-Authorization" if taken else "Authorization")
            request.headers[name] = f"Bearer {self.token().text}"
        return request

    def _fetch(self) -> Token:
        return read(self.source.fetch())
