"""Callers whom an Application Load Balancer of AWS's has signed in, by its header ``x-amzn-oidc-data``.

It is a JWT, signed by ES256, whose base64url parts are padded with ``=``. In its header stand ``signer`` (the load
balancer), ``iss``, ``client`` and ``exp`` beside ``kid``; its claims are what the provider's userinfo says, and real
ones have ``iss`` and ``exp`` too. One host has the keys of all load balancers of a region, anybody's, so a signature
that holds does not say yet that it is ours. Where a listener's rule signs nobody in, the header is the caller's own.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
https://aws.amazon.com/blogs/networking-and-content-delivery/security-best-practices-when-using-alb-authentication
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from .. import errors
from ..setting_table import SettingsError
from ..settings import Settings
from . import Caller
from .es256 import NotBelieved, claims_of, header_of
from .public_keys import KeyFiles
from .role_rules import Person, RoleRules

_ARN = re.compile(
    r"arn:([a-z-]+):elasticloadbalancing:([a-z0-9-]+):\d{12}:loadbalancer/app/[\w-]+/[0-9a-f]+",
    re.ASCII,
)
_LEEWAY = 30.0


def keys_url(alb_arn: str, instead: str = "") -> str:
    """Where the public keys of this load balancer's region are, if not ``instead``. Raises SettingsError."""
    found = _ARN.fullmatch(alb_arn)
    if found is None:
        raise SettingsError(
            f"MLFLOW_PROXY_ALB_ARN: {alb_arn!r} is not the ARN of an Application Load Balancer, such as "
            "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/mlflow/50dc6c495c0c9188."
        )
    partition, region = found.groups()
    if instead:
        return instead
    if partition == "aws":
        return f"https://public-keys.auth.elb.{region}.amazonaws.com"
    if partition == "aws-us-gov":
        return f"https://s3-{region}.amazonaws.com/aws-elb-public-keys-prod-{region}"
    raise SettingsError(
        f"MLFLOW_PROXY_ALB_ARN: where {partition} has its public keys is not known; set MLFLOW_PROXY_OIDC_KEYS_URL."
    )


class AlbCallers:
    """Recognises who has signed in at one load balancer, as one client of one issuer."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        """Raises SettingsError."""
        self._keys = KeyFiles(keys_url(settings.alb_arn, settings.oidc_keys_url), settings.ca_bundle)
        self._rules = RoleRules(settings.role_rules)
        self._groups_claim = settings.oidc_groups_claim
        self._issuer = settings.oidc_issuer
        self._expected = (
            ("signer", settings.alb_arn, "MLFLOW_PROXY_ALB_ARN"),
            ("iss", settings.oidc_issuer, "MLFLOW_PROXY_OIDC_ISSUER"),
            ("client", settings.oidc_client_id, "MLFLOW_PROXY_OIDC_CLIENT_ID"),
        )
        self._clock = clock

    async def recognise(self, request: web.BaseRequest) -> Caller | None:
        shown = request.headers.get("x-amzn-oidc-data")
        if shown is None:
            return None
        try:
            claims = await self._claims(shown)
        except NotBelieved as why:
            raise errors.unauthenticated(
                f"What the load balancer says of your sign-in (x-amzn-oidc-data) is refused: {why}.",
                reason="bad-sign-in",
            ) from None
        return self._rules.caller(Person.of(claims, self._groups_claim), "alb")

    async def _claims(self, shown: str) -> Mapping[str, Any]:
        """What is signed. Raises NotBelieved; Refusal (401) if it has ended, (503) if its key cannot be had now."""
        header = header_of(shown)
        # What takes no key goes first: nobody fetches one for what fails here.
        for field, value, what in self._expected:
            if header.get(field) != value:
                raise NotBelieved(f"its {field} is not {what}")
        self._refuse_ended(header.get("exp"))
        claims = await claims_of(shown, self._keys)
        if claims.get("iss", self._issuer) != self._issuer:
            raise NotBelieved("its claims are of another issuer")
        if "exp" in claims:
            self._refuse_ended(claims["exp"])
        return claims

    def _refuse_ended(self, end: object) -> None:
        if type(end) is not int:
            raise NotBelieved("its exp is no time")
        if self._clock() - _LEEWAY >= end:
            raise errors.unauthenticated(
                "What the load balancer says of your sign-in (x-amzn-oidc-data) has expired.", reason="expired-sign-in"
            )
