"""Session credentials as a container gets them: made here, known here, expired here."""

import dataclasses
import datetime
import secrets
from collections.abc import Callable

from local.fake_sagemaker.refusals import Refusal


@dataclasses.dataclass(frozen=True, slots=True)
class Credential:
    """An access key; `expires` is seconds since the epoch."""

    access_key: str
    secret_key: str
    token: str
    expires: float
    principal: str

    def as_json(self) -> dict[str, str]:
        """As the container credentials endpoint gives it (AWS_CONTAINER_CREDENTIALS_FULL_URI)."""
        return {
            "AccessKeyId": self.access_key,
            "SecretAccessKey": self.secret_key,
            "Token": self.token,
            "Expiration": self.expiration,
        }

    @property
    def expiration(self) -> str:
        return datetime.datetime.fromtimestamp(self.expires, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Credentials:
    """Hands out session credentials and knows them again.

    Like a container's agent it gives the same ones until half of their lifetime is over. botocore asks again
    15 minutes before they expire, and insists from 10 minutes on: a `lifetime` under 20 minutes makes it ask
    again all the time.
    """

    def __init__(self, *, account: str, lifetime: float, clock: Callable[[], float]) -> None:
        self.lifetime = lifetime
        self._principal = f"arn:aws:sts::{account}:assumed-role/local-proxy/session"
        self._clock = clock
        self._known: dict[str, Credential] = {}
        self._current: Credential | None = None

    def current(self) -> Credential:
        """What the credentials endpoint answers now."""
        current = self._current
        if current is None or current.expires - self._clock() < self.lifetime / 2:
            current = self._current = self.issue(self.lifetime)
        return current

    def issue(self, lifetime: float, principal: str = "") -> Credential:
        """New credentials that hold for `lifetime` seconds; negative: they have expired already."""
        credential = Credential(
            access_key="ASIA" + secrets.token_hex(8).upper(),
            secret_key=secrets.token_urlsafe(30),
            # The length of a real one, with the characters that need care in a header.
            token="IQoJb3JpZ2luX2Vj//" + secrets.token_urlsafe(360) + "==",
            expires=self._clock() + lifetime,
            principal=principal or self._principal,
        )
        self._known[credential.access_key] = credential
        return credential

    def expire(self) -> None:
        """All that were handed out expire at once, whatever was said of their expiration."""
        self._current = None
        for key, credential in self._known.items():
            self._known[key] = dataclasses.replace(credential, expires=min(credential.expires, self._clock() - 1))

    def find(self, access_key: str, token: str) -> Credential:
        """The credential that signs with this key; Refusal when it is unknown, expired or not its token."""
        credential = self._known.get(access_key)
        if credential is None or not secrets.compare_digest(credential.token.encode(), token.encode()):
            raise Refusal("UnrecognizedClientException", "The security token included in the request is invalid.")
        if credential.expires <= self._clock():
            raise Refusal("ExpiredTokenException", "The security token included in the request is expired")
        return credential
