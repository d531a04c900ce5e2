"""Users who signed in at an Application Load Balancer of AWS, by its header ``x-amzn-oidc-data``.

The header is a JWT signed with ES256 whose base64url parts are padded with ``=``. Its JWT header holds ``signer`` (the
load balancer), ``iss``, ``client`` and ``exp`` beside ``kid``; its claims are those of the provider's userinfo
endpoint, and may hold ``iss`` and ``exp``. One host has the keys of all load balancers of a region, of any account, so
a valid signature alone does not prove that the load balancer is the configured one. Where a listener rule does not
authenticate, the header comes from the client.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
https://aws.amazon.com/blogs/networking-and-content-delivery/security-best-practices-when-using-alb-authentication
"""

import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from .. import errors
from ..setting_table import Problem, SettingsError, SettingTable, setting
from ..setting_values import keys_url
from . import Authenticator, Principal
from .role_rules import RoleRules, RoleRulesSettings, User

if TYPE_CHECKING:
    from ..context import RequestContext
    from ..settings import Settings

_HEADER = "x-amzn-oidc-data"
_ARN = re.compile(
    r"arn:([a-z-]+):elasticloadbalancing:([a-z0-9-]+):\d{12}:loadbalancer/app/[\w-]+/[0-9a-f]+",
    re.ASCII,
)
_LEEWAY = 30.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlbSettings(SettingTable):
    """Sign-in at an Application Load Balancer."""

    title = "Sign-in at an Application Load Balancer"

    alb_arn: str = setting(
        "MLFLOW_PROXY_ALB_ARN",
        "",
        "ARN of the Application Load Balancer whose OIDC identity headers are trusted; empty: disabled.",
    )
    alb_issuer: str = setting("MLFLOW_PROXY_ALB_ISSUER", "", "Issuer that the load balancer is configured with.")
    alb_client_id: str = setting("MLFLOW_PROXY_ALB_CLIENT_ID", "", "Client ID of the load balancer at that issuer.")
    alb_keys_url: str = setting(
        "MLFLOW_PROXY_ALB_KEYS_URL",
        "",
        "URL (https://) below which the load balancer's public keys are; empty: AWS's URL for the region of the ARN.",
        keys_url,
    )
    alb_groups_claim: str = setting(
        "MLFLOW_PROXY_ALB_GROUPS_CLAIM", "groups", "Claim that lists the groups of the user."
    )


def alb_keys_url(alb_arn: str, override: str = "") -> str:
    """The URL below which the region's public keys are, or ``override``. Raises SettingsError."""
    found = _ARN.fullmatch(alb_arn)
    if found is None:
        raise SettingsError(
            f"MLFLOW_PROXY_ALB_ARN: {alb_arn!r} is not the ARN of an Application Load Balancer, such as "
            "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/mlflow/50dc6c495c0c9188."
        )
    partition, region = found.groups()
    if override:
        return override
    if partition == "aws":
        return f"https://public-keys.auth.elb.{region}.amazonaws.com"
    if partition == "aws-us-gov":
        return f"https://s3-{region}.amazonaws.com/aws-elb-public-keys-prod-{region}"
    raise SettingsError(
        f"MLFLOW_PROXY_ALB_ARN: the URL of the public keys in {partition} is not known; set MLFLOW_PROXY_ALB_KEYS_URL."
    )


