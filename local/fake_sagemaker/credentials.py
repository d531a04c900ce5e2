"""Session credentials as a container gets them: issued, looked up and expired."""

import dataclasses
import datetime
import secrets
from collections.abc import Callable

from local.fake_sagemaker.errors import AwsError


@dataclasses.dataclass(frozen=True, slots=True)
class Credential:
    """Session credentials of a principal; `expires` is in seconds since the epoch."""

    access_key: str
    secret_key: str
    token: str
    expires: float
    principal: str

    def as_json(self) -> dict[str, str]:
        """The response of the container credentials endpoint (AWS_CONTAINER_CREDENTIALS_FULL_URI)."""
        return {
            "AccessKeyId": self.access_key,
            "SecretAccessKey": self.secret_key,
            "Token": self.token,
            "Expiration": self.expiration,
        }

    @property
    def expiration(self) -> str:
        """`expires` in ISO 8601, UTC."""
        return datetime.datetime.fromtimestamp(self.expires, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Credentials:
    """Issues session credentials and looks them up.

    Like the ECS agent, it returns the same credentials until half of their lifetime (in seconds) has passed. botocore
    refreshes them 15 minutes before they expire, and requires a refresh from 10 minutes before: with a `lifetime`
    under 20 minutes it refreshes continually.
    """

    def __init__(self, *, account: str, lifetime: float, clock: Callable[[], float]) -> None:
        self.lifetime = lifetime
        self._principal = f"arn:aws:sts::{account}:assumed-role/local-proxy/session"
        self._clock = clock
        self._issued: dict[str, Credential] = {}
        self._current: Credential | None = None

    def current(self) -> Credential:
        """The credentials that the credentials endpoint returns now."""
        current = self._current
        if current is None or current.expires - self._clock() < self.lifetime / 2:
            current = self._current = self.issue(self.lifetime)
        return current

    def issue(self, lifetime: float, principal: str = "") -> Credential:
        """New credentials that expire in `lifetime` seconds; if negative, they are expired."""
        credential = Credential(
            access_key="ASIA" + secrets.token_hex(8).upper(),
            secret_key=secrets.token_urlsafe(30),
            # As long as a real one, with characters that need care in a header.
            token="IQoJb3JpZ2luX2Vj//" + secrets.token_urlsafe(360) + "==",
            expires=self._clock() + lifetime,
            principal=principal or self._principal,
        )
        self._issued[credential.access_key] = credential
        return credential

    def expire(self) -> None:
        """Expire all issued credentials now, regardless of their stated expiration."""
        self._current = None
        for key, credential in self._issued.items():
            self._issued[key] = dataclasses.replace(credential, expires=min(credential.expires, self._clock() - 1))

    def find(self, access_key: str, token: str) -> Credential:
        """The credentials with this access key. AwsError when unknown, expired, or issued with another token."""
        credential = self._issued.get(access_key)
        if credential is None or not secrets.compare_digest(credential.token.encode(), token.encode()):
            raise AwsError("UnrecognizedClientException", "The security token included in the request is invalid.")
        if credential.expires <= self._clock():
            raise AwsError("ExpiredTokenException", "The security token included in the request is expired")
        return credential
