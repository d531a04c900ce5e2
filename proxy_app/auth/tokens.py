"""Token authentication: tokens are created by the ``token`` command, shown once, and stored as hashes only.

A token is ``mlp_<id>_<secret>``: the ID finds the entry; the secret is 32 random bytes, so a plain SHA-256 protects it
(it cannot be guessed). The entries are a JSON document in a file or in a Secrets Manager secret::

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
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from .. import errors
from ..background import background_task
from ..outage import Outage
from ..setting_table import Problem, SettingTable, setting
from ..setting_values import path, positive_seconds
from . import ROLES, Authenticator, Principal, Role
from .token_store import FileStore, SecretStore, TokenStore

if TYPE_CHECKING:
    from ..context import RequestContext
    from ..metrics import Metrics
    from ..settings import Settings

log = logging.getLogger(__name__)

_TOKEN = re.compile(r"mlp_([a-z0-9]{8})_[A-Za-z0-9_-]{43}")
_ID = re.compile(r"[a-z0-9]{8}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_ID_LETTERS = string.ascii_lowercase + string.digits
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class TokenError(ValueError):
    """Invalid tokens or names; the message names them and the reason."""


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of the document. ``sha256`` is the hash of the whole token in hex; times are in UTC."""

    id: str
    name: str
    role: Role
    sha256: str
    created: datetime
    expires: datetime

    @classmethod
    def new(cls, name: str, role: Role, days: float, now: datetime | None = None) -> tuple["Token", str]:
        """(entry, token in plain text), valid for ``days``; the plain text is not stored. Raises TokenError."""
        if not _NAME.fullmatch(name):
            raise TokenError(
                f"Token name: got {name!r}, expected up to 64 letters, digits and . _ @ -, a letter or digit first."
            )
        if not 0 < days <= 3660:
            raise TokenError(f"Token lifetime: got {days:g} days, expected more than 0 and at most 3660.")
        created = (now or datetime.now(UTC)).replace(microsecond=0)
        token_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(8))
        plain = f"mlp_{token_id}_{secrets.token_urlsafe(32)}"
        return cls(token_id, name, role, _digest(plain), created, created + timedelta(days=days)), plain


def serialize(tokens: Iterable[Token]) -> str:
    """The JSON document of the entries, in the form above."""
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


def deserialize(document: str, where: str) -> list[Token]:
    """The entries of a document; ``where`` is its place, for messages. TokenError if any entry is invalid."""
    try:
        return _entries(document)
    except TokenError as error:
        raise TokenError(f"The tokens in {where} are invalid: {error}.") from None


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
            raise TokenError(f"the {field} {twice[0]!r} occurs twice")
    return tokens


def _entry(row: Any, number: int) -> Token:
    try:
        token = Token(
            id=row["id"],
            name=row["name"],
            role=_ROLES[row["role"]],
            sha256=row["sha256"],
            created=datetime.strptime(row["created"], _TIME).replace(tzinfo=UTC),
            expires=datetime.strptime(row["expires"], _TIME).replace(tzinfo=UTC),
        )
        valid = _SHA256.fullmatch(token.sha256) and _NAME.fullmatch(token.name) and _ID.fullmatch(token.id)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TokenError(f"entry {number} is not a token: {type(error).__name__} {error}") from None
    if not valid:
        raise TokenError(f"entry {number} is not a token: id, name or sha256 is malformed")
    return token


@dataclass(frozen=True, kw_only=True)
class TokenSettings(SettingTable):
    """The place of the hashed tokens, and the interval of reads."""

    title = "Tokens"

    tokens_file: Path | None = setting("MLFLOW_PROXY_TOKENS_FILE", "", "File of hashed tokens.", path)
    tokens_secret: str = setting(
        "MLFLOW_PROXY_TOKENS_SECRET",
        "",
        "Secrets Manager secret (name or ARN) of hashed tokens, instead of a file.",
    )
    tokens_reload: float = setting(
        "MLFLOW_PROXY_TOKENS_RELOAD_SECONDS",
        "15",
        "How often the tokens are read again: the longest time that a revoked token still works.",
        positive_seconds,
    )
    tokens_max_age: float = setting(
        "MLFLOW_PROXY_TOKENS_MAX_AGE_SECONDS",
        "3600",
        "If the tokens cannot be read again, how long those read before stay valid; then requests get 503.",
        positive_seconds,
    )


