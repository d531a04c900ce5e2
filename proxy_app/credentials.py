"""AWS credentials from the standard chain, fresh at all times, without ever blocking the event loop.

botocore finds them (environment, profile, SSO, container, instance role by IMDSv2, assumed role) in a worker thread.
It refreshes what expires fifteen minutes ahead, and from ten minutes ahead on it raises when that fails, although the
old keys still hold. So the refresh runs here, in the background, and the keys in hand are used until they expire.
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
from .background import in_background
from .sigv4 import Credentials

log = logging.getLogger(__name__)

_REFRESH_AHEAD = 15 * 60.0
_LOOK_AGAIN = 60.0  # keys without an expiry may still change: a profile edited, a variable file mounted anew
_RETRY_FROM, _RETRY_TO = 1.0, 30.0
_FORCED_AT_MOST_EVERY = 5.0


class CredentialsError(Exception):
    """The chain gave no usable credentials; the message says what it was asked for and what went wrong."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Credentials with their end, in seconds since the epoch; None if they do not expire."""

    credentials: Credentials
    expires: float | None


class Source(Protocol):
    """Where credentials come from. Called in a worker thread, it may block; raises CredentialsError."""

    def __call__(self) -> Loaded: ...


def aws_chain(role_arn: str = "", region: str = "") -> Source:
    """The standard AWS chain, each call asking it anew; with ``role_arn``, that role assumed by what it finds."""

    def load() -> Loaded:
        session = botocore.session.Session()
        if region:
            session.set_config_variable("region", region)
        try:
            found = session.get_credentials()
            if found is None:
                raise CredentialsError(
                    "No AWS credentials: the standard chain (environment, profile, SSO, container, "
                    "instance role) has none. `aws sts get-caller-identity` tells what it finds."
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
            # No public name for it: botocore keeps the end of refreshable credentials to itself.
            end = cast("datetime | None", getattr(found, "_expiry_time", None))
        except CredentialsError:
            raise
        except Exception as error:
            # botocore raises classes of many families here, and their text holds no key.
            raise CredentialsError(f"AWS credentials could not be loaded: {error}") from error
        if not (frozen.access_key and frozen.secret_key):
            raise CredentialsError("AWS credentials are incomplete: an access key or its secret is empty.")
        return Loaded(
            Credentials(frozen.access_key, frozen.secret_key, frozen.token or ""),
            end.timestamp() if end else None,
        )

    return load


class CredentialKeeper:
    """Keeps credentials fresh in the background. ``current`` never waits and never blocks."""

    def __init__(self, source: Source, clock: Callable[[], float] = time.time) -> None:
        self._source = source
        self._clock = clock
        self._loaded: Loaded | None = None
        self._failure = "AWS credentials have not been loaded yet."
        self._failures = 0
        self._loading: asyncio.Task[bool] | None = None
        self._last_attempt = 0.0

    @property
    def expires(self) -> float | None:
        """Seconds since the epoch; None if unknown or never."""
        return self._loaded.expires if self._loaded else None

    @property
    def failures(self) -> int:
        """How many refreshes in a row have failed."""
        return self._failures

    def current(self) -> Credentials:
        """The credentials to sign with now; Refusal (503) when there are none that still hold."""
        loaded = self._loaded
        if loaded is None or (loaded.expires is not None and loaded.expires <= self._clock()):
            raise errors.unavailable(f"The proxy cannot sign: {self._failure}", reason="no-credentials")
        return loaded.credentials

    async def renew(self, rejected: Credentials) -> bool:
        """After the upstream rejected these: load anew, at most every few seconds. True if there are others now."""
        if self._loaded is not None and self._loaded.credentials != rejected:
            return True
        if self._loading is None and self._clock() - self._last_attempt < _FORCED_AT_MOST_EVERY:
            return False
        await self._load()
        return self._loaded is not None and self._loaded.credentials != rejected

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Load now, then keep fresh until the end of the block. A first failure is no error: the proxy is not ready."""
        await self._load()
        async with in_background(self._keep_fresh()):
            yield

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(self._pause())
            await self._load()

    def _pause(self) -> float:
        if self._failures:
            ceiling = min(_RETRY_TO, _RETRY_FROM * 2 ** min(self._failures - 1, 10))
            return random.uniform(ceiling / 2, ceiling)
        if self._loaded is None or self._loaded.expires is None:
            return _LOOK_AGAIN
        # Keys that live for less than the lead are looked at again when half of what is left has passed.
        left = self._loaded.expires - self._clock()
        return max(1.0, left - _REFRESH_AHEAD if left > _REFRESH_AHEAD else left / 2)

    async def _load(self) -> bool:
        """One load at a time; whoever comes meanwhile waits for that one."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load_once())
            self._loading.add_done_callback(lambda _: setattr(self, "_loading", None))
        return await asyncio.shield(self._loading)

    async def _load_once(self) -> bool:
        self._last_attempt = self._clock()
        try:
            loaded = await asyncio.to_thread(self._source)
        except Exception as error:  # noqa: BLE001 - were the refreshing to end, the proxy would in an hour
            self._failures += 1
            self._failure = str(error)
            log.warning("%s (attempt %d)", error, self._failures, extra={"event": "credentials"})
            return False
        if self._failures:
            log.info("AWS credentials are back", extra={"event": "credentials"})
        self._failures = 0
        self._failure = "AWS credentials have expired and no new ones came."
        self._loaded = loaded
        return True
