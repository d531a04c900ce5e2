"""The settings of the load balancer: where it is reached, by which name, and who signs in there."""

import ipaddress
from collections.abc import Iterator

from pydantic import Field

from ..validation import Cidr, Host, Text, ValidatedArgs
from .types import CertificateArn, ZoneId


class DomainArgs(ValidatedArgs):
    """A name for the proxy, with a certificate made for it."""

    name: Host
    """Such as mlflow.example.com."""
    zone_id: ZoneId
    """The public Route 53 hosted zone that proves the certificate and holds the name."""
    private_zone_id: ZoneId | None = None
    """A private hosted zone that holds the name instead: an internal load balancer's."""


class SsoArgs(ValidatedArgs):
    """Sign-in for browsers, by OpenID Connect at the load balancer."""

    issuer: Text
    """The provider's issuer, as in its tokens, such as https://login.example.com."""
    authorization_endpoint: Text
    """https:// URL where people sign in."""
    token_endpoint: Text
    """https:// URL where the load balancer trades the code for tokens."""
    user_info_endpoint: Text
    """https:// URL that tells who signed in."""
    client_id: Text
    """This deployment's id at the provider; its secret is a config secret of its own."""
    scope: Text = "openid email profile"
    """What is asked of the provider."""
    groups_claim: Text = "groups"
    """The claim that lists a person's groups."""
    session_hours: int = Field(default=12, ge=1, le=168)
    """How long a sign-in lasts."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        for name in ("issuer", "authorization_endpoint", "token_endpoint", "user_info_endpoint"):
            if not getattr(self, name).startswith("https://"):
                yield name, f"{getattr(self, name)!r} is given; allowed is an https:// URL."
        if "openid" not in self.scope.split():
            yield "scope", f"{self.scope!r} is given; it has to name openid."


class EdgeArgs(ValidatedArgs):
    """The load balancer: where it is reached, and how."""

    production_defaults = {"waf": True, "access_log_days": 365}

    public: bool = False
    """Reachable from the internet: with HTTPS and authentication only."""
    allow_http: bool = False
    """In production, an internal load balancer without HTTPS: tokens travel in plain text in the VPC."""
    allowed_cidrs: list[Cidr] = []
    """Who may connect; none: an internal one's own VPC, a public one's whole internet."""
    certificate_arn: CertificateArn | None = None
    """HTTPS by an ACM certificate that is there."""
    host_name: Host | None = None
    """The certificate's name that your DNS leads here; none: outputs name the load balancer, which no client trusts."""
    domain: DomainArgs | None = None
    """HTTPS by a new certificate for a name in Route 53."""
    idle_timeout: int = Field(default=180, ge=60, le=4000)
    """Seconds after which the load balancer gives up a silent connection; MLflow's clients wait 120."""
    sso: SsoArgs | None = None
    """Sign-in for browsers; clients with tokens use the same URL."""
    waf: bool = False
    """AWS WAF in front, with AWS's managed rules tuned for MLflow's bodies."""
    requests_per_address: int = Field(default=6000, ge=100, le=2000000)
    """WAF: requests that one address may send in five minutes."""
    access_log_days: int = Field(default=30, ge=1, le=3650)
    """How long the load balancer's access logs are kept."""

    @property
    def https(self) -> bool:
        """Whether there is a certificate."""
        return self.certificate_arn is not None or self.domain is not None

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if self.certificate_arn is not None and self.domain is not None:
            yield "certificate_arn", "give a certificate or a domain, not both."
        if self.host_name is not None and self.certificate_arn is None:
            yield "host_name", "it belongs to a certificate that is there: give certificateArn, too; domain has a name."
        if self.public and not self.https:
            yield "public", "true is given; it needs HTTPS: set certificateArn, or domain."
        if self.sso is not None and not self.https:
            yield "sso", "sign-in at the load balancer needs HTTPS: set certificateArn, or domain."
        if self.domain is not None and self.domain.private_zone_id is not None and self.public:
            yield "domain.private_zone_id", "a public load balancer's name belongs in the public zone."
        if not self.waf and self.requests_per_address != type(self).model_fields["requests_per_address"].default:
            yield "requests_per_address", "it is WAF's: set waf."
        for cidr in self.allowed_cidrs:
            try:
                ipaddress.ip_network(cidr)
            except ValueError as error:
                yield "allowed_cidrs", f"{error}."
