"""Sign-in at the load balancer: whose requests end at a login page, and whose never do."""

import fnmatch
import functools
from collections.abc import Mapping
from typing import Any

import pytest

from components import proxy_environment
from preview.graph import Graph
from proxy_app.routing import MLFLOW_ROUTES

from .helpers import only
from .test_load_balancer import DOMAIN, OIDC, recorded, told

LISTENER = "aws:lb/listener:Listener"
RULE = "aws:lb/listenerRule:ListenerRule"
TOKENS = ("Bearer mlp_k3v9x2ab_secret", "bearer mlp_k3v9x2ab_secret", "Basic bWU6bWxnXw==")
# A route's parameters stand for something in a path.
ROUTES = sorted({route.template for route in MLFLOW_ROUTES if not route.template.startswith("/ajax-api/")})


@functools.cache
def graph() -> Graph:
    return recorded(domain=DOMAIN, oidc=OIDC)


def fate(path: str, headers: Mapping[str, str] | None = None) -> str:
    """What the listener does with a request of somebody without a session: forward, authenticate or deny."""
    for rule in sorted(graph().of(RULE), key=lambda one: one.inputs["priority"]):
        if all(_holds(condition, path, headers or {}) for condition in rule.inputs["conditions"]):
            return _first(rule.inputs["actions"])
    return _first(only(graph(), LISTENER, "proxy-https").inputs["defaultActions"])


def _holds(condition: Mapping[str, Any], path: str, headers: Mapping[str, str]) -> bool:
    if "pathPattern" in condition:
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in condition["pathPattern"]["values"])
    shown = headers.get(condition["httpHeader"]["httpHeaderName"])
    values = [value.lower() for value in condition["httpHeader"]["values"]]
    return shown is not None and any(fnmatch.fnmatchcase(shown.lower(), value) for value in values)


def _first(actions: list[dict[str, Any]]) -> str:
    first = min(actions, key=lambda one: one["order"])
    return first["authenticateOidc"]["onUnauthenticatedRequest"] if "authenticateOidc" in first else first["type"]


def test_the_table_has_routes_of_all_kinds() -> None:
    assert len(ROUTES) > 100
    assert {"/api/2.0/mlflow/runs/create", "/graphql", "/version"} <= set(ROUTES)


@pytest.mark.parametrize("token", TOKENS)
def test_whoever_shows_a_token_is_never_sent_to_a_login_page(token: str) -> None:
    assert {fate(path, {"Authorization": token}) for path in ["/", *ROUTES]} == {"forward"}


def test_a_client_without_a_token_is_told_so_by_the_proxy() -> None:
    clients = [path for path in ROUTES if path.startswith(("/api/", "/v1/")) or path in {"/version", "/health"}]
    assert {fate(path) for path in [*clients, proxy_environment.HEALTH, proxy_environment.READY]} == {"forward"}


def test_a_page_without_a_session_gets_401_where_it_expects_data() -> None:
    twins = [path.replace("/api/", "/ajax-api/", 1) for path in ROUTES if path.startswith("/api/")]
    scripts = [path for path in ROUTES if path.startswith(("/ajax-api/", "/graphql", "/gateway/"))]
    assert {fate(path) for path in [*twins, *scripts]} == {"deny"}


@pytest.mark.parametrize("path", ["/", "/get-artifact", "/static-files/index.html", "/proxy/ui-link", "/apifoo"])
def test_a_person_without_a_session_is_asked_to_sign_in(path: str) -> None:
    assert fate(path) == "authenticate"


def test_another_scheme_is_no_token() -> None:
    assert fate("/", {"Authorization": "Digest username=me"}) == "authenticate"


def test_each_request_is_forwarded_last_to_the_proxy() -> None:
    proxies = only(graph(), "aws:lb/targetGroup:TargetGroup").outputs["arn"]
    all_actions = [one.inputs["actions"] for one in graph().of(RULE)]
    all_actions.append(only(graph(), LISTENER, "proxy-https").inputs["defaultActions"])
    for actions in all_actions:
        assert [action["order"] for action in actions] == [1, 2][: len(actions)]
        assert actions[-1]["targetGroupArn"] == proxies


def test_rules_keep_to_what_a_load_balancer_takes() -> None:
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
    for rule in graph().of(RULE):
        values = [
            value for condition in rule.inputs["conditions"] for kind in condition.values() for value in kind["values"]
        ]
        assert len(values) <= 5
        assert sum(value.count("*") + value.count("?") for value in values) <= 6


def test_a_session_holds_for_pages_and_for_what_they_fetch() -> None:
    listener = only(graph(), LISTENER, "proxy-https")
    actions = [listener.inputs["defaultActions"], only(graph(), RULE, "proxy-ui-requests-rule").inputs["actions"]]
    page, script = ({**one[0]["authenticateOidc"], "onUnauthenticatedRequest": ""} for one in actions)
    assert page == script
    assert page["sessionTimeout"] == 12 * 3600
    assert page["issuer"] == OIDC["issuer"]


def test_the_proxy_is_told_whose_word_to_check_and_by_the_names_it_knows() -> None:
    said = told(domain=DOMAIN, oidc={**OIDC, "groups_claim": "cognito:groups"})["proxy"]
    assert said["MLFLOW_PROXY_ALB_ARN"] == only(graph(), "aws:lb/loadBalancer:LoadBalancer").outputs["arn"]
    assert said["MLFLOW_PROXY_ALB_ISSUER"] == OIDC["issuer"]
    assert said["MLFLOW_PROXY_ALB_CLIENT_ID"] == "mlflow"
    assert said["MLFLOW_PROXY_ALB_GROUPS_CLAIM"] == "cognito:groups"


def test_without_sign_in_there_is_no_rule() -> None:
    assert recorded(domain=DOMAIN).of(RULE) == []
