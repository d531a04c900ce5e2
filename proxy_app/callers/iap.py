"""Callers whom Google's Identity-Aware Proxy has let in, by its header ``x-goog-iap-jwt-assertion``.

It is a JWT, signed by ES256 with a key out of one set for all of Google's customers, so ``aud`` says whether it is
ours. People and service accounts come alike, by ``email``; ``sub`` names whose account it is. Groups are not told.
IAP takes away what callers themselves send by such names; who comes past it can only send what it has signed before.

https://cloud.google.com/iap/docs/signed-headers-howto
https://cloud.google.com/iap/docs/identity-howto
"""

import contextlib
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from aiohttp import web

from .. import errors
from ..setting_table import SettingsError
from ..settings import Settings
from . import Caller
from .es256 import NotBelieved, claims_of
from .public_keys import KeySet, no_keys
from .role_rules import Person, RoleRules, parse

HEADER = "x-goog-iap-jwt-assertion"
_KEYS_URL = "https://www.gstatic.com/iap/verify/public_key-jwk"
_ISSUER = "https://cloud.google.com/iap"
# No padding (RFC 7515), and r and s of 32 bytes each.
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}")
# Both as documented: the first for clocks, the second as the longest that an assertion is good for.
_LEEWAY, _LIFETIME = 30, 600
# What stands before the number of an account of Google's own. Other sources of identity may vouch for less.
_GOOGLE = "accounts.google.com:"
_SERVICE_ACCOUNTS = ".iam.gserviceaccount.com"


class IapCallers:
    """Recognises whoever comes through Identity-Aware Proxy to one App Engine application, and nobody else."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        key_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises SettingsError."""
        if groups := [rule.value for rule in parse(settings.role_rules) if rule.kind == "group"]:
            raise SettingsError(
                f"MLFLOW_PROXY_ROLE_RULES: group:{groups[0]} fits nobody with MLFLOW_PROXY_IAP_AUDIENCE, since "
                f"Identity-Aware Proxy "
                "does not tell groups: use email: and domain:, and let the group in by IAP's own access list."
            )
        self._keys = KeySet(settings.iap_keys_url or _KEYS_URL, settings.ca_bundle, key_clock)
        self._rules = RoleRules(settings.role_rules)
        self._audience = settings.iap_audience
        self._clock = clock

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The keys are kept fresh in this block; that there are none yet is no error: the proxy is not ready."""
        async with self._keys.running():
            yield

    async def probe(self) -> None:
        """Refusal (503) while there are no keys."""
        if not self._keys.ready:
            raise no_keys()

    async def recognise(self, request: web.BaseRequest) -> Caller:
        shown = request.headers.getall(HEADER, [])
        if not shown:
            raise errors.unauthenticated(
                "This MLflow answers what comes through Identity-Aware Proxy, and this request did not: it has no "
                f"{HEADER}.",
                reason="no-credentials-shown",
                by_token=False,
            )
        try:
            claims = await self._claims(shown)
        except NotBelieved as why:
            raise errors.unauthenticated(
                f"What Identity-Aware Proxy says of you ({HEADER}) is refused: {why}.",
                reason="bad-sign-in",
                by_token=False,
            ) from None
        return self._rules.caller(_person(claims), "iap")

    async def _claims(self, shown: list[str]) -> Mapping[str, Any]:
        """What is signed. Raises NotBelieved; Refusal (401) if it has ended, (503) if its key cannot be had now."""
        if len(shown) > 1:
            raise NotBelieved("it is there twice")
        if not _FORM.fullmatch(shown[0]):
            raise NotBelieved("it cannot be read")
        claims = await claims_of(shown[0], self._keys)
        if claims.get("iss") != _ISSUER:
            raise NotBelieved("its iss is not Identity-Aware Proxy")
        if claims.get("aud") != self._audience:
            raise NotBelieved("its aud is not MLFLOW_PROXY_IAP_AUDIENCE")
        begin, end = _time(claims, "iat"), _time(claims, "exp")
        now = self._clock()
        if begin > now + _LEEWAY:
            raise NotBelieved("its iat is still to come")
        if end - begin > _LIFETIME + 2 * _LEEWAY:
            raise NotBelieved("its exp is too far from its iat")
        if now - _LEEWAY >= end:
            raise errors.unauthenticated(
                f"What Identity-Aware Proxy says of you ({HEADER}) has expired.",
                reason="expired-sign-in",
                by_token=False,
            )
        return claims


def _time(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int:
        raise NotBelieved(f"its {name} is no time")
    return value


def _person(claims: Mapping[str, Any]) -> Person:
    """Refusal (403) for whoever has no account of Google's."""
    subject, email, hosted = (claims.get(name) for name in ("sub", "email", "hd"))
    if not isinstance(subject, str) or not subject.startswith(_GOOGLE):
        raise errors.forbidden(
            "You are signed in with an account that is not Google's own, and this proxy knows only those.",
            reason="no-role",
        )
    # IAP's other headers have the prefix here too.
    bare = email.removeprefix(_GOOGLE) if isinstance(email, str) else None
    person = Person.of({"sub": subject, "email": bare})
    # Anybody may have a private account with an address of a domain, and keep it after they have left. `hd` is there
    # if the account is the domain's own. Service accounts have none; Google alone gives out their addresses.
    if person.domain.lower().endswith(_SERVICE_ACCOUNTS):
        return person
    return person._replace(domain=hosted if isinstance(hosted, str) and hosted.isascii() else "")
