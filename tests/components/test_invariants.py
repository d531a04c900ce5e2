"""What holds in every stack, on either cloud, whatever its settings."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pytest

from components import AwsMlflowProxy, GcpMlflow, SettingsError
from preview.graph import SECRET, Graph
from preview.recorder import record

from .aws import scenarios as aws
from .gcp import scenarios as gcp
from .scenario import Scenario, own_program, run

SCENARIOS = (*aws.SCENARIOS, *gcp.SCENARIOS)
every_stack = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: f"{one.cloud}-{one.name}")
COMPONENTS = ("mlflow:index:AwsMlflowProxy", "mlflow:index:GcpMlflow")
RANDOM = "random:index/randomPassword:RandomPassword"


# -- names and places


@every_stack
def test_every_resource_is_in_its_component_and_called_after_it(scenario: Scenario) -> None:
    graph = scenario.graph()
    for one in graph.resources:
        if one.type in COMPONENTS or one.type.startswith("pulumi:providers:"):
            continue
        component = list(graph.ancestors(one))[-1]
        assert component.type in COMPONENTS, one.urn
        assert one.name.startswith(f"{component.name}-"), one.urn


@every_stack
def test_nothing_is_deprecated(scenario: Scenario) -> None:
    assert scenario.graph().messages == []


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_explicit_providers_reach_every_resource_and_call(cloud: str) -> None:
    (scenario,) = [one for one in SCENARIOS if (one.cloud, one.name) == (cloud, "explicit-providers")]
    graph = scenario.graph()
    mine = {cloud: "mine", "random": "mine-random", "docker-build": "mine-docker"}
    for one in graph.resources:
        package = one.type.split(":")[0]
        if one.custom and package != "pulumi":
            assert one.provider.rpartition("::")[0].endswith(f"::{mine[package]}"), one.urn
    assert graph.calls
    for call in graph.calls:
        assert call.provider.rpartition("::")[0].endswith("::mine"), call.token


# -- secrets


@every_stack
def test_no_secret_is_in_plain_anywhere(scenario: Scenario) -> None:
    graph = scenario.graph()
    # What a cloud answers is not ours to hide.
    seen = json.dumps([dataclasses.asdict(one) for one in graph.resources])
    seen += json.dumps([graph.outputs, [[call.token, call.args] for call in graph.calls], graph.messages])
    for secret in _planted(graph):
        assert secret not in seen


def _planted(graph: Graph) -> set[str]:
    """What preview's answers give for random things, and the secrets of sign-in."""
    made = {hashlib.sha256(one.name.encode()).hexdigest()[:43] for one in graph.of(RANDOM)}
    assert made
    return {*made, aws.OIDC_CLIENT_SECRET, gcp.OAUTH_SECRET}


@every_stack
def test_what_is_random_and_what_opens_a_registry_stays_secret(scenario: Scenario) -> None:
    graph = scenario.graph()
    for password in graph.of(RANDOM):
        assert password.outputs["result"] == SECRET
    for image in graph.of("docker-build:index:Image"):
        assert [one["password"] for one in image.inputs["registries"]] == [SECRET]


# -- destroy


@every_stack
def test_there_is_an_order_to_destroy_in(scenario: Scenario) -> None:
    graph = scenario.graph()
    waits_for = {one.urn: {*one.dependencies, one.parent, one.deleted_with} - {""} for one in graph.resources}
    done: set[str] = {graph.stack_urn}
    while len(done) <= len(graph.resources):
        free = {urn for urn, others in waits_for.items() if urn not in done and others <= done}
        assert free, f"a cycle is among {[urn for urn in waits_for if urn not in done]}"
        done |= free


# -- more than one


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_two_in_one_stack_know_nothing_of_each_other(cloud: str) -> None:
    (scenario,) = [one for one in SCENARIOS if (one.cloud, one.name) == (cloud, "two-in-one-stack")]
    graph = scenario.graph()
    first, second = [one for one in graph.resources if one.type in COMPONENTS]
    assert (first.name, second.name) == ("first", "second")
    inside = {urn: first in graph.ancestors(one) for one in graph.resources for urn in (one.urn,)}
    for one in graph.resources:
        if inside[one.urn]:
            assert not [urn for urn in one.dependencies if urn != first.urn and not inside[urn]], one.urn


def test_both_clouds_in_one_stack_have_their_outputs_apart() -> None:
    graph = run({**aws.config({}), **gcp.config({})})
    assert [one.type for one in graph.resources if one.type in COMPONENTS] == list(COMPONENTS)
    assert {"aws_url", "gcp_url", "aws_client_setup", "gcp_client_setup"} <= set(graph.outputs)
    assert len({one.urn for one in graph.resources}) == len(graph.resources)


# -- settings that are wrong


@pytest.mark.parametrize(
    ("component", "given"),
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
def test_nothing_is_asked_for_when_settings_are_wrong(
    component: Callable[..., object], given: Mapping[str, Any]
) -> None:
    def program() -> None:
        with pytest.raises(SettingsError, match=r"proxy\."):
            component("proxy", given)

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
def test_the_projects_program_says_what_is_wrong_and_asks_for_nothing(config: Mapping[str, str], problem: str) -> None:
    def program() -> None:
        with pytest.raises(pulumi.RunError, match=problem):
            own_program()

    graph = run(config, program)
    assert (graph.resources, graph.calls) == ([], [])


@pytest.mark.parametrize("component", [AwsMlflowProxy, GcpMlflow])
@pytest.mark.parametrize("name", ["", "a" * 17, "9a"])
def test_a_name_that_would_not_fit_is_refused(component: Callable[..., object], name: str) -> None:
    def program() -> None:
        with pytest.raises(ValueError, match="1 to 16"):
            component(name, dict(gcp.MINIMAL) if component is GcpMlflow else {})

    assert record(program).resources == []
