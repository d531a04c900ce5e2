"""AWS credentials from the standard chain, refreshed in the background without blocking the event loop.

botocore finds them (environment, profile, SSO, container, instance role by IMDSv2, assumed role) in a worker thread.
It refreshes them from fifteen minutes before they expire, and from ten minutes before on it raises an error when that
fails, although the old keys are still valid. Therefore the refresh runs here, and keys are used until they expire.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast

import botocore.session
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

from . import errors
from .background import background_task
from .metrics import Metrics
from .sigv4 import Credentials

log = logging.getLogger(__name__)

_REFRESH_AHEAD = 15 * 60.0
# Keys without an expiry may still change: an edited profile, a file that was mounted again.
_POLL_INTERVAL = 60.0
_RETRY_FROM, _RETRY_TO = 1.0, 30.0
_MIN_FORCED_INTERVAL = 5.0


class CredentialsError(Exception):
    """The chain has no usable credentials; the message names what was tried and what failed."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Credentials and their expiry in seconds since the epoch; None if they do not expire."""

    credentials: Credentials
    expires: float | None


class Source(Protocol):
    """Loads credentials. It runs in a worker thread, so it may block. Raises CredentialsError."""

    def __call__(self) -> Loaded:
        """Load the credentials now."""
        ...


def aws_chain(role_arn: str = "", region: str = "") -> Source:
    """The standard AWS credential chain, searched at each load.

    ``role_arn`` is a role to assume with the credentials found, ``region`` the region of STS; empty: none, and the
    configured region.
    """

    def load() -> Loaded:
        """Search the chain once. Raises CredentialsError."""
        session = botocore.session.Session()
        if region:
            session.set_config_variable("region", region)
        try:
            found = session.get_credentials()
            if found is None:
                raise CredentialsError(
                    "No AWS credentials: the standard chain (environment, profile, SSO, container, "
                    "instance role) is empty. `aws sts get-caller-identity` shows what it finds."
                )
            if role_arn:
                fetcher = AssumeRoleCredentialFetcher(
                    client_creator=cast("Any", session.create_client),
                    source_credentials=found,
                    role_arn=role_arn,
                    extra_args={"RoleSessionName": "mlflow-proxy"},
                )
                found = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
            frozen = found.get_frozen_credentials()
            # botocore has no public name for the expiry of refreshable credentials.
            end = cast("datetime | None", getattr(found, "_expiry_time", None))
        except CredentialsError:
            raise
        except Exception as error:
            # botocore raises unrelated classes here; their text holds no key.
            raise CredentialsError(f"AWS credentials could not be loaded: {error}") from error
        if not (frozen.access_key and frozen.secret_key):
            raise CredentialsError("AWS credentials are incomplete: an access key or its secret is empty.")
        return Loaded(
            Credentials(frozen.access_key, frozen.secret_key, frozen.token or ""),
            end.timestamp() if end else None,
        )

    return load


class CredentialKeeper:
    """Refreshes credentials in the background; ``current`` returns at once."""

    def __init__(self, source: Source, clock: Callable[[], float] = time.time) -> None:
        self._source = source
        self._clock = clock
        self._loaded: Loaded | None = None
        self._failure = "AWS credentials have not been loaded yet."
        self._failures = 0
        self._loading: asyncio.Task[bool] | None = None
        self._last_attempt = 0.0

    def add_metrics(self, metrics: Metrics) -> None:
        """Add the gauges of the credentials' expiry and of failed refreshes."""
        metrics.gauge(
            "mlflow_proxy_aws_credentials_expiry_timestamp_seconds",
            "When the AWS credentials expire, in seconds since the epoch; absent if they do not expire.",
            lambda: self.expires,
        )
        metrics.gauge(
            "mlflow_proxy_aws_credentials_refresh_failures",
            "Failed refreshes of the AWS credentials in a row.",
            lambda: self.failures,
        )

    @property
    def expires(self) -> float | None:
        """Seconds since the epoch; None if the credentials do not expire or are not loaded yet."""
        return self._loaded.expires if self._loaded else None

    @property
    def failures(self) -> int:
        """The number of failed refreshes in a row."""
        return self._failures

    def current(self) -> Credentials:
        """The credentials to sign with now. ApiError 503 if there are none, or they have expired."""
        loaded = self._loaded
        if loaded is None or (loaded.expires is not None and loaded.expires <= self._clock()):
            raise errors.unavailable(
                f"The proxy cannot sign requests: {self._failure}", reason="aws-credentials-unavailable"
            )
        return loaded.credentials

    async def renew(self, rejected: Credentials) -> bool:
        """Reload after the upstream rejected the credentials ``rejected``, at most every five seconds.

        Returns whether there are other credentials now.
        """
        if self._loaded is not None and self._loaded.credentials != rejected:
            return True
        if self._loading is None and self._clock() - self._last_attempt < _MIN_FORCED_INTERVAL:
            return False
        await self._load()
        return self._loaded is not None and self._loaded.credentials != rejected

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Load now, and refresh until the end of the block. If the first load fails, the proxy is not ready."""
        await self._load()
        async with background_task(self._refresh()):
            yield

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(self._pause())
            await self._load()

    def _pause(self) -> float:
        if self._failures:
            ceiling = min(_RETRY_TO, _RETRY_FROM * 2 ** min(self._failures - 1, 10))
            return random.uniform(ceiling / 2, ceiling)
        if self._loaded is None or self._loaded.expires is None:
            return _POLL_INTERVAL
        # Keys with a shorter lifetime than the lead time are refreshed when half of what is left has passed.
        left = self._loaded.expires - self._clock()
        return max(1.0, left - _REFRESH_AHEAD if left > _REFRESH_AHEAD else left / 2)

    async def _load(self) -> bool:
        """Load, one load at a time: concurrent calls await the same one. Returns whether it succeeded."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load_once())
            self._loading.add_done_callback(lambda _: setattr(self, "_loading", None))
        return await asyncio.shield(self._loading)

    async def _load_once(self) -> bool:
        self._last_attempt = self._clock()
        try:
            loaded = await asyncio.to_thread(self._source)
        except Exception as error:  # noqa: BLE001 - if this task ended, the keys would expire within hours
            self._failures += 1
            self._failure = str(error)
            log.warning("%s (attempt %d)", error, self._failures, extra={"event": "credentials"})
            return False
        if self._failures:
            log.info("AWS credentials are available again", extra={"event": "credentials"})
        self._failures = 0
        self._failure = "AWS credentials have expired and could not be refreshed."
        self._loaded = loaded
        return True