class TokenAuthenticator(Authenticator):
    """Authenticates ``Authorization: Bearer`` or Basic (any user name; the password is the token).

    ``reload_interval`` is in seconds; ``max_age`` is how long tokens stay valid that cannot be read again; ``clock``
    returns seconds since the epoch; ``loaded_at`` is the time of the last successful read, None before the first.
    """

    label = "MLFLOW_PROXY_TOKENS_FILE or MLFLOW_PROXY_TOKENS_SECRET"
    settings_table = TokenSettings

    @classmethod
    def enabled(cls, settings: "Settings") -> bool:
        """Whether a tokens file or secret is set."""
        own = settings.section(TokenSettings)
        return bool(own.tokens_file or own.tokens_secret)

    @classmethod
    def conflicts(cls, settings: "Settings") -> Iterator[Problem]:
        """Neither a file nor a secret, or both, without another exclusive authenticator."""
        from .authenticators import AUTHENTICATORS

        own = settings.section(TokenSettings)
        if own.tokens_max_age <= own.tokens_reload:
            yield (
                ("MLFLOW_PROXY_TOKENS_MAX_AGE_SECONDS", "MLFLOW_PROXY_TOKENS_RELOAD_SECONDS"),
                "MLFLOW_PROXY_TOKENS_MAX_AGE_SECONDS must be more than MLFLOW_PROXY_TOKENS_RELOAD_SECONDS.",
            )
        exclusive = [other for other in AUTHENTICATORS if other.exclusive]
        if any(other.enabled(settings) for other in exclusive):
            return
        if bool(own.tokens_file) == bool(own.tokens_secret):
            yield (
                tuple(name for kind in (cls, *exclusive) for name in kind.settings_table.names()),
                "Set one of MLFLOW_PROXY_TOKENS_FILE and MLFLOW_PROXY_TOKENS_SECRET; "
                "`python -m proxy_app token new --help` creates a first token.",
            )

    @classmethod
    def create(cls, settings: "Settings") -> Self:
        """An authenticator for the configured store."""
        own = settings.section(TokenSettings)
        store = FileStore(own.tokens_file) if own.tokens_file else SecretStore(own.tokens_secret)
        return cls(store, own.tokens_reload, max_age=own.tokens_max_age)

    def __init__(
        self,
        store: TokenStore,
        reload_interval: float,
        clock: Callable[[], float] = time.time,
        *,
        max_age: float = 3600.0,
    ) -> None:
        self._store = store
        self._reload_interval = reload_interval
        self._clock = clock
        self._max_age = max_age
        self._document: str | None = None
        self._by_id: dict[str, tuple[bytes, float, Principal]] = {}
        self._outage = Outage(log, "tokens")
        self._revoked: Callable[[Collection[Principal]], None] | None = None
        self.loaded_at: float | None = None

    @property
    def age(self) -> float | None:
        """Seconds since the last successful read; None before the first."""
        return None if self.loaded_at is None else self._clock() - self.loaded_at

    def on_revocation(self, revoked: "Callable[[Collection[Principal]], None]") -> None:
        """Call ``revoked`` with the principals of tokens that were removed, or whose role changed."""
        self._revoked = revoked

    def add_metrics(self, metrics: "Metrics") -> None:
        """Add the gauges of the last successful read, and of failed ones."""
        metrics.gauge(
            "mlflow_proxy_tokens_age_seconds", "Time since the last successful read of the tokens.", lambda: self.age
        )
        metrics.gauge(
            "mlflow_proxy_tokens_read_failures",
            "Failed reads of the tokens in a row.",
            lambda: self._outage.failures,
        )
        metrics.gauge(
            "mlflow_proxy_tokens_last_read_timestamp_seconds",
            "When the tokens were last read, in seconds since the epoch.",
            lambda: self.loaded_at,
        )

    async def authenticate(self, context: "RequestContext") -> Principal | None:
        """The principal of the token; None without a token of this form.

        ApiError 401 for an unknown, revoked or expired token, 503 if the tokens are too old.
        """
        headers = context.request.headers.getall("Authorization", _NO_HEADER)
        # Of several headers, another server could use a different one.
        token = token_of(headers[0]) if len(headers) == 1 else ""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        await self.probe()
        digest, expires, principal = self._by_id.get(found[1], _UNKNOWN)
        if not hmac.compare_digest(digest, sha256(token.encode()).digest()) or principal is None:
            raise errors.unauthenticated(
                "Invalid token: it is mistyped, revoked, or of another deployment.", reason="invalid-token"
            )
        if self._clock() >= expires:
            raise errors.unauthenticated(
                f"The token {principal.name!r} has expired. Ask the administrator of this deployment for a new one.",
                reason="expired-token",
            )
        return principal

    async def probe(self) -> None:
        """Raise ApiError 503 if the last successful read is longer ago than ``max_age``."""
        if self.age is not None and self.age > self._max_age:
            raise errors.unavailable(
                "Tokens cannot be verified now: the proxy has not been able to read its tokens for "
                f"{self._max_age:g} seconds (MLFLOW_PROXY_TOKENS_MAX_AGE_SECONDS).",
                reason="tokens-unavailable",
            )

    def challenge(self, context: "RequestContext") -> errors.ApiError:
        """401 with instructions for sending a token."""
        if "Authorization" in context.request.headers:
            return errors.unauthenticated(
                "The Authorization header holds no token of this proxy: expected `Bearer mlp_...`, "
                "or Basic with the token as the password.",
                reason="invalid-authorization-header",
            )
        if context.request.headers.get("User-Agent", "").startswith("mlflow-java-client"):
            # It reads the variables for Databricks' URIs only.
            return errors.unauthenticated(
                "Authentication required. MLflow's Java client does not read MLFLOW_TRACKING_TOKEN: use "
                "new MlflowClient(new BasicMlflowHostCreds(trackingUri, token)).",
                reason="missing-token",
            )
        return errors.unauthenticated(
            "Authentication required. Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME to any name and "
            "MLFLOW_TRACKING_PASSWORD to the token.",
            reason="missing-token",
        )

    async def load(self) -> None:
        """Read the tokens. Raises TokenError or StoreError; the tokens read before then stay valid."""
        document = await asyncio.to_thread(self._store.read)
        if document != self._document:
            tokens = deserialize(document, self._store.name)
            earlier, self._by_id = self._by_id, {token.id: self._accepted(token) for token in tokens}
            self._document = document
            log.info("%d tokens in %s", len(tokens), self._store.name, extra={"event": "tokens"})
            left = {id(principal) for _, _, principal in self._by_id.values()}
            revoked = [principal for _, _, principal in earlier.values() if id(principal) not in left]
            if self._revoked is not None and revoked:
                self._revoked(revoked)
        self.loaded_at = self._clock()

    def _accepted(self, token: Token) -> tuple[bytes, float, Principal]:
        """(hash, expiry, principal) of an entry. An entry that is not new keeps its Principal object."""
        digest, principal = bytes.fromhex(token.sha256), Principal(token.name, token.role, "token")
        earlier_digest, _, earlier = self._by_id.get(token.id, _UNKNOWN)
        if earlier is not None and (earlier_digest, earlier) == (digest, principal):
            principal = earlier
        return digest, token.expires.timestamp(), principal

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Read the tokens now, and periodically until the end of the block. Raises TokenError or StoreError."""
        await self.load()
        async with background_task(self._reload()):
            yield

    async def _reload(self) -> None:
        while True:
            await asyncio.sleep(self._reload_interval)
            try:
                await self.load()
            except Exception as error:  # noqa: BLE001 - if this loop ended, revocations would have no effect
                self._outage.failed(f"{error} The tokens read before stay valid for {self._max_age:g} seconds.")
            else:
                self._outage.succeeded(f"The tokens in {self._store.name} can be read again.")


_NO_HEADER = ("",)
_ROLES = {role.label: role for role in ROLES}
# Compared in place of an entry, so that an unknown ID takes as long as a known one.
_UNKNOWN: tuple[bytes, float, Principal | None] = (bytes(32), 0.0, None)


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def token_of(authorization: str) -> str:
    """The token in the value of an ``Authorization`` header; empty if it contains none."""
    scheme, _, value = authorization.partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, ValueError):
            return base64.b64decode(value, validate=True).decode().partition(":")[2].strip()
    return ""
