"""`IapAuth` for `requests`: adds the token to requests to the configured hosts, and to no others."""

import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from requests.auth import AuthBase

from . import sources, uploads
from .cache import TokenCache
from .hosts import host_of, may_receive_token
from .jwt import Token, parse_token
from .settings import Settings

if TYPE_CHECKING:
    from requests import PreparedRequest

log = logging.getLogger("mlflow_iap")


class IapAuth(AuthBase):
    """`requests.get(url, auth=IapAuth())`.

    Settings are read from the environment once, at the first request. One object can be shared by all threads
    and by processes forked from this one; each process caches one token.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._source: sources.TokenSource | None = None
        self._now = now
        self._cache = TokenCache(self._fetch, now=now, sleep=sleep)
        self._warned_hosts: set[str] = set()

    @property
    def settings(self) -> Settings:
        """The settings. Raises SettingsError; the next access reads the environment again."""
        if self._settings is None:
            self._settings = Settings.from_env(os.environ)
        return self._settings

    @property
    def source(self) -> sources.TokenSource:
        """The source of tokens. Raises SettingsError or TokenError if there is none."""
        if self._source is None:
            self._source = sources.select_source(self.settings, os.environ, self._now)
        return self._source

    def token(self) -> Token:
        """The current token, fetched or renewed if necessary. Raises SettingsError or TokenError."""
        return self._cache.get()

    def __call__(self, request: "PreparedRequest") -> "PreparedRequest":
        """Add the token to a request to a configured host, in Proxy-Authorization if Authorization is in use.

        Raises SettingsError or TokenError, and RequestTooLargeError for a request that the front end would refuse.
        """
        if self._may_send_token(request.url or ""):
            uploads.check_request(request, os.environ, self.settings.max_request_bytes)
            in_use = "Authorization" in request.headers
            name = self.settings.header or ("Proxy-Authorization" if in_use else "Authorization")
            request.headers[name] = f"Bearer {self.token().text}"
        return request

    def _may_send_token(self, url: str) -> bool:
        """Whether the URL's host is configured; logs one warning for each other host. Raises SettingsError."""
        if may_receive_token(url, self.settings.hosts):
            return True
        host = str(host_of(url) or "")
        if host not in self._warned_hosts:
            self._warned_hosts.add(host)
            configured = ", ".join(sorted(map(str, self.settings.hosts))) or "none"
            log.warning("No IAP token is sent to %s: MLFLOW_IAP_HOSTS is %s.", host or "this URL", configured)
        return False

    def _fetch(self) -> Token:
        return parse_token(self.source.fetch())
