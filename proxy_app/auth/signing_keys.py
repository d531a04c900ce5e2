"""Public keys that verify JWTs, fetched by key ID from the issuer's host.

A host publishes its keys as documents: one for each key (AWS's load balancers), or one for all (a JWK set). A document
is fetched when a token first names one of its keys, once for all waiting requests, and cached. Key IDs come from
clients that are not authenticated yet, so unknown ones are cached for a while, and the number of fetches is limited.

PyJWT's PyJWKClient is not used: it supports JWK sets only, fetches again for each unknown key ID without a limit, and
drops its keys when the host does not respond.
"""

import asyncio
import contextlib
import json
import logging
import re
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm
from yarl import URL

from .. import errors
from ..background import background_task
from ..outage import Outage
from ..tls import create_ssl_context

log = logging.getLogger(__name__)

_MAX_DOCUMENTS = 16
_MAX_UNKNOWN, _UNKNOWN_SECONDS = 256, 30.0
# Fetches allowed at once, and seconds until one more is allowed.
_FETCH_BURST, _FETCH_INTERVAL = 10, 5.0
_TIMEOUT = 5.0
_MAX_BYTES = 64 * 1024
# Bounds and default of the seconds for which a document is fresh, by its Cache-Control.
_MIN_AGE, _DEFAULT_AGE, _MAX_AGE = 300, 3600, 3600
# Seconds between checks whether a JWK set is stale; also the delay until a host that recovers is used.
_REFRESH_INTERVAL = 5.0
_CACHE_CONTROL = re.compile(r"\bmax-age=(\d{1,9})\b", re.ASCII | re.IGNORECASE)

_Any = TypeVar("_Any")


class _FetchError(Exception):
    """The host returned neither the key nor the status of a missing one."""


class _Document(NamedTuple):
    keys: Mapping[str, EllipticCurvePublicKey]
    fresh_until: float


class SigningKeys(ABC):
    """ES256 keys below ``url``; ``clock`` is monotonic, in seconds.

    Raises SettingsError for an unreadable CA bundle.
    """

    # The statuses for a document, and so a key, that does not exist.
    _not_found: frozenset[int] = frozenset()

    def __init__(self, url: str, ca_bundle: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._tls = create_ssl_context(ca_bundle)
        self._clock = clock
        self._documents: dict[str, _Document] = {}
        self._unknown_until: dict[str, float] = {}
        self._fetches: dict[str, asyncio.Task[bool]] = {}
        self._fetches_left, self._counted_at = float(_FETCH_BURST), clock()
        self._outage = Outage(log, "keys", clock)

    @abstractmethod
    def _location(self, key_id: str) -> str:
        """The path of the key's document, which is appended to the URL."""

    @abstractmethod
    def _parse(self, where: str, content: bytes) -> dict[str, EllipticCurvePublicKey]:
        """The keys in a document by key ID. Raises _FetchError."""

    async def find(self, key_id: str) -> EllipticCurvePublicKey | None:
        """The key; None if it does not exist. ``key_id`` must be valid in a URL's path.

        ApiError 503 if the host does not respond, or too many fetches were made.
        """
        where = self._location(key_id)
        if found := self._cached(where, key_id):
            _store(self._documents, where, self._documents[where], _MAX_DOCUMENTS)  # keep what is in use
            return found
        if self._clock() < self._unknown_until.get(key_id, 0.0):
            return None
        if not await self._fetch_once(where):
            raise keys_unavailable()
        found = self._cached(where, key_id)
        if found is None:
            _store(self._unknown_until, key_id, self._clock() + _UNKNOWN_SECONDS, _MAX_UNKNOWN)
        return found

    def _cached(self, where: str, key_id: str) -> EllipticCurvePublicKey | None:
        page = self._documents.get(where)
        return page.keys.get(key_id) if page else None

    async def _fetch_once(self, where: str) -> bool:
        fetch = self._fetches.get(where)
        if fetch is None:
            if not self._within_limit():
                return False
            fetch = self._fetches[where] = asyncio.create_task(self._fetch(where))
        # A request that is cancelled must not cancel the fetch of the others.
        return await asyncio.shield(fetch)

    def _within_limit(self) -> bool:
        now = self._clock()
        self._fetches_left = min(_FETCH_BURST, self._fetches_left + (now - self._counted_at) / _FETCH_INTERVAL)
        self._counted_at = now
        if self._fetches_left < 1:
            return False
        self._fetches_left -= 1
        return True

    async def _fetch(self, where: str) -> bool:
        """Fetch a document; whether the host responded: with the document, or that there is none."""
        problem = ""
        try:
            if page := await self._get(where):
                _store(self._documents, where, page, _MAX_DOCUMENTS)
        except Exception as error:  # noqa: BLE001 - tokens with a cached key must stay valid after any error
            problem = str(error) or type(error).__name__
        finally:
            del self._fetches[where]
        if problem:
            self._outage.failed(f"The keys at {self._url} cannot be fetched: {problem}.")
        else:
            self._outage.succeeded(f"The keys at {self._url} can be fetched again.")
        return not problem

    async def _get(self, where: str) -> _Document | None:
        # A session for each fetch: fetches are rare, and an idle connection would be closed before the next one.
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT), auto_decompress=False) as session,
            session.get(
                URL(self._url + where, encoded=True),
                headers={"Accept-Encoding": "identity"},
                ssl=self._tls,
                allow_redirects=False,
            ) as answer,
        ):
            if answer.status in self._not_found:
                log.warning("No key at %s%s: %d.", self._url, where, answer.status, extra={"event": "keys"})
                return None
            if answer.status != 200:
                raise _FetchError(f"the host responds with status {answer.status}")
            content = b""
            async for chunk in answer.content.iter_any():
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise _FetchError(f"the response is longer than {_MAX_BYTES} bytes")
            fresh_until = self._clock() + _fresh_for(answer.headers)
        return _Document(self._parse(where, content), fresh_until)


