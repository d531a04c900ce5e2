"""What others tell the proxy of its callers: a JWT signed by ES256, with the id of its key in its header."""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

import jwt

from .public_keys import PublicKeys

# It may become a part of a URL.
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_JWS = jwt.PyJWS(algorithms=["ES256"])


class NotBelieved(Exception):
    """The message says why, of "it"."""


def header_of(text: str) -> Mapping[str, Any]:
    """Its header, of which nobody knows yet who wrote it. Raises NotBelieved."""
    try:
        header = _JWS.get_unverified_header(text)
    except (jwt.InvalidTokenError, ValueError):
        raise NotBelieved("it cannot be read") from None
    if header.get("alg") != "ES256":
        raise NotBelieved("its alg is not ES256")
    if not _KEY_ID.fullmatch(header.get("kid", "")):
        raise NotBelieved("its kid cannot be a key's id")
    return header


async def claims_of(text: str, keys: PublicKeys) -> Mapping[str, Any]:
    """What is signed. Raises NotBelieved; Refusal (503) if the key cannot be had now."""
    key = await keys.find(header_of(text)["kid"])
    if key is None:
        raise NotBelieved("its kid names no key")
    try:
        said: Any = json.loads(_JWS.decode(text, key, algorithms=["ES256"]))
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise NotBelieved("its signature does not hold") from None
    if not isinstance(said, dict):
        raise NotBelieved("its claims cannot be read")
    return cast("dict[str, Any]", said)
