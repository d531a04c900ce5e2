"""Invariants of every stack, on either cloud, with any settings."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pytest

from components import AwsMlflowProxy, GcpMlflow, SettingsError
from preview.graph import SECRET, Graph
from preview.mock_outputs import resource_outputs
from preview.recorder import record

from .aws import scenarios as aws
from .gcp import scenarios as gcp
from .graph_queries import transitive_dependencies
from .scenario import Scenario, project_program, run

SCENARIOS = (*aws.SCENARIOS, *gcp.SCENARIOS)
every_stack = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"{scenario.cloud}-{scenario.name}")
COMPONENTS = ("mlflow:index:AwsMlflowProxy", "mlflow:index:GcpMlflow")
DELETION_PROTECTION = "mlflow:index:DeletionProtection"
RANDOM = "random:index/randomPassword:RandomPassword"


# -- names and providers


@every_stack
def test_every_name_begins_with_the_names_of_its_component_and_of_its_parent(scenario: Scenario) -> None:
    # Then a resource inherits the aliases of a renamed component: pulumi, inheritedChildAlias in step_generator.go.
    graph = scenario.graph()
    for resource in graph.resources:
        if resource.type in COMPONENTS or resource.type.startswith("pulumi:providers:"):
            continue
        parent, component = (list(graph.ancestors(resource))[index] for index in (0, -1))
        assert component.type in COMPONENTS, resource.urn
        assert parent.name == component.name or parent.custom or parent.type == "mlflow:aws:PrivateBucket", resource.urn
        assert f"{resource.name}-".startswith(f"{parent.name}-"), resource.urn
        assert f"{resource.name}-".startswith(f"{component.name}-"), resource.urn


@every_stack
def test_program_logs_no_messages_such_as_deprecation_warnings(scenario: Scenario) -> None:
    assert scenario.graph().messages == []


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_explicit_providers_are_used_by_every_resource_and_call(cloud: str) -> None:
    (scenario,) = [
        candidate for candidate in SCENARIOS if (candidate.cloud, candidate.name) == (cloud, "explicit-providers")
    ]
    graph = scenario.graph()
    providers = {cloud: "mine", "random": "mine-random", "docker-build": "mine-docker"}
    for resource in graph.resources:
        package = resource.type.split(":")[0]
        if resource.custom and package != "pulumi":
            assert resource.provider.rpartition("::")[0].endswith(f"::{providers[package]}"), resource.urn
    assert graph.calls
    for call in graph.calls:
        assert call.provider.rpartition("::")[0].endswith("::mine"), call.token


# -- secrets


@every_stack
def test_no_resource_call_output_or_message_contains_a_secret_in_plain_text(scenario: Scenario) -> None:
    graph = scenario.graph()
    # Results of calls come from the cloud and are left out.
    text = json.dumps([dataclasses.asdict(resource) for resource in graph.resources])
    text += json.dumps([graph.outputs, [[call.token, call.args] for call in graph.calls], graph.messages])
    for secret in _secrets(graph):
        assert secret not in text


def _secrets(graph: Graph) -> set[str]:
    """The mock values of random passwords, and the client secrets in the scenarios' configs."""
    passwords = {resource_outputs(RANDOM, password.name, password.inputs)[1]["result"] for password in graph.of(RANDOM)}
    return {*passwords, aws.OIDC_CLIENT_SECRET, gcp.OAUTH_SECRET}


def test_scenarios_of_both_clouds_have_passwords() -> None:
    # Not each one: IAM database authentication needs none.
    assert {scenario.cloud for scenario in SCENARIOS if scenario.graph().of(RANDOM)} == {"aws", "gcp"}


@every_stack
def test_random_passwords_and_registry_passwords_are_secret(scenario: Scenario) -> None:
    graph = scenario.graph()
    for password in graph.of(RANDOM):
        assert password.outputs["result"] == SECRET
    for image in graph.of("docker-build:index:Image"):
        assert [registry["password"] for registry in image.inputs["registries"]] == [SECRET]


# -- destroy


@every_stack
def test_dependencies_have_no_cycle(scenario: Scenario) -> None:
    graph = scenario.graph()
    needed = {
        resource.urn: {*resource.dependencies, resource.parent, resource.deleted_with} - {""}
        for resource in graph.resources
    }
    ordered: set[str] = {graph.stack_urn}
    while len(ordered) <= len(graph.resources):
        ready = {urn for urn, others in needed.items() if urn not in ordered and others <= ordered}
        assert ready, f"there is a dependency cycle among {[urn for urn in needed if urn not in ordered]}"
        ordered |= ready


@every_stack
def test_deletion_protection_is_deleted_before_every_other_resource_of_its_component(scenario: Scenario) -> None:
    graph = scenario.graph()
    for component in [resource for resource in graph.resources if resource.type in COMPONENTS]:
        (protection,) = [child for child in graph.children(component.urn) if child.type == DELETION_PROTECTION]
        # A component without children is an entry of the state only.
        own = {
            resource.urn
            for resource in graph.resources
            if component in graph.ancestors(resource) and (resource.custom or graph.children(resource.urn))
        }
        assert own - transitive_dependencies(graph, protection) == set()