class PemKeys(SigningKeys):
    """One PEM file for each key. AWS does not reuse key IDs, so cached keys do not expire."""

    # AWS does not document the status for a key that does not exist; S3 uses one or the other.
    _not_found = frozenset({403, 404})

    def _location(self, key_id: str) -> str:
        return f"/{key_id}"

    def _parse(self, where: str, content: bytes) -> dict[str, EllipticCurvePublicKey]:
        try:
            key = load_pem_public_key(content)
        except Exception as error:  # many classes
            raise _FetchError("the response is not a PEM key") from error
        if not (isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)):
            raise _FetchError("the key is not on the curve P-256")
        return {where.removeprefix("/"): key}


class JwkSet(SigningKeys):
    """All keys in one JWK set (RFC 7517). A key that has been removed from the set is invalid.

    ``max_stale``: for how many seconds a set that cannot be fetched again is used after its time.
    """

    def __init__(
        self,
        url: str,
        ca_bundle: Path | None,
        clock: Callable[[], float] = time.monotonic,
        *,
        max_stale: float = 86400.0,
    ) -> None:
        super().__init__(url, ca_bundle, clock)
        self._max_stale = max_stale

    def _cached(self, where: str, key_id: str) -> EllipticCurvePublicKey | None:
        return super()._cached(where, key_id) if self.ready else None

    def _location(self, key_id: str) -> str:
        return ""

    def _parse(self, where: str, content: bytes) -> dict[str, EllipticCurvePublicKey]:
        try:
            entries = cast("list[dict[str, Any]]", json.loads(content)["keys"])
            keys = {str(entry["kid"]): _key_of_jwk(entry) for entry in entries if _is_es256(entry)}
        except Exception as error:  # many classes
            raise _FetchError("the response is not a JWK set") from error
        if not keys:
            raise _FetchError("the JWK set has no key for ES256")
        return keys

    @property
    def ready(self) -> bool:
        """Whether the set has been fetched, and is not too old."""
        page = self._documents.get(self._location(""))
        return page is not None and self._clock() < page.fresh_until + self._max_stale

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Fetch the set now, and again when it is stale; if that fails, the earlier one is used for ``max_stale``."""
        await self._refresh()
        async with background_task(self._keep_fresh()):
            yield

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_INTERVAL)
            await self._refresh()

    async def _refresh(self) -> None:
        where = self._location("")
        page = self._documents.get(where)
        if page is None or self._clock() >= page.fresh_until:
            await self._fetch_once(where)


def keys_unavailable() -> errors.ApiError:
    """503: the token cannot be verified without its key."""
    return errors.unavailable(
        "Your sign-in cannot be verified now: the signing keys cannot be fetched. Try again shortly.",
        reason="signing-keys-unavailable",
    )


# The fields of an ES256 key, where they are present (RFC 7517, RFC 7518 3.4 and 6.2).
_FOR_ES256 = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig"}


def _is_es256(entry: Mapping[str, Any]) -> bool:
    return all(entry.get(field, value) == value for field, value in _FOR_ES256.items())


def _key_of_jwk(entry: Mapping[str, Any]) -> EllipticCurvePublicKey:
    return cast(
        "EllipticCurvePublicKey", ECAlgorithm.from_jwk({field: entry[field] for field in ("kty", "crv", "x", "y")})
    )


def _fresh_for(headers: Mapping[str, str]) -> float:
    """Seconds until a response is stale, from Cache-Control and Age (RFC 9111, 4.2)."""
    max_age = _CACHE_CONTROL.search(headers.get("Cache-Control", ""))
    age = headers.get("Age", "")
    seconds = int(max_age[1]) - (int(age) if age.isdecimal() and len(age) < 10 else 0) if max_age else _DEFAULT_AGE
    return min(max(seconds, _MIN_AGE), _MAX_AGE)


def _store(entries: dict[str, _Any], name: str, value: _Any, limit: int) -> None:
    """Store an entry as the newest one; above ``limit`` entries, the oldest is dropped."""
    entries.pop(name, None)
    entries[name] = value
    if len(entries) > limit:
        del entries[next(iter(entries))]
