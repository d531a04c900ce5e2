"""The public keys of whoever signs for callers, by their ids, from the signer's own host.

A host has its keys on pages: one for each, or one for all. A page is fetched when a signature first names a key that
should be on it, once for all who wait, and kept. Ids come from callers of whom nothing is known yet, so those that do
not exist are remembered for a while, and there is a limit to how often the host is asked at all.
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
from ..background import in_background
from ..trust import trusting

log = logging.getLogger(__name__)

_KEPT = 16
_UNKNOWN_KEPT, _UNKNOWN_FOR = 256, 30.0
# So many fetches at once, and one more every so many seconds.
_FETCHES, _EVERY = 10, 5.0
_TIMEOUT = 5.0
_LARGEST = 64 * 1024
# For how long a page is taken to be what its host would answer: what it says itself, within these bounds.
_SHORTEST, _USUAL, _LONGEST = 300, 3600, 3600
# How often it is seen to that a set is fresh: soon enough for a host that answers again.
_LOOK_EVERY = 5.0
_MAX_AGE = re.compile(r"\bmax-age=(\d{1,9})\b", re.ASCII | re.IGNORECASE)

_Any = TypeVar("_Any")


class _NoAnswerError(Exception):
    """The host gave no key, and did not say that there is none."""


class _Page(NamedTuple):
    keys: Mapping[str, EllipticCurvePublicKey]
    fresh_until: float


class PublicKeys(ABC):
    """Keys for ES256 below a URL. Raises SettingsError."""

    # By these statuses the host says that there is no such page, and so no such key.
    _no_such_page: frozenset[int] = frozenset()

    def __init__(self, url: str, ca_bundle: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._trust = trusting(ca_bundle)
        self._clock = clock
        self._pages: dict[str, _Page] = {}
        self._unknown_until: dict[str, float] = {}
        self._fetches: dict[str, asyncio.Task[bool]] = {}
        self._fetches_left, self._counted_at = float(_FETCHES), clock()
        self._problem = ""

    @abstractmethod
    def _where(self, key_id: str) -> str:
        """The page of this key: what follows the URL."""

    @abstractmethod
    def _keys_in(self, where: str, content: bytes) -> dict[str, EllipticCurvePublicKey]:
        """What stands on a page. Raises _NoAnswerError."""

    async def find(self, key_id: str) -> EllipticCurvePublicKey | None:
        """None if there is no such key; Refusal (503) if nobody can tell now. The id must be fit for a path."""
        where = self._where(key_id)
        if found := self._known(where, key_id):
            _put(self._pages, where, self._pages[where], _KEPT)  # what is in use stays
            return found
        if self._clock() < self._unknown_until.get(key_id, 0.0):
            return None
        if not await self._fetched(where):
            raise no_keys()
        found = self._known(where, key_id)
        if found is None:
            _put(self._unknown_until, key_id, self._clock() + _UNKNOWN_FOR, _UNKNOWN_KEPT)
        return found

    def _known(self, where: str, key_id: str) -> EllipticCurvePublicKey | None:
        page = self._pages.get(where)
        return page.keys.get(key_id) if page else None

    async def _fetched(self, where: str) -> bool:
        fetch = self._fetches.get(where)
        if fetch is None:
            if not self._may_fetch():
                return False
            fetch = self._fetches[where] = asyncio.create_task(self._fetch(where))
        # Whoever waits may leave, and the others still want the page.
        return await asyncio.shield(fetch)

    def _may_fetch(self) -> bool:
        now = self._clock()
        self._fetches_left = min(_FETCHES, self._fetches_left + (now - self._counted_at) / _EVERY)
        self._counted_at = now
        if self._fetches_left < 1:
            return False
        self._fetches_left -= 1
        return True

    async def _fetch(self, where: str) -> bool:
        """Whether the host has told, the page or that there is none."""
        problem = ""
        try:
            if page := await self._ask(where):
                _put(self._pages, where, page, _KEPT)
        except Exception as error:  # noqa: BLE001 - whatever it is, who has a known key is let in, and others wait
            problem = str(error) or type(error).__name__
        finally:
            del self._fetches[where]
        if problem and problem != self._problem:  # once, not at every fetch
            log.error("The keys at %s cannot be had: %s.", self._url, problem, extra={"event": "keys"})
        elif self._problem and not problem:
            log.info("The keys at %s can be had again.", self._url, extra={"event": "keys"})
        self._problem = problem
        return not problem

    async def _ask(self, where: str) -> _Page | None:
        # A client for each: they are rare, and a connection that is kept would be gone by the next.
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT), auto_decompress=False) as session,
            session.get(
                URL(self._url + where, encoded=True),
                headers={"Accept-Encoding": "identity"},
                ssl=self._trust,
                allow_redirects=False,
            ) as answer,
        ):
            if answer.status in self._no_such_page:
                log.warning("No key at %s%s: %d.", self._url, where, answer.status, extra={"event": "keys"})
                return None
            if answer.status != 200:
                raise _NoAnswerError(f"it answers {answer.status}")
            content = b""
            async for piece in answer.content.iter_any():
                content += piece
                if len(content) > _LARGEST:
                    raise _NoAnswerError(f"its answer is longer than {_LARGEST} bytes")
            fresh_until = self._clock() + _fresh_for(answer.headers)
        return _Page(self._keys_in(where, content), fresh_until)


class KeyFiles(PublicKeys):
    """A PEM file for each key. An id never gets another key, so what is known stays."""

    # What AWS's host answers for a key that it does not have is not documented; S3 says one or the other.
    _no_such_page = frozenset({403, 404})

    def _where(self, key_id: str) -> str:
        return f"/{key_id}"

    def _keys_in(self, where: str, content: bytes) -> dict[str, EllipticCurvePublicKey]:
        try:
            key = load_pem_public_key(content)
        except Exception as error:  # many classes
            raise _NoAnswerError("its answer is no key in PEM form") from error
        if not (isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)):
            raise _NoAnswerError("its key is not on the curve P-256")
        return {where.removeprefix("/"): key}


class KeySet(PublicKeys):
    """All keys in one JWK set (RFC 7517), which changes: a key that is no longer in it is none any more."""

    def _where(self, key_id: str) -> str:
        return ""

    def _keys_in(self, where: str, content: bytes) -> dict[str, EllipticCurvePublicKey]:
        try:
            entries = cast("list[dict[str, Any]]", json.loads(content)["keys"])
            keys = {str(entry["kid"]): _of_jwk(entry) for entry in entries if _is_for_es256(entry)}
        except Exception as error:  # many classes
            raise _NoAnswerError("its answer is no JWK set") from error
        if not keys:
            raise _NoAnswerError("its answer has no key for ES256")
        return keys

    @property
    def ready(self) -> bool:
        """Whether there are keys at all."""
        return bool(self._pages)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Fetch the set now, and again when it is no longer fresh; where that fails, the keys read before stay."""
        await self._refresh()
        async with in_background(self._keep_fresh()):
            yield

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            await self._refresh()

    async def _refresh(self) -> None:
        where = self._where("")
        page = self._pages.get(where)
        if page is None or self._clock() >= page.fresh_until:
            await self._fetched(where)


