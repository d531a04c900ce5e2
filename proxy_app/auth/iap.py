"""Users and service accounts authenticated by Identity-Aware Proxy's header ``x-goog-iap-jwt-assertion``.

The header is a JWT signed with ES256 by a key of one set for all of Google's customers; only ``aud`` identifies the
application. Users and service accounts have the same claims: ``email``, and ``sub`` with the account's provider as its
prefix. Groups are not included. IAP removes such headers from the client's request; a client that bypasses IAP can only
replay an assertion that IAP has signed before.

https://cloud.google.com/iap/docs/signed-headers-howto
https://cloud.google.com/iap/docs/identity-howto
"""

import contextlib
import dataclasses
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from .. import errors
from ..setting_table import Problem, SettingsError, SettingTable, setting
from ..setting_values import keys_url, positive_seconds
from . import Authenticator, Principal, Role
from .role_rules import RoleRules, RoleRulesSettings, User, parse

if TYPE_CHECKING:
    from ..context import RequestContext
    from ..routing import Endpoint
    from ..settings import Settings

HEADER = "x-goog-iap-jwt-assertion"
_KEYS_URL = "https://www.gstatic.com/iap/verify/public_key-jwk"
_ISSUER = "https://cloud.google.com/iap"
# No padding (RFC 7515), and r and s of 32 bytes each.
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}")
# Both as documented: the first for clock skew, the second as the longest lifetime of an assertion.
_LEEWAY, _MAX_LIFETIME = 30, 600
# The prefix of accounts of Google itself. Other identity providers may not verify addresses.
_GOOGLE = "accounts.google.com:"
_SERVICE_ACCOUNT_DOMAIN = ".iam.gserviceaccount.com"


# A project ID may begin with an organization's domain.
_IAP_AUDIENCE = re.compile(r"/projects/[1-9]\d*/apps/([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]", re.ASCII)


def _audience(text: str) -> str:
    if text and not _IAP_AUDIENCE.fullmatch(text):
        raise ValueError("/projects/NUMBER/apps/PROJECT_ID, such as /projects/123456789012/apps/my-project")
    return text


@dataclasses.dataclass(frozen=True, kw_only=True)
class IapSettings(SettingTable):
    """Identity-Aware Proxy."""

    title = "Identity-Aware Proxy"

    iap_audience: str = setting(
        "MLFLOW_PROXY_IAP_AUDIENCE",
        "",
        "Audience of Identity-Aware Proxy's assertions, /projects/NUMBER/apps/PROJECT_ID: every request needs a valid "
        "one; empty: disabled.",
        _audience,
    )
    iap_keys_url: str = setting(
        "MLFLOW_PROXY_IAP_KEYS_URL",
        "",
        "URL (https://) of Identity-Aware Proxy's public keys, a JWK set; empty: Google's.",
        keys_url,
    )
    iap_keys_max_age: float = setting(
        "MLFLOW_PROXY_IAP_KEYS_MAX_AGE_SECONDS",
        "86400",
        "If those keys cannot be fetched again when they are stale, how long they stay valid; then requests get 503.",
        positive_seconds,
    )


