"""OIDC sign-in at the load balancer: the listener rules and their actions for each request."""

import functools
from collections.abc import Mapping

import pytest

from components import proxy_environment
from preview.graph import Graph
from proxy_app.routing import MLFLOW_ROUTES

from .helpers import only
from .listener_rules import RULE, actions_for, listener_rules
from .test_load_balancer import DOMAIN, OIDC, outputs_of, record_load_balancer

LISTENER = "aws:lb/listener:Listener"
TOKENS = ("Bearer mlp_k3v9x2ab_secret", "bearer mlp_k3v9x2ab_secret", "Basic bWU6bWxnXw==")
# The templates serve as paths: a parameter such as {run_id} is one path segment.
ROUTES = sorted({route.template for route in MLFLOW_ROUTES if not route.template.startswith("/ajax-api/")})


@functools.cache
def graph() -> Graph:
    return record_load_balancer(domain=DOMAIN, oidc=OIDC)


def action_for(path: str, headers: Mapping[str, str] | None = None) -> str:
    """The listener's action for a request without a session cookie: forward, authenticate or deny."""
    actions = actions_for(graph(), "proxy-https", "GET", path, headers or {})
    first = min(actions, key=lambda action: action["order"])
    return first["authenticateOidc"]["onUnauthenticatedRequest"] if "authenticateOidc" in first else first["type"]


def test_route_table_has_api_graphql_and_version_routes() -> None:
    assert len(ROUTES) > 100
    assert {"/api/2.0/mlflow/runs/create", "/graphql", "/version"} <= set(ROUTES)


@pytest.mark.parametrize("token", TOKENS)
def test_requests_with_a_token_are_forwarded(token: str) -> None:
    assert {action_for(path, {"Authorization": token}) for path in ["/", *ROUTES]} == {"forward"}


def test_api_and_health_requests_without_a_token_are_forwarded() -> None:
    clients = [path for path in ROUTES if path.startswith(("/api/", "/v1/")) or path in {"/version", "/health"}]
    assert {action_for(path) for path in [*clients, proxy_environment.HEALTH, proxy_environment.READY]} == {"forward"}


def test_ui_data_requests_without_a_session_are_denied() -> None:
    ajax_paths = [path.replace("/api/", "/ajax-api/", 1) for path in ROUTES if path.startswith("/api/")]
    other_paths = [path for path in ROUTES if path.startswith(("/ajax-api/", "/graphql", "/gateway/"))]
    assert {action_for(path) for path in [*ajax_paths, *other_paths]} == {"deny"}


@pytest.mark.parametrize("path", ["/", "/get-artifact", "/static-files/index.html", "/proxy/ui-link", "/apifoo"])
def test_page_requests_without_a_session_are_redirected_to_sign_in(path: str) -> None:
    assert action_for(path) == "authenticate"


def test_other_authorization_scheme_does_not_skip_sign_in() -> None:
    assert action_for("/", {"Authorization": "Digest username=me"}) == "authenticate"


def test_last_action_of_every_rule_forwards_to_the_proxy() -> None:
    proxies = only(graph(), "aws:lb/targetGroup:TargetGroup").outputs["arn"]
    all_actions = [rule.inputs["actions"] for rule in listener_rules(graph(), "proxy-https")]
    all_actions.append(only(graph(), LISTENER, "proxy-https").inputs["defaultActions"])
    for actions in all_actions:
        assert [action["order"] for action in actions] == [1, 2][: len(actions)]
        assert actions[-1]["targetGroupArn"] == proxies


def test_rules_are_within_the_limits_of_a_load_balancer() -> None:
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
    assert {rule.inputs["listenerArn"] for rule in graph().of(RULE)} == {
        only(graph(), LISTENER, name).outputs["arn"] for name in ("proxy-http", "proxy-https")
    }
    for rule in graph().of(RULE):
        values = [
            value for condition in rule.inputs["conditions"] for kind in condition.values() for value in kind["values"]
        ]
        assert len(values) <= 5
        assert sum(value.count("*") + value.count("?") for value in values) <= 6


def test_pages_and_ui_data_requests_share_one_session() -> None:
    listener = only(graph(), LISTENER, "proxy-https")
    actions = [listener.inputs["defaultActions"], only(graph(), RULE, "proxy-ui-requests-rule").inputs["actions"]]
    page, ui_request = ({**steps[0]["authenticateOidc"], "onUnauthenticatedRequest": ""} for steps in actions)
    assert page == ui_request
    assert page["sessionTimeout"] == 12 * 3600
    assert page["issuer"] == OIDC["issuer"]


def test_proxy_environment_has_alb_arn_issuer_client_id_and_groups_claim() -> None:
    environment = outputs_of(domain=DOMAIN, oidc={**OIDC, "groups_claim": "cognito:groups"})["proxy_environment"]
    assert environment["MLFLOW_PROXY_ALB_ARN"] == only(graph(), "aws:lb/loadBalancer:LoadBalancer").outputs["arn"]
    assert environment["MLFLOW_PROXY_ALB_ISSUER"] == OIDC["issuer"]
    assert environment["MLFLOW_PROXY_ALB_CLIENT_ID"] == "mlflow"
    assert environment["MLFLOW_PROXY_ALB_GROUPS_CLAIM"] == "cognito:groups"


def test_https_listener_has_no_rules_without_oidc() -> None:
    assert listener_rules(record_load_balancer(domain=DOMAIN), "proxy-https") == []
