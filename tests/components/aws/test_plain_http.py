"""Port 80 of a load balancer with a certificate: what it redirects, and the error for everything else."""

import json
from typing import Any

import pytest

from preview.graph import Graph
from proxy_app.routing import MLFLOW_ROUTES

from .listener_rules import RULE, actions_for
from .test_load_balancer import CONFIGURATIONS, record_load_balancer

# Chromium's and Firefox's, and those of requests, curl and MLflow's UI.
BROWSERS = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "text/html",
)
CLIENTS = ("*/*", "application/json", "application/json, text/plain, */*", None)
HTTPS = [name for name, settings in CONFIGURATIONS.items() if settings]


def action(graph: Graph, method: str, path: str, accept: str | None) -> dict[str, Any]:
    headers = {} if accept is None else {"Accept": accept}
    (only_action,) = actions_for(graph, "proxy-http", method, path, headers)
    return only_action


@pytest.mark.parametrize("configuration", HTTPS)
@pytest.mark.parametrize("accept", BROWSERS)
def test_front_page_of_a_browser_is_redirected_to_https(configuration: str, accept: str) -> None:
    graph = record_load_balancer(**CONFIGURATIONS[configuration])
    redirect = {"statusCode": "HTTP_301", "protocol": "HTTPS", "port": "443"}
    assert action(graph, "GET", "/", accept) == {"type": "redirect", "redirect": redirect}


@pytest.mark.parametrize("configuration", HTTPS)
def test_no_other_request_is_redirected_or_forwarded(configuration: str) -> None:
    graph = record_load_balancer(**CONFIGURATIONS[configuration])
    others = [("GET", "/", accept) for accept in CLIENTS]
    others += [("POST", "/", accept) for accept in (*BROWSERS, *CLIENTS)]
    others += [
        (route.method, route.template, accept)
        for route in MLFLOW_ROUTES
        for accept in (*BROWSERS, *CLIENTS)
        if route.template != "/"
    ]
    assert len(others) > 500
    assert {action(graph, *request)["type"] for request in others} == {"fixed-response"}


def test_error_names_https_and_the_exposed_token_in_mlflow_s_format() -> None:
    response = action(
        record_load_balancer(**CONFIGURATIONS["public-domain"]), "POST", "/api/2.0/mlflow/runs/create", None
    )["fixedResponse"]
    assert response["contentType"] == "application/json"
    assert response["statusCode"] == "400"
    # The limit of a fixed response.
    assert len(response["messageBody"]) <= 1024
    error = json.loads(response["messageBody"])
    # As MLflow's client shows it.
    shown = f"{error['error_code']}: {error['message']}"
    assert shown.startswith("BAD_REQUEST: ")
    assert "https://" in shown
    assert "revoke" in shown


def test_load_balancer_without_a_certificate_forwards_all_requests() -> None:
    graph = record_load_balancer()
    assert graph.of(RULE) == []
    assert action(graph, "POST", "/api/2.0/mlflow/runs/create", None)["type"] == "forward"
