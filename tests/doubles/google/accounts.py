"""Google accounts, their credentials, and the tokens that Google issues for them.

ID tokens: https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload.
"""

import dataclasses
import secrets
import time
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER = "https://accounts.google.com"
TOKEN_URL = "https://oauth2.googleapis.com/token"
# OAuth clients of one project; their ids begin with its number.
IAP_CLIENT = "418103912031-k2mpq8e0d5iap7h1rj3vtu6s4x9zabcd.apps.googleusercontent.com"
DESKTOP_CLIENT = "418103912031-desk7h1rj3vtu6s4x9zabcdk2mpq8e0.apps.googleusercontent.com"
# An OAuth client of another project.
OTHER_CLIENT = "990000000001-other1rj3vtu6s4x9zabcdk2mpq8e0d5.apps.googleusercontent.com"
JOB = "job@team.iam.gserviceaccount.com"
ROBOT = "robot@team.iam.gserviceaccount.com"
ANN = "ann@example.org"
HOUR = 3600


class Clock:
    """Google's clock: the real time plus an offset that tests advance."""

    def __init__(self) -> None:
        self.moved = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.moved

    def forward(self, *, hours: float = 0, minutes: float = 0) -> None:
        """Advance the clock."""
        self.moved += hours * HOUR + minutes * 60


@dataclasses.dataclass(frozen=True)
class Key:
    """An RS256 signing key with its id."""

    id: str
    private: rsa.RSAPrivateKey

    @classmethod
    def new(cls) -> "Key":
        """Generate a key."""
        return cls(secrets.token_hex(20), rsa.generate_private_key(public_exponent=65537, key_size=2048))

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A JWT with these claims."""
        return jwt.encode(dict(claims), self.private, "RS256", headers={"kid": self.id})

    @property
    def pem(self) -> str:
        """The private key as PKCS #8 in PEM."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()


@dataclasses.dataclass
class Access:
    """The principal and the expiry time (seconds since the epoch) of an access token."""

    principal: str
    expires: float


class Accounts:
    """`own_key` is Google's signing key, `key_of` maps service accounts to their keys.

    `may_impersonate` has pairs (principal, service account). `refresh_tokens` maps each refresh token to the user's
    e-mail address and the OAuth client.
    """

    def __init__(self, clock: Clock, own_key: Key, account_key: Key) -> None:
        self.clock = clock
        self.own_key = own_key
        self.key_of = {JOB: account_key, ROBOT: account_key}
        self.may_impersonate: set[tuple[str, str]] = set()
        self.client_secrets = {DESKTOP_CLIENT: "GOCSPX-desktop", OTHER_CLIENT: "GOCSPX-other"}
        self.refresh_tokens: dict[str, tuple[str, str]] = {}
        self._access: dict[str, Access] = {}
        self.lifetime = HOUR

    def id_token(self, audience: str, email: str, *, with_email: bool = True, azp: str = "") -> str:
        """An ID token signed by Google; `azp` defaults to `email`."""
        now = int(self.clock.now())
        claims: dict[str, Any] = {"iss": ISSUER, "aud": audience, "azp": azp or email, "sub": str(abs(hash(email)))}
        if with_email:
            claims |= {"email": email, "email_verified": True}
        return self.own_key.sign({**claims, "iat": now, "exp": now + self.lifetime})

    def access_token(self, principal: str) -> str:
        """An access token of this principal, valid for an hour."""
        token = "ya29." + secrets.token_urlsafe(40)
        self._access[token] = Access(principal, self.clock.now() + HOUR)
        return token

    def principal_of(self, access_token: str) -> str | None:
        """The principal of an access token; None if the token is unknown or has expired."""
        access = self._access.get(access_token)
        return access.principal if access and access.expires > self.clock.now() else None

    def sign_in(self, email: str, client: str = DESKTOP_CLIENT) -> dict[str, str]:
        """The credentials file that gcloud writes after a login; https://google.aip.dev/auth/4113."""
        refresh_token = "1//" + secrets.token_urlsafe(40)
        self.refresh_tokens[refresh_token] = (email, client)
        return {
            "type": "authorized_user",
            "client_id": client,
            "client_secret": self.client_secrets.get(client, "none"),
            "refresh_token": refresh_token,
            "quota_project_id": "team",
        }

    def key_file(self, account: str) -> dict[str, str]:
        """A service account key file; https://cloud.google.com/iam/docs/keys-create-delete#creating."""
        key = self.key_of[account]
        return {
            "type": "service_account",
            "project_id": "team",
            "private_key_id": key.id,
            "private_key": key.pem,
            "client_email": account,
            "client_id": "1",
            "token_uri": TOKEN_URL,
        }
