"""Verifies JSON Web Tokens with PyJWT, and more strictly where PyJWT is lenient.

PyJWT checks signature, issuer, audience, required claims and times. In addition: one algorithm for header and key,
a key ID that can be part of a URL, an audience that is a single string (never a list), times that are integers, and a
maximum lifetime.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from .signing_keys import SigningKeys

_ALGORITHM = "ES256"
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class InvalidTokenError(Exception):
    """The token is invalid; the message is the reason, with the token as its subject ("its signature is invalid")."""


class ExpiredTokenError(InvalidTokenError):
    """The token was valid and has expired."""


def unverified_header(token: str) -> Mapping[str, Any]:
    """The JWT header, without verification. Raises InvalidTokenError for another algorithm or an invalid ``kid``."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError):
        raise InvalidTokenError("it is malformed") from None
    if header.get("alg") != _ALGORITHM:
        raise InvalidTokenError(f"its alg is not {_ALGORITHM}")
    if not _KEY_ID.fullmatch(header.get("kid", "")):
        raise InvalidTokenError("its kid is not a valid key ID")
    return header


class JwtVerifier:
    """Verifies the tokens of one issuer. ``leeway`` and ``max_lifetime`` are seconds.

    ``issuer`` and ``audience`` are the required values of these claims; None: not checked here. ``required`` are the
    names of further required claims; ``max_lifetime`` needs iat and exp among them. ``audience_setting`` names the
    audience in the error message.
    """

    def __init__(
        self,
        keys: SigningKeys,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        audience_setting: str = "the expected one",
        required: Sequence[str] = (),
        leeway: float,
        max_lifetime: float | None = None,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._audience_setting = audience_setting
        self._required = list(required)
        self._leeway = leeway
        self._max_lifetime = max_lifetime

    async def verify(self, token: str) -> Mapping[str, Any]:
        """The verified claims. Raises InvalidTokenError; ApiError 503 if the signing key cannot be fetched now."""
        key = await self._keys.find(unverified_header(token)["kid"])
        if key is None:
            raise InvalidTokenError("its kid is unknown")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                # A list of audiences is valid for other applications, too. The issuer chooses the form of sub and jti.
                options={
                    "require": self._required,
                    "verify_iat": "iat" in self._required,
                    "strict_aud": self._audience is not None,
                    "verify_aud": self._audience is not None,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except jwt.ExpiredSignatureError:
            raise ExpiredTokenError("it has expired") from None
        except jwt.ImmatureSignatureError:
            raise InvalidTokenError("its iat or nbf is in the future") from None
        except jwt.InvalidIssuerError:
            raise InvalidTokenError(f"its iss is not {self._issuer}") from None
        except jwt.InvalidAudienceError:
            raise InvalidTokenError(f"its aud is not {self._audience_setting}") from None
        except jwt.MissingRequiredClaimError as error:
            raise InvalidTokenError(f"its claim {error.claim} is missing") from None
        except jwt.InvalidSignatureError:
            raise InvalidTokenError("its signature is invalid") from None
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise InvalidTokenError("its signature or claims are malformed") from None
        for name in {"exp", "iat"} & {"exp", *self._required}:
            if name in claims and type(claims[name]) is not int:
                raise InvalidTokenError(f"its {name} is not an integer")
        if self._max_lifetime is not None and claims["exp"] - claims["iat"] > self._max_lifetime:
            raise InvalidTokenError("its exp is too far from its iat")
        return claims