class AlbAuthenticator(Authenticator):
    """Authenticates the users of one load balancer, one issuer and one client ID."""

    label = "MLFLOW_PROXY_ALB_ARN"
    settings_table = AlbSettings
    uses_role_rules = True

    @classmethod
    def enabled(cls, settings: "Settings") -> bool:
        """Whether MLFLOW_PROXY_ALB_ARN is set."""
        return bool(settings.section(AlbSettings).alb_arn)

    @classmethod
    def conflicts(cls, settings: "Settings") -> Iterator[Problem]:
        """Missing issuer and client ID, and settings without effect."""
        own = settings.section(AlbSettings)
        client = {
            "MLFLOW_PROXY_ALB_ISSUER": own.alb_issuer,
            "MLFLOW_PROXY_ALB_CLIENT_ID": own.alb_client_id,
        }
        if own.alb_arn:
            if missing := [name for name, value in client.items() if not value]:
                yield (
                    ("MLFLOW_PROXY_ALB_ARN", *client),
                    f"MLFLOW_PROXY_ALB_ARN requires {' and '.join(missing)}.",
                )
            return
        unused = [name for name, value in {**client, "MLFLOW_PROXY_ALB_KEYS_URL": own.alb_keys_url}.items() if value]
        if unused:
            yield (
                ("MLFLOW_PROXY_ALB_ARN", *unused),
                f"{', '.join(unused)} {'has' if len(unused) == 1 else 'have'} no effect without MLFLOW_PROXY_ALB_ARN: "
                "set it, or remove them.",
            )

    @classmethod
    def create(cls, settings: "Settings") -> Self:
        """An authenticator with its own cache of keys. Raises SettingsError."""
        return cls(settings)

    def __init__(self, settings: "Settings", clock: Callable[[], float] = time.time) -> None:
        """``clock`` returns seconds since the epoch. Raises SettingsError."""
        # Imported here, since they load OpenSSL once more: 9 MiB that a proxy without sign-in does not need.
        from .jwt_verifier import JwtVerifier
        from .signing_keys import PemKeys

        own = settings.section(AlbSettings)
        keys = PemKeys(alb_keys_url(own.alb_arn, own.alb_keys_url), settings.ca_bundle)
        self._verifier = JwtVerifier(keys, leeway=_LEEWAY)
        self._rules = RoleRules(settings.section(RoleRulesSettings).role_rules)
        self._groups_claim = own.alb_groups_claim
        self._issuer = own.alb_issuer
        self._expected = (
            ("signer", own.alb_arn, "MLFLOW_PROXY_ALB_ARN"),
            ("iss", own.alb_issuer, "MLFLOW_PROXY_ALB_ISSUER"),
            ("client", own.alb_client_id, "MLFLOW_PROXY_ALB_CLIENT_ID"),
        )
        self._clock = clock

    async def authenticate(self, context: "RequestContext") -> Principal | None:
        """The user in ``x-amzn-oidc-data``; None without this header.

        ApiError: 401 for an invalid or expired assertion, 403 if no role rule matches, 503 if the key cannot be
        fetched.
        """
        from .jwt_verifier import ExpiredTokenError, InvalidTokenError

        token = context.request.headers.get(_HEADER)
        if token is None:
            return None
        try:
            claims = await self._verified(token)
        except ExpiredTokenError:
            raise errors.unauthenticated(
                f"Your sign-in at the load balancer ({_HEADER}) has expired.", reason="expired-assertion"
            ) from None
        except InvalidTokenError as error:
            raise errors.unauthenticated(
                f"The load balancer's assertion ({_HEADER}) is invalid: {error}.", reason="invalid-assertion"
            ) from None
        return self._rules.principal(User.of(claims, self._groups_claim), "alb")

    async def _verified(self, token: str) -> Mapping[str, Any]:
        from .jwt_verifier import ExpiredTokenError, InvalidTokenError, unverified_header

        header = unverified_header(token)
        # The checks without a key come first, so that no key is fetched for a token that fails them.
        for name, value, setting_name in self._expected:
            if header.get(name) != value:
                raise InvalidTokenError(f"its {name} is not {setting_name}")
        expires = header.get("exp")
        if type(expires) is not int:
            raise InvalidTokenError("its exp is not an integer")
        if self._clock() - _LEEWAY >= expires:
            raise ExpiredTokenError("it has expired")
        claims = await self._verifier.verify(token)
        if claims.get("iss", self._issuer) != self._issuer:
            raise InvalidTokenError("its claims are of another issuer")
        return claims
