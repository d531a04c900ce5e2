"""The enabled APIs."""

import pytest

from preview.graph import Graph, Resource, dig

from ..scenario import Scenario
from .helpers import PROJECT, urns_needed_by
from .scenarios import SCENARIOS

SWITCH = "gcp:projects/service:Service"
DATABASE = "gcp:sql/databaseInstance:DatabaseInstance"
# The API that the provider calls for each module of the SDK.
API_OF = {
    "appengine": "appengine",
    "artifactregistry": "artifactregistry",
    "compute": "compute",
    "iap": "iap",
    "logging": "logging",
    "monitoring": "monitoring",
    "projects": "cloudresourcemanager",
    "secretmanager": "secretmanager",
    "serviceaccount": "iam",
    "servicenetworking": "servicenetworking",
    "sql": "sqladmin",
    "storage": "storage",
}
every_stack = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)


def on(graph: Graph) -> set[str]:
    return {one.inputs["service"].removesuffix(".googleapis.com") for one in graph.of(SWITCH)}


def others(graph: Graph) -> list[Resource]:
    """Google Cloud resources other than the enabled APIs."""
    return [one for one in graph.resources if one.type.startswith("gcp:") and one.type != SWITCH]


@every_stack
def test_all_required_apis_are_enabled(scenario: Scenario) -> None:
    graph = scenario.graph()
    called = {API_OF[one.type.split(":")[1].split("/")[0]] for one in others(graph)}
    # Used by Google for instances, the placeholder's build, clients' tokens and a private database.
    unseen = {"compute", "appengineflex", "cloudbuild", "iamcredentials"}
    if any(dig(one.inputs, "settings", "ipConfiguration", "privateNetwork") for one in graph.of(DATABASE)):
        unseen.add("servicenetworking")
    assert on(graph) == called | unseen


@every_stack
def test_resources_depend_on_their_apis(scenario: Scenario) -> None:
    graph = scenario.graph()
    for one in others(graph):
        above = list(graph.ancestors(one))[-1]
        switches = {other.urn for other in graph.of(SWITCH) if above in graph.ancestors(other)}
        assert switches
        assert switches <= urns_needed_by(graph, one), one.urn


@every_stack
def test_destroy_leaves_apis_enabled(scenario: Scenario) -> None:
    graph = scenario.graph()
    assert all(one.inputs["disableOnDestroy"] is False for one in graph.of(SWITCH))
    for one in graph.of("mlflow:index:GcpMlflow"):
        (said,) = [text for text in one.outputs["retained_on_destroy"] if text.startswith("the APIs of ")]
        assert PROJECT in said
