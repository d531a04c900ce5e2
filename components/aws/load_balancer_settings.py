"""Settings of the load balancer: address, HTTPS, sign-in, WAF and access logs."""

import ipaddress
from collections.abc import Iterator

from pydantic import Field

from ..validation import Cidr, Host, Text, ValidatedArgs
from .types import CertificateArn, ZoneId


class DomainSettings(ValidatedArgs):
    """A DNS name in Route 53 with a new ACM certificate."""

    name: Host
    """The DNS name of the proxy, such as mlflow.example.com."""
    zone_id: ZoneId
    """ID of the public Route 53 hosted zone that validates the certificate and holds the DNS record."""
    private_zone_id: ZoneId | None = None
    """ID of a private hosted zone that holds the DNS record instead, for an internal load balancer."""


class OidcSettings(ValidatedArgs):
    """Browser sign-in with OpenID Connect at the load balancer."""

    issuer: Text
    """Issuer URL of the identity provider, exactly as in its tokens, such as https://login.example.com."""
    authorization_endpoint: Text
    """Authorization endpoint of the provider (https://)."""
    token_endpoint: Text
    """Token endpoint of the provider (https://)."""
    user_info_endpoint: Text
    """UserInfo endpoint of the provider (https://)."""
    client_id: Text
    """OAuth client ID. Set the client secret as the config secret `mlflow:awsOidcClientSecret`."""
    scope: Text = "openid email profile"
    """Scopes to request, separated by spaces; must include openid."""
    groups_claim: Text = "groups"
    """Claim with the list of the user's groups."""
    session_hours: int = Field(default=12, ge=1, le=168)
    """Maximum session duration in hours."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for each endpoint that is not HTTPS, and for a scope without openid."""
        for name in ("issuer", "authorization_endpoint", "token_endpoint", "user_info_endpoint"):
            if not getattr(self, name).startswith("https://"):
                yield name, f"got {getattr(self, name)!r}, expected an https:// URL."
        if "openid" not in self.scope.split():
            yield "scope", f"got {self.scope!r}, expected a list of scopes that includes openid."


class LoadBalancerSettings(ValidatedArgs):
    """The Application Load Balancer in front of the proxy."""

    production_defaults = {"waf": True, "access_log_retention_days": 365}

    public: bool = False
    """Make the load balancer reachable from the internet; requires HTTPS."""
    allow_http: bool = False
    """Allow an internal load balancer without HTTPS in production: tokens are sent in plain text within the VPC."""
    allowed_cidrs: list[Cidr] = []
    """Client IP ranges. Default: the VPC's range for an internal load balancer, 0.0.0.0/0 for a public one."""
    certificate_arn: CertificateArn | None = None
    """Use an existing ACM certificate for HTTPS."""
    host_name: Host | None = None
    """A host name of `certificateArn`; you create its DNS record. Without it, outputs contain the load balancer's own
    DNS name, which the certificate does not cover."""
    domain: DomainSettings | None = None
    """Create a certificate and a DNS record in Route 53."""
    oidc: OidcSettings | None = None
    """Enable browser sign-in. Clients with tokens use the same URL."""
    waf: bool = False
    """Attach an AWS WAF web ACL with AWS managed rules, adjusted to MLflow's requests."""
    rate_limit_per_ip: int = Field(default=6000, ge=100, le=2000000)
    """WAF: maximum number of requests per client IP address in 5 minutes."""
    access_log_retention_days: int = Field(default=30, ge=1, le=3650)
    """Retention of the load balancer's access logs in days."""

    @property
    def https(self) -> bool:
        """Whether the load balancer has a certificate."""
        return self.certificate_arn is not None or self.domain is not None

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for each invalid combination of address, certificate, sign-in and WAF settings."""
        if self.certificate_arn is not None and self.domain is not None:
            yield "certificate_arn", "set either certificateArn or domain, not both."
        if self.host_name is not None and self.certificate_arn is None:
            yield "host_name", "requires certificateArn; with domain, the host name is domain.name."
        if self.public and not self.https:
            yield "public", "a public load balancer requires HTTPS: set certificateArn or domain."
        if self.oidc is not None and not self.https:
            yield "oidc", "sign-in at the load balancer requires HTTPS: set certificateArn or domain."
        if self.domain is not None and self.domain.private_zone_id is not None and self.public:
            yield "domain.private_zone_id", "a public load balancer needs its DNS record in the public zone: remove it."
        if not self.waf and self.rate_limit_per_ip != type(self).model_fields["rate_limit_per_ip"].default:
            yield "rate_limit_per_ip", "requires WAF: set waf to true."
        for cidr in self.allowed_cidrs:
            try:
                ipaddress.ip_network(cidr)
            except ValueError as error:
                yield "allowed_cidrs", f"{error}."