def no_keys() -> errors.Refusal:
    return errors.unavailable(
        "Whether you are signed in cannot be checked now: the keys for it cannot be had. Try again shortly.",
        reason="no-keys",
    )


# What the fields of such a key say, where they are there (RFC 7517, RFC 7518 3.4 and 6.2).
_FOR_ES256 = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig"}


def _is_for_es256(entry: Mapping[str, Any]) -> bool:
    return all(entry.get(field, value) == value for field, value in _FOR_ES256.items())


def _of_jwk(entry: Mapping[str, Any]) -> EllipticCurvePublicKey:
    return cast(
        "EllipticCurvePublicKey", ECAlgorithm.from_jwk({field: entry[field] for field in ("kty", "crv", "x", "y")})
    )


def _fresh_for(headers: Mapping[str, str]) -> float:
    """Seconds, as Cache-Control and Age tell them (RFC 9111, 4.2)."""
    told = _MAX_AGE.search(headers.get("Cache-Control", ""))
    age = headers.get("Age", "")
    seconds = int(told[1]) - (int(age) if age.isdecimal() and len(age) < 10 else 0) if told else _USUAL
    return min(max(seconds, _SHORTEST), _LONGEST)


def _put(kept: dict[str, _Any], name: str, value: _Any, limit: int) -> None:
    """As the newest; the oldest goes when there are too many."""
    kept.pop(name, None)
    kept[name] = value
    if len(kept) > limit:
        del kept[next(iter(kept))]
