"""What stands in a token, read without verifying it: that is IAP's work."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from google.auth import exceptions
from google.auth import jwt as google_jwt

from .errors import TokenError

LIFETIME = 3600


@dataclasses.dataclass(frozen=True)
class Token:
    """`expires` is in seconds since 1970; `claims` are as the token has them."""

    text: str = dataclasses.field(repr=False)
    expires: float
    claims: Mapping[str, Any]

    @property
    def email(self) -> str:
        """Whose token it is; a service account that signs itself is its own issuer."""
        return str(self.claims.get("email") or self.claims.get("sub", ""))


def read(text: str) -> Token:
    """Raises TokenError for what is not a JWT with an end."""
    untyped: Any = google_jwt
    try:
        claims: Mapping[str, Any] = untyped.decode(text, verify=False)
        return Token(text, float(claims["exp"]), claims)
    except (ValueError, KeyError, TypeError, exceptions.GoogleAuthError) as error:
        raise TokenError("This is not a token for IAP: it takes a JWT (eyJ...) with an end, `exp`.") from error


def own_claims(account: str, audience: str, now: float) -> dict[str, Any]:
    """What a service account signs itself, good for an hour.

    https://cloud.google.com/iap/docs/authentication-howto, "Authenticate with a service account JWT". It begins half
    a minute ago, so that a clock that is a little fast does no harm.
    """
    begin = int(now) - 30
    return {"iss": account, "sub": account, "aud": audience, "iat": begin, "exp": begin + LIFETIME}