class IapAuthenticator(Authenticator):
    """Authenticates requests that came through Identity-Aware Proxy to one App Engine application; rejects others."""

    label = "MLFLOW_PROXY_IAP_AUDIENCE"
    settings_table = IapSettings
    exclusive = "every request comes through Identity-Aware Proxy, which reads the Authorization header itself"
    uses_role_rules = True
    home_page = False

    @classmethod
    def enabled(cls, settings: "Settings") -> bool:
        """Whether MLFLOW_PROXY_IAP_AUDIENCE is set."""
        return bool(settings.section(IapSettings).iap_audience)

    @classmethod
    def conflicts(cls, settings: "Settings") -> Iterator[Problem]:
        """A SageMaker target, and a keys URL without effect."""
        about = ("MLFLOW_PROXY_IAP_AUDIENCE",)
        if cls.enabled(settings):
            if settings.target_arn:
                yield about, "MLFLOW_PROXY_IAP_AUDIENCE can be used with MLFLOW_PROXY_UPSTREAM_URL only."
        elif settings.section(IapSettings).iap_keys_url:
            yield (
                (*about, "MLFLOW_PROXY_IAP_KEYS_URL"),
                "MLFLOW_PROXY_IAP_KEYS_URL has no effect without MLFLOW_PROXY_IAP_AUDIENCE: set it, or remove them.",
            )

    @classmethod
    def create(cls, settings: "Settings") -> Self:
        """An authenticator with its own cache of keys. Raises SettingsError."""
        return cls(settings)

    def __init__(self, settings: "Settings", key_clock: Callable[[], float] = time.monotonic) -> None:
        """``key_clock`` is the monotonic clock of the keys' age. Raises SettingsError."""
        # Imported here, since they load OpenSSL once more: 9 MiB that a proxy without sign-in does not need.
        from .jwt_verifier import JwtVerifier
        from .signing_keys import JwkSet

        own, rules = settings.section(IapSettings), settings.section(RoleRulesSettings).role_rules
        if groups := [rule.value for rule in parse(rules) if rule.kind == "group"]:
            raise SettingsError(
                f"MLFLOW_PROXY_ROLE_RULES: group:{groups[0]} has no effect with MLFLOW_PROXY_IAP_AUDIENCE, since "
                "Identity-Aware Proxy's assertions name no groups: use email: and domain: rules."
            )
        self._keys = JwkSet(
            own.iap_keys_url or _KEYS_URL, settings.ca_bundle, key_clock, max_stale=own.iap_keys_max_age
        )
        self._verifier = JwtVerifier(
            self._keys,
            issuer=_ISSUER,
            audience=own.iap_audience,
            audience_setting="MLFLOW_PROXY_IAP_AUDIENCE",
            required=("iss", "aud", "iat", "exp"),
            leeway=_LEEWAY,
            max_lifetime=_MAX_LIFETIME + 2 * _LEEWAY,
        )
        self._rules = RoleRules(rules)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Fetch the keys now and when they are stale. Without keys the proxy starts and is not ready."""
        async with self._keys.running():
            yield

    async def probe(self) -> None:
        """Raise ApiError 503 without keys, or with ones that are too old."""
        from .signing_keys import keys_unavailable

        if not self._keys.ready:
            raise keys_unavailable()

    def endpoints(self) -> "Iterable[Endpoint]":
        """``/health`` for Google's health checks, which have no assertion.

        Requests with one get MLflow's ``/health``.
        """
        from ..handlers.health import plain_health
        from ..routing import Endpoint, Route

        route = Route("GET", "/health", "health", Role.PUBLIC, idempotent=True, health_check=True)
        yield Endpoint(route, plain_health, condition=_is_health_check)

    async def authenticate(self, context: "RequestContext") -> Principal:
        """The user or service account in the assertion, which every request needs.

        ApiError: 401 for a missing, invalid or expired assertion, 403 for an account that has no role, or is not
        Google's without a rule for everyone, 503 if the keys cannot be fetched.
        """
        from .jwt_verifier import ExpiredTokenError, InvalidTokenError

        tokens = context.request.headers.getall(HEADER, [])
        if not tokens:
            raise errors.unauthenticated(
                f"Requests must come through Identity-Aware Proxy: the header {HEADER} is missing.",
                reason="missing-assertion",
                accepts_token=False,
            )
        try:
            claims = await self._verified(tokens)
        except ExpiredTokenError:
            raise errors.unauthenticated(
                f"Identity-Aware Proxy's assertion ({HEADER}) has expired.",
                reason="expired-assertion",
                accepts_token=False,
            ) from None
        except InvalidTokenError as error:
            raise errors.unauthenticated(
                f"Identity-Aware Proxy's assertion ({HEADER}) is invalid: {error}.",
                reason="invalid-assertion",
                accepts_token=False,
            ) from None
        return self._rules.principal(_user(claims, others=self._rules.for_everyone), "iap")

    async def _verified(self, tokens: list[str]) -> Mapping[str, Any]:
        from .jwt_verifier import InvalidTokenError

        if len(tokens) > 1:
            raise InvalidTokenError("it was sent twice")
        if not _FORM.fullmatch(tokens[0]):
            raise InvalidTokenError("it is malformed")
        return await self._verifier.verify(tokens[0])


def _is_health_check(request: web.BaseRequest) -> bool:
    return HEADER not in request.headers and request.raw_path == "/health"


def _user(claims: Mapping[str, Any], *, others: bool) -> User:
    """The user in verified claims. ApiError 403 for an account that is not Google's, unless ``others``.

    Users of workforce pools, for example, have no address that Google verified.
    """
    subject, email, hosted_domain = (claims.get(name) for name in ("sub", "email", "hd"))
    if not isinstance(subject, str) or not subject.startswith(_GOOGLE):
        if others:
            return User.of({"sub": subject})
        raise errors.forbidden(
            "You are signed in with an account that is not a Google account. Such accounts need a role rule for "
            "everyone (*=viewer in MLFLOW_PROXY_ROLE_RULES).",
            reason="no-role",
        )
    # The address may have this prefix, as it has in IAP's other headers.
    address = email.removeprefix(_GOOGLE) if isinstance(email, str) else None
    user = User.of({"sub": subject, "email": address})
    # A private account may have an address of any domain and keep it after its owner has left. `hd` is there if the
    # account is the domain's own. Service accounts have none, and Google alone assigns their addresses.
    if user.domain.lower().endswith(_SERVICE_ACCOUNT_DOMAIN):
        return user
    return user._replace(domain=hosted_domain if isinstance(hosted_domain, str) and hosted_domain.isascii() else "")
