"""The public keys of whoever signs for callers, by their ids, from the signer's own host.

A key is fetched when a signature first names it, once for all who wait for it, and kept: an id never gets another key.
Ids come from callers of whom nothing is known yet, so those that do not exist are remembered for a while, and there is
a limit to how often the host is asked at all.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from yarl import URL

from .. import errors
from ..trust import trusting

log = logging.getLogger(__name__)

_KEPT = 16
_UNKNOWN_KEPT, _UNKNOWN_FOR = 256, 30.0
# So many fetches at once, and one more every so many seconds.
_FETCHES, _EVERY = 10, 5.0
_TIMEOUT = 5.0
_LARGEST = 8 * 1024
# What AWS's host answers for a key that it does not have is not documented; S3 says one or the other.
_NO_SUCH_KEY = frozenset({403, 404})

_Any = TypeVar("_Any")


class _NoAnswerError(Exception):
    """The host gave no key, and did not say that there is none."""


class PublicKeys:
    """Keys for ES256 as PEM files below a URL. Raises SettingsError."""

    def __init__(self, url: str, ca_bundle: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._trust = trusting(ca_bundle)
        self._clock = clock
        self._keys: dict[str, EllipticCurvePublicKey] = {}
        self._unknown_until: dict[str, float] = {}
        self._fetches: dict[str, asyncio.Task[bool]] = {}
        self._fetches_left, self._counted_at = float(_FETCHES), clock()
        self._problem = ""

    async def find(self, key_id: str) -> EllipticCurvePublicKey | None:
        """None if there is no such key; Refusal (503) if nobody can tell now. The id must be fit for a path."""
        if key_id in self._keys:
            _put(self._keys, key_id, self._keys[key_id], _KEPT)  # what is in use stays
        elif self._clock() >= self._unknown_until.get(key_id, 0.0) and not await self._fetched(key_id):
            raise errors.unavailable(
                "Whether you are signed in cannot be checked now: the keys for it cannot be had. Try again shortly.",
                reason="no-keys",
            )
        return self._keys.get(key_id)

    async def _fetched(self, key_id: str) -> bool:
        fetch = self._fetches.get(key_id)
        if fetch is None:
            if not self._may_fetch():
                return False
            fetch = self._fetches[key_id] = asyncio.create_task(self._fetch(key_id))
        # Whoever waits may leave, and the others still want the key.
        return await asyncio.shield(fetch)

    def _may_fetch(self) -> bool:
        now = self._clock()
        self._fetches_left = min(_FETCHES, self._fetches_left + (now - self._counted_at) / _EVERY)
        self._counted_at = now
        if self._fetches_left < 1:
            return False
        self._fetches_left -= 1
        return True

    async def _fetch(self, key_id: str) -> bool:
        """Whether the host has told, the key or that there is none."""
        problem = ""
        try:
            key = await self._ask(key_id)
            if key is None:
                _put(self._unknown_until, key_id, self._clock() + _UNKNOWN_FOR, _UNKNOWN_KEPT)
            else:
                _put(self._keys, key_id, key, _KEPT)
        except (aiohttp.ClientError, OSError, _NoAnswerError) as error:
            problem = str(error) or type(error).__name__
        finally:
            del self._fetches[key_id]
        if problem and problem != self._problem:  # once, not at every fetch
            log.error("The keys at %s cannot be had: %s.", self._url, problem, extra={"event": "keys"})
        elif self._problem and not problem:
            log.info("The keys at %s can be had again.", self._url, extra={"event": "keys"})
        self._problem = problem
        return not problem

    async def _ask(self, key_id: str) -> EllipticCurvePublicKey | None:
        # A client for each: they are rare, and a connection that is kept would be gone by the next.
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT), auto_decompress=False) as session,
            session.get(URL(f"{self._url}/{key_id}", encoded=True), ssl=self._trust, allow_redirects=False) as answer,
        ):
            if answer.status in _NO_SUCH_KEY:
                log.warning("No key %s at %s: %d.", key_id, self._url, answer.status, extra={"event": "keys"})
                return None
            if answer.status != 200:
                raise _NoAnswerError(f"it answers {answer.status}")
            pem = b""
            async for piece in answer.content.iter_any():
                pem += piece
                if len(pem) > _LARGEST:
                    raise _NoAnswerError(f"its answer is longer than {_LARGEST} bytes")
        return _es256_key(pem)


def _es256_key(pem: bytes) -> EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem)
    except Exception as error:  # many classes
        raise _NoAnswerError("its answer is no key in PEM form") from error
    if not (isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)):
        raise _NoAnswerError("its key is not on the curve P-256")
    return key


def _put(kept: dict[str, _Any], name: str, value: _Any, limit: int) -> None:
    """As the newest; the oldest goes when there are too many."""
    kept.pop(name, None)
    kept[name] = value
    if len(kept) > limit:
        del kept[next(iter(kept))]
