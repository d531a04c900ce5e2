"""The enabled APIs."""

import pytest

from preview.graph import Graph, Resource, value_at

from ..scenario import Scenario
from .helpers import PROJECT, transitive_dependencies
from .scenarios import SCENARIOS

API = "gcp:projects/service:Service"
DATABASE = "gcp:sql/databaseInstance:DatabaseInstance"
# The API that the provider calls for each module of the SDK.
API_OF = {
    "appengine": "appengine",
    "cloudscheduler": "cloudscheduler",
    "artifactregistry": "artifactregistry",
    "compute": "compute",
    "kms": "cloudkms",
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
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


def enabled_apis(graph: Graph) -> set[str]:
    return {api.inputs["service"].removesuffix(".googleapis.com") for api in graph.of(API)}


def resources_other_than_apis(graph: Graph) -> list[Resource]:
    """Google Cloud resources other than the enabled APIs."""
    return [resource for resource in graph.resources if resource.type.startswith("gcp:") and resource.type != API]


@every_scenario
def test_exactly_the_required_apis_are_enabled(scenario: Scenario) -> None:
    graph = scenario.graph()
    required = {API_OF[resource.type.split(":")[1].split("/")[0]] for resource in resources_other_than_apis(graph)}
    # Google uses these for instances, the placeholder's build, clients' tokens and a private database.
    indirect = {"compute", "appengineflex", "cloudbuild", "iamcredentials"}
    if any(
        value_at(database.inputs, "settings", "ipConfiguration", "privateNetwork") for database in graph.of(DATABASE)
    ):
        indirect.add("servicenetworking")
    assert enabled_apis(graph) == required | indirect


@every_scenario
def test_resources_depend_on_their_apis(scenario: Scenario) -> None:
    graph = scenario.graph()
    for resource in resources_other_than_apis(graph):
        root = list(graph.ancestors(resource))[-1]
        api_urns = {api.urn for api in graph.of(API) if root in graph.ancestors(api)}
        assert api_urns
        assert api_urns <= transitive_dependencies(graph, resource), resource.urn


@every_scenario
def test_destroy_leaves_apis_enabled(scenario: Scenario) -> None:
    graph = scenario.graph()
    assert all(api.inputs["disableOnDestroy"] is False for api in graph.of(API))
    for component in graph.of("mlflow:index:GcpMlflow"):
        (line,) = [text for text in component.outputs["retained_on_destroy"] if text.startswith("the APIs of ")]
        assert PROJECT in line
