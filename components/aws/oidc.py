"""Browser sign-in with OpenID Connect at the load balancer. Clients with tokens use the same URL.

Requests that match no listener rule are browser pages: without a session, they are redirected to the provider.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import pulumi
from pulumi_aws import lb

from .. import proxy_environment
from .deployment import Deployment
from .load_balancer_settings import OidcSettings

# A rule has at most five values and six wildcards.
_TOKENS = ("Bearer *", "Basic *")
# API paths for clients. Without a token, the proxy responds with 401.
_API = ("/api/*", "/v1/*", "/version", "/health*", proxy_environment.READY)
# Paths that MLflow's UI fetches, for which a redirect to the provider would be an invalid response. Clients of
# /gateway/ have a token.
_UI_REQUESTS = ("/ajax-api/*", "/graphql", "/gateway/*")


class _Provider(TypedDict):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    user_info_endpoint: str
    client_id: str
    client_secret: pulumi.Input[str]
    scope: str
    session_timeout: int
    session_cookie_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSignIn:
    """The identity provider and the client secret."""

    settings: OidcSettings
    client_secret: pulumi.Input[str]

    def action(self) -> lb.ListenerDefaultActionArgs:
        """The default action of the listener, before it forwards the request."""
        return lb.ListenerDefaultActionArgs(
            type="authenticate-oidc",
            order=1,
            authenticate_oidc=lb.ListenerDefaultActionAuthenticateOidcArgs(
                **self._provider(), on_unauthenticated_request="authenticate"
            ),
        )

    def rules(
        self, deployment: Deployment, listener: lb.Listener, tasks: lb.TargetGroup, parent: pulumi.Resource
    ) -> None:
        """Create the rules for requests that must not be redirected, in order of priority."""
        session = lb.ListenerRuleActionArgs(
            type="authenticate-oidc",
            order=1,
            authenticate_oidc=lb.ListenerRuleActionAuthenticateOidcArgs(
                **self._provider(), on_unauthenticated_request="deny"
            ),
        )
        rules: list[tuple[str, lb.ListenerRuleConditionArgs, list[lb.ListenerRuleActionArgs]]] = [
            ("tokens", _header("Authorization", _TOKENS), []),
            ("api", _path(_API), []),
            ("ui-requests", _path(_UI_REQUESTS), [session]),
        ]
        for number, (role, condition, first) in enumerate(rules, 1):
            forward = lb.ListenerRuleActionArgs(type="forward", order=len(first) + 1, target_group_arn=tasks.arn)
            lb.ListenerRule(
                deployment.logical_name(f"{role}-rule"),
                listener_arn=listener.arn,
                priority=number * 10,
                conditions=[condition],
                actions=[*first, forward],
                tags=deployment.tags_for(f"{role}-rule"),
                opts=pulumi.ResourceOptions(parent=parent, additional_secret_outputs=["actions"] if first else None),
            )

    def proxy_settings(self, balancer: lb.LoadBalancer) -> dict[str, pulumi.Input[str]]:
        """Environment variables with which the proxy verifies the load balancer's identity headers."""
        return {
            proxy_environment.ALB_ARN: balancer.arn,
            proxy_environment.ALB_ISSUER: self.settings.issuer,
            proxy_environment.ALB_CLIENT_ID: self.settings.client_id,
            proxy_environment.ALB_GROUPS_CLAIM: self.settings.groups_claim,
        }

    def _provider(self) -> _Provider:
        """The same for all actions: sessions of different rules share one cookie."""
        return {
            "issuer": self.settings.issuer,
            "authorization_endpoint": self.settings.authorization_endpoint,
            "token_endpoint": self.settings.token_endpoint,
            "user_info_endpoint": self.settings.user_info_endpoint,
            "client_id": self.settings.client_id,
            "client_secret": pulumi.Output.secret(self.client_secret),
            "scope": self.settings.scope,
            "session_timeout": self.settings.session_hours * 3600,
            "session_cookie_name": "mlflow-sign-in",
        }


def _header(name: str, values: Sequence[str]) -> lb.ListenerRuleConditionArgs:
    return lb.ListenerRuleConditionArgs(
        http_header=lb.ListenerRuleConditionHttpHeaderArgs(http_header_name=name, values=list(values))
    )


def _path(values: Sequence[str]) -> lb.ListenerRuleConditionArgs:
    return lb.ListenerRuleConditionArgs(path_pattern=lb.ListenerRuleConditionPathPatternArgs(values=list(values)))
