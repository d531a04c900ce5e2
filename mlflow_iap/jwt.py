"""Reads a token's claims without verifying its signature, which is IAP's task."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from google.auth import exceptions
from google.auth import jwt as google_jwt

from .errors import TokenError

_LIFETIME_SECONDS = 3600


@dataclasses.dataclass(frozen=True)
class Token:
    """A JWT. `expires` is in seconds since 1970; `claims` are those of the token."""

    text: str = dataclasses.field(repr=False)
    expires: float
    claims: Mapping[str, Any]

    @property
    def email(self) -> str:
        """The account's e-mail address; a self-signed token has it in `sub` only."""
        return str(self.claims.get("email") or self.claims.get("sub", ""))


def parse_token(text: str) -> Token:
    """Parse a JWT. Raises TokenError for any other text, and for a JWT without `exp`."""
    untyped: Any = google_jwt
    try:
        claims: Mapping[str, Any] = untyped.decode(text, verify=False)
        return Token(text, float(claims["exp"]), claims)
    except (ValueError, KeyError, TypeError, exceptions.GoogleAuthError) as error:
        raise TokenError("Not an IAP token: expected a JWT (eyJ...) with the claim `exp`.") from error


def self_signed_claims(account: str, audience: str, now: float) -> dict[str, Any]:
    """The claims of a JWT that a service account signs itself, valid for one hour.

    https://cloud.google.com/iap/docs/authentication-howto, "Authenticate with a service account JWT". `iat` is half a
    minute in the past, so that a clock that is slightly fast does not invalidate the token.
    """
    begin = int(now) - 30
    return {"iss": account, "sub": account, "aud": audience, "iat": begin, "exp": begin + _LIFETIME_SECONDS}
