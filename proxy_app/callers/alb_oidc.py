"""Callers whom an Application Load Balancer of AWS's has signed in, by its header ``x-amzn-oidc-data``.

It is a JWT, signed by ES256, whose base64url parts are padded with ``=``. In its header stand ``signer`` (the load
balancer), ``iss``, ``client`` and ``exp`` beside ``kid``; its claims are what the provider's userinfo says, and real
ones have ``iss`` and ``exp`` too. One host has the keys of all load balancers of a region, anybody's, so a signature
that holds does not say yet that it is ours. Where a listener's rule signs nobody in, the header is the caller's own.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
https://aws.amazon.com/blogs/networking-and-content-delivery/security-best-practices-when-using-alb-authentication
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import jwt
from aiohttp import web

from .. import errors
from ..settings import Settings, SettingsError
from . import Caller
from .public_keys import PublicKeys
from .role_rules import RoleRules

_ARN = re.compile(
    r"arn:([a-z-]+):elasticloadbalancing:([a-z0-9-]+):\d{12}:loadbalancer/app/[\w-]+/[0-9a-f]+",
    re.ASCII,
)
# It becomes a part of a URL.
_KEY_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_LEEWAY = 30.0
_JWS = jwt.PyJWS(algorithms=["ES256"])


def keys_url(alb_arn: str, instead: str = "") -> str:
    """Where the public keys of this load balancer's region are, if not ``instead``. Raises SettingsError."""
    found = _ARN.fullmatch(alb_arn)
    if found is None:
        raise SettingsError(
            f"GATE_ALB_ARN: {alb_arn!r} is not the ARN of an Application Load Balancer, such as "
            "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/mlflow/50dc6c495c0c9188."
        )
    partition, region = found.groups()
    if instead:
        return instead
    if partition == "aws":
        return f"https://public-keys.auth.elb.{region}.amazonaws.com"
    if partition == "aws-us-gov":
        return f"https://s3-{region}.amazonaws.com/aws-elb-public-keys-prod-{region}"
    raise SettingsError(f"GATE_ALB_ARN: where {partition} has its public keys is not known; set GATE_OIDC_KEYS_URL.")


class AlbCallers:
    """Recognises who has signed in at one load balancer, as one client of one issuer."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        """Raises SettingsError."""
        self._keys = PublicKeys(keys_url(settings.alb_arn, settings.oidc_keys_url), settings.ca_bundle)
        self._rules = RoleRules(settings.role_rules, settings.oidc_groups_claim)
        self._issuer = settings.oidc_issuer
        self._expected = (
            ("alg", "ES256", "ES256"),
            ("signer", settings.alb_arn, "GATE_ALB_ARN"),
            ("iss", settings.oidc_issuer, "GATE_OIDC_ISSUER"),
            ("client", settings.oidc_client_id, "GATE_OIDC_CLIENT_ID"),
        )
        self._clock = clock

    async def recognise(self, request: web.BaseRequest) -> Caller | None:
        shown = request.headers.get("x-amzn-oidc-data")
        return None if shown is None else self._rules.caller(await self._claims(shown), "alb")

    async def _claims(self, shown: str) -> Mapping[str, Any]:
        """What is signed. Refusal (401) if anything is wrong with it, (503) if its key cannot be had now."""
        try:
            header = _JWS.get_unverified_header(shown)
        except (jwt.InvalidTokenError, ValueError):
            raise _refused("it cannot be read") from None
        # What takes no key goes first: nobody fetches one for what fails here.
        for field, value, what in self._expected:
            if header.get(field) != value:
                raise _refused(f"its {field} is not {what}")
        self._refuse_ended(header.get("exp"))
        key_id = header.get("kid", "")
        if not _KEY_ID.fullmatch(key_id):
            raise _refused("its kid cannot be a key's id")
        key = await self._keys.find(key_id)
        if key is None:
            raise _refused("its kid names no key")
        try:
            said: Any = json.loads(_JWS.decode(shown, key, algorithms=["ES256"]))
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise _refused("its signature does not hold") from None
        if not isinstance(said, dict):
            raise _refused("its claims cannot be read")
        claims = cast("dict[str, Any]", said)
        if claims.get("iss", self._issuer) != self._issuer:
            raise _refused("its claims are of another issuer")
        if "exp" in claims:
            self._refuse_ended(claims["exp"])
        return claims

    def _refuse_ended(self, end: object) -> None:
        if type(end) is not int:
            raise _refused("its exp is no time")
        if self._clock() - _LEEWAY >= end:
            raise errors.unauthenticated(
                "What the load balancer says of your sign-in (x-amzn-oidc-data) has expired.", reason="expired-sign-in"
            )


def _refused(why: str) -> errors.Refusal:
    return errors.unauthenticated(
        f"What the load balancer says of your sign-in (x-amzn-oidc-data) is refused: {why}.", reason="bad-sign-in"
    )