@every_stack
def test_deletion_protection_is_protected_if_any_resource_of_its_component_is(scenario: Scenario) -> None:
    graph = scenario.graph()
    for protection in graph.of(DELETION_PROTECTION):
        (component,) = graph.ancestors(protection)
        others = [
            resource
            for resource in graph.resources
            if resource != protection and component in graph.ancestors(resource)
        ]
        assert protection.protect == any(resource.protect for resource in others)


# -- two components in one stack


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_two_components_in_one_stack_do_not_depend_on_each_other(cloud: str) -> None:
    (scenario,) = [
        candidate for candidate in SCENARIOS if (candidate.cloud, candidate.name) == (cloud, "two-in-one-stack")
    ]
    graph = scenario.graph()
    first, second = [resource for resource in graph.resources if resource.type in COMPONENTS]
    assert (first.name, second.name) == ("first", "second")
    for component in (first, second):
        own = {component.urn, *(resource.urn for resource in graph.resources if component in graph.ancestors(resource))}
        assert len(own) > 1
        for resource in graph.resources:
            if resource.urn in own:
                assert set(resource.dependencies) <= own, resource.urn


def test_components_of_both_clouds_with_the_same_name_have_separate_urns() -> None:
    def program() -> None:
        AwsMlflowProxy("mlflow", {})
        args: Any = {**gcp.MINIMAL, "oauth_client_secret": "x"}
        GcpMlflow("mlflow", args)

    # The recorder refuses a URN that is taken.
    graph = record(program)
    assert [resource.type for resource in graph.resources if resource.type in COMPONENTS] == list(COMPONENTS)


def test_a_stack_has_one_cloud_so_that_outputs_keep_their_names() -> None:
    def program() -> None:
        with pytest.raises(pulumi.RunError, match="mlflow:aws, mlflow:gcp: both are set"):
            project_program()

    graph = run({**aws.config({}), **gcp.config({})}, program)
    assert (graph.resources, graph.outputs) == ([], {})


@pytest.mark.parametrize("scenario", [scenario for scenario in SCENARIOS if scenario.program is None])
def test_outputs_of_the_stack_have_the_names_of_the_components_outputs(scenario: Scenario) -> None:
    (component,) = [resource for resource in scenario.graph().resources if resource.type in COMPONENTS]
    assert set(scenario.graph().outputs) == set(component.outputs)


# -- invalid settings


@pytest.mark.parametrize(
    ("component", "args"),
    [
        (AwsMlflowProxy, {"colour": "red"}),
        (AwsMlflowProxy, {"network": {"azCount": 9}}),
        (AwsMlflowProxy, {"loadBalancer": {"public": True}}),
        (AwsMlflowProxy, {"image": {"architecture": "amd64"}, "service": {"instance_type": "t4g.small"}}),
        (AwsMlflowProxy, {"loadBalancer": {"oidc": {"issuer": "https://login.example.com"}}}),
        (GcpMlflow, {}),
        (GcpMlflow, {**gcp.MINIMAL, "colour": "red"}),
        (GcpMlflow, {**gcp.MINIMAL, "oauth_client_secret": "x", "region": "europe-west"}),
        (GcpMlflow, {**gcp.MINIMAL, "oauth_client_secret": "x", "app": {"location": "europe-west1"}}),
    ],
    ids=str,
)
def test_invalid_settings_register_no_resource_and_make_no_call(
    component: Callable[..., object], args: Mapping[str, Any]
) -> None:
    def program() -> None:
        with pytest.raises(SettingsError, match=r"proxy\."):
            component("proxy", args)

    graph = record(program)
    assert (graph.resources, graph.calls) == ([], [])


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (aws.config({"network": {"azCount": 9}}), r"mlflow:aws\.network\.azCount: got 9"),
        (gcp.config({"database": {"tier": "huge"}}), r"mlflow:gcp\.database\.tier: got 'huge'"),
        ({}, r"mlflow:aws, mlflow:gcp: missing: set one of them"),
    ],
    ids=str,
)
def test_project_program_reports_invalid_config_and_registers_nothing(config: Mapping[str, str], problem: str) -> None:
    def program() -> None:
        with pytest.raises(pulumi.RunError, match=problem):
            project_program()

    graph = run(config, program)
    assert (graph.resources, graph.calls) == ([], [])


@pytest.mark.parametrize("component", [AwsMlflowProxy, GcpMlflow])
@pytest.mark.parametrize("name", ["", "a" * 17, "9a"])
def test_component_name_must_have_1_to_16_valid_characters(component: Callable[..., object], name: str) -> None:
    def program() -> None:
        with pytest.raises(ValueError, match="1 to 16"):
            component(name, dict(gcp.MINIMAL) if component is GcpMlflow else {})

    assert record(program).resources == []
