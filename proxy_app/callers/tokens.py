"""Callers known by a token: made by our command, shown once, kept as hashes only.

A token is ``mlp_<id>_<secret>``: the id finds the entry, and 32 random bytes are the secret, so that a plain SHA-256
keeps it (there is nothing to guess). The entries are a JSON document in a file or in a Secrets Manager secret::

    {"tokens": [{"id": "k3v9x2ab", "name": "ci", "role": "editor", "sha256": "<hex>",
                 "created": "2026-11-22T10:00:00Z", "expires": "2027-02-20T10:00:00Z"}]}
"""

import asyncio
import base64
import binascii
import contextlib
import hmac
import json
import logging
import re
import secrets
import string
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, cast

from aiohttp import web

from .. import errors
from ..background import in_background
from . import Caller, Role
from .token_store import TokenStore

log = logging.getLogger(__name__)

_TOKEN = re.compile(r"mlp_([a-z0-9]{8})_[A-Za-z0-9_-]{43}")
_ID = re.compile(r"[a-z0-9]{8}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_ID_LETTERS = string.ascii_lowercase + string.digits
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class TokenError(ValueError):
    """Tokens that cannot be: the message says which and why."""


@dataclass(frozen=True, slots=True)
class Token:
    """One entry. ``sha256`` is the hash of the whole token in hex; times are UTC."""

    id: str
    name: str
    role: Role
    sha256: str
    created: datetime
    expires: datetime

    @classmethod
    def new(cls, name: str, role: Role, days: float, now: datetime | None = None) -> tuple["Token", str]:
        """(entry, the token in plain): the only time that it is seen."""
        if not _NAME.fullmatch(name):
            raise TokenError(f"{name!r} cannot be a token's name: up to 64 letters, digits and . _ @ -")
        if not 0 < days <= 3660:
            raise TokenError(f"{days:g} days: a token expires after more than 0 and at most 3660 days.")
        created = (now or datetime.now(UTC)).replace(microsecond=0)
        token_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(8))
        plain = f"mlp_{token_id}_{secrets.token_urlsafe(32)}"
        return cls(token_id, name, role, _digest(plain), created, created + timedelta(days=days)), plain


def dump(tokens: Iterable[Token]) -> str:
    """The document, as it is stored."""
    rows = [
        asdict(token)
        | {
            "role": token.role.label,
            "created": token.created.strftime(_TIME),
            "expires": token.expires.strftime(_TIME),
        }
        for token in tokens
    ]
    return json.dumps({"tokens": rows}, indent=2) + "\n"


def parse(document: str, where: str) -> list[Token]:
    """The entries of the document kept in ``where``. Raises TokenError: wrong anywhere is wrong as a whole."""
    try:
        return _entries(document)
    except TokenError as error:
        raise TokenError(f"The tokens in {where} cannot be used: {error}.") from None


def _entries(document: str) -> list[Token]:
    try:
        content: Any = json.loads(document)
    except ValueError as error:
        raise TokenError(f"it is not JSON ({error})") from None
    if not isinstance(content, dict) or not isinstance(rows := cast("Any", content).get("tokens"), list):
        raise TokenError('it is not {"tokens": [...]}')
    tokens = [_entry(row, number) for number, row in enumerate(cast("list[Any]", rows), 1)]
    for field in ("id", "name"):
        values = [getattr(token, field) for token in tokens]
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise TokenError(f"the {field} {twice[0]!r} stands there twice")
    return tokens


def _entry(row: Any, number: int) -> Token:
    try:
        token = Token(
            id=row["id"],
            name=row["name"],
            role=Role[row["role"].upper()],
            sha256=row["sha256"],
            created=datetime.strptime(row["created"], _TIME).replace(tzinfo=UTC),
            expires=datetime.strptime(row["expires"], _TIME).replace(tzinfo=UTC),
        )
        valid = _SHA256.fullmatch(token.sha256) and _NAME.fullmatch(token.name) and _ID.fullmatch(token.id)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TokenError(f"its entry {number} is not a token: {type(error).__name__} {error}") from None
    if not valid:
        raise TokenError(f"its entry {number} is not a token: id, name or sha256 has the wrong form")
    return token


class TokenCallers:
    """Recognises callers by ``Authorization: Bearer`` or Basic (any user name; the password is the token)."""

    def __init__(self, store: TokenStore, reload_every: float, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._reload_every = reload_every
        self._clock = clock
        self._document: str | None = None
        self._by_id: dict[str, tuple[bytes, float, Caller]] = {}
        self.loaded_at = 0.0

    async def recognise(self, request: web.BaseRequest) -> Caller | None:
        shown = request.headers.getall("Authorization", _NOTHING)
        # Of several, another server might take another one.
        token = presented(shown[0]) if len(shown) == 1 else ""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        digest, expires, caller = self._by_id.get(found[1], _NOBODY)
        if not hmac.compare_digest(digest, sha256(token.encode()).digest()) or caller is None:
            raise errors.unauthenticated(
                "This token is not known here: it is mistyped, revoked, or another proxy's.", reason="bad-token"
            )
        if self._clock() >= expires:
            raise errors.unauthenticated(
                f"The token {caller.name!r} has expired. Ask whoever runs this proxy for a new one.",
                reason="expired-token",
            )
        return caller

    async def load(self) -> None:
        """Read the tokens; raises TokenError or StoreError, and then what was known before still holds."""
        document = await asyncio.to_thread(self._store.read)
        if document != self._document:
            tokens = parse(document, self._store.name)
            self._by_id = {
                token.id: (
                    bytes.fromhex(token.sha256),
                    token.expires.timestamp(),
                    Caller(token.name, token.role, "token"),
                )
                for token in tokens
            }
            self._document = document
            log.info("%d tokens in %s", len(tokens), self._store.name, extra={"event": "tokens"})
        self.loaded_at = self._clock()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Read now (an error ends the start), then again and again until the end of the block."""
        await self.load()
        async with in_background(self._keep_loading()):
            yield

    async def _keep_loading(self) -> None:
        problem = ""
        while True:
            await asyncio.sleep(self._reload_every)
            try:
                await self.load()
                if problem:
                    log.info("The tokens in %s are read again.", self._store.name, extra={"event": "tokens"})
                problem = ""
            except Exception as error:  # noqa: BLE001 - were this loop to end, nothing could be revoked any more
                if str(error) != problem:  # once, not at every reading
                    log.error("%s The tokens read before stay in force.", error, extra={"event": "tokens"})
                problem = str(error)


_NOTHING = ("",)
# What an unknown id is compared with, so that knowing an id takes as long as not knowing it.
_NOBODY: tuple[bytes, float, Caller | None] = (bytes(32), 0.0, None)


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def presented(authorization: str) -> str:
    """The token in an ``Authorization`` header; empty if it holds none."""
    scheme, _, value = authorization.partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, ValueError):
            return base64.b64decode(value, validate=True).decode().partition(":")[2].strip()
    return ""
