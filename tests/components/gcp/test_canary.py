"""The canary: requests through Identity-Aware Proxy by Cloud Scheduler."""

import dataclasses
from typing import Any
from urllib.parse import urlsplit

import pytest

from components import proxy_environment
from preview.graph import Graph
from tests.components.graph_queries import only, transitive_dependencies
from tests.doubles.routes import match_route

from .log_filter import matches
from .recorded_monitoring import METRIC, default_graph
from .scenarios import SCENARIOS

JOB = "gcp:cloudscheduler/job:Job"
VERSION = "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"
ACCESS = "gcp:iap/appEngineServiceIamMember:AppEngineServiceIamMember"


def production() -> Graph:
    (scenario,) = [scenario for scenario in SCENARIOS if scenario.name == "production"]
    return scenario.graph()


def test_job_sends_a_token_for_the_oauth_client_of_identity_aware_proxy() -> None:
    graph = production()
    target = only(graph, JOB).inputs["httpTarget"]
    client_id = only(graph, "gcp:appengine/application:Application").inputs["iap"]["oauth2ClientId"]
    assert target["oidcToken"]["audience"] == client_id
    assert target["httpMethod"] == "GET"
    url = urlsplit(str(target["uri"]))
    assert f"{url.scheme}://{url.netloc}" == graph.outputs["url"]


def test_account_may_pass_identity_aware_proxy_and_has_a_role_for_the_request() -> None:
    graph = production()
    job = only(graph, JOB)
    email = job.inputs["httpTarget"]["oidcToken"]["serviceAccountEmail"]
    bindings = [binding for binding in graph.of(ACCESS) if binding.inputs["member"] == f"serviceAccount:{email}"]
    assert {binding.urn for binding in bindings} & transitive_dependencies(graph, job)
    rules = only(graph, VERSION).inputs["envVariables"][proxy_environment.ROLE_RULES].split(", ")
    assert f"email:{email}=viewer" in rules
    route = match_route("GET", urlsplit(str(job.inputs["httpTarget"]["uri"])).path)
    assert route is not None
    assert route.role.label == "viewer"


def entry(severity: str, job_id: str) -> dict[str, Any]:
    """An entry of Cloud Scheduler: https://cloud.google.com/scheduler/docs/logging."""
    labels = {"project_id": "my-project", "location": "europe-west1", "job_id": job_id}
    return {
        "logName": "projects/my-project/logs/cloudscheduler.googleapis.com%2Fexecutions",
        "severity": severity,
        "resource": {"type": "cloud_scheduler_job", "labels": labels},
        "jsonPayload": {"status": "PERMISSION_DENIED"},
    }


@pytest.mark.parametrize(
    ("severity", "job_id", "is_counted"),
    [("ERROR", "dev-mlflow-canary", True), ("INFO", "dev-mlflow-canary", False), ("ERROR", "other", False)],
)
def test_failed_executions_of_the_job_are_counted(severity: str, job_id: str, is_counted: bool) -> None:
    metric = only(default_graph(), METRIC, "mlflow-metric-canary").inputs
    assert matches(metric["filter"], entry(severity, job_id)) is is_counted


def test_stack_without_canary_has_neither_job_nor_metric() -> None:
    (scenario,) = [scenario for scenario in SCENARIOS if scenario.name == "development"]
    graph = dataclasses.replace(scenario).graph()
    assert graph.of(JOB) == []
    assert [metric.name for metric in graph.of(METRIC) if "canary" in metric.name] == []
