"""The instances: what they boot, what reaches them, how they are replaced, and the order in which all goes."""

import base64
import itertools
from typing import Any

import pytest

from components.aws.instances import user_data
from components.aws.settings import ServiceSettings
from components.validation import SettingsError, validate_args
from preview.graph import Graph, Resource

from .helpers import IMAGE_URI, KEY, only, record_stack, urns_needed_by

TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
GROUP = "aws:autoscaling/group:Group"
PROVIDER = "aws:ecs/capacityProvider:CapacityProvider"
IN_CLUSTER = "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders"
STASH = "pulumi:index:Stash"
PARAMETER = "aws:ssm/getParameter:getParameter"
AMI = "ami-0123456789abcdef0"


def template(**settings: Any) -> Resource:
    return only(record_stack(settings), TEMPLATE)


def service(**args: Any) -> dict[str, Any]:
    return {"service": args}


def group(**args: Any) -> dict[str, Any]:
    return only(record_stack(service(**args)), GROUP).inputs


def refused(**args: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        validate_args(ServiceSettings, args, "service", production=False)
    (problem,) = caught.value.problems
    return problem


# --- The machine image


def asked_for(graph: Graph) -> list[str]:
    return [call.args["name"] for call in graph.calls if call.token == PARAMETER]


@pytest.mark.parametrize(
    ("architecture", "kind", "image"),
    [
        ("arm64", "t4g.small", "amazon-linux-2023/arm64/recommended"),
        ("amd64", "t3.small", "amazon-linux-2023/recommended"),
    ],
)
def test_instance_and_image_are_of_the_architecture(architecture: str, kind: str, image: str) -> None:
    graph = record_stack({"image": {"imageUri": IMAGE_URI, "architecture": architecture}})
    assert asked_for(graph) == [f"/aws/service/ecs/optimized-ami/{image}/image_id"]
    assert only(graph, TEMPLATE).inputs["instanceType"] == kind


def test_a_label_keeps_the_image_that_was_the_newest() -> None:
    graph = record_stack(service(ami="2026-11"))
    stash = only(graph, STASH)
    assert stash.ignore_changes == ("input",)
    assert stash.urn in only(graph, TEMPLATE).property_dependencies["imageId"]
    assert only(graph, TEMPLATE).inputs["imageId"] == stash.inputs["input"]


def test_a_new_label_is_a_new_version_of_the_same_template() -> None:
    before, after = record_stack(service(ami="2026-11")), record_stack(service(ami="2026-12"))
    assert only(before, STASH).urn != only(after, STASH).urn
    # A refresh that fails goes back to the version before, which would be gone with its template.
    assert only(before, TEMPLATE).urn == only(after, TEMPLATE).urn
    assert "imageId" not in only(after, TEMPLATE).ignore_changes


def test_an_image_by_its_id_is_taken_as_it_is() -> None:
    graph = record_stack(service(ami=AMI))
    assert only(graph, TEMPLATE).inputs["imageId"] == AMI
    assert graph.of(STASH) == []
    assert asked_for(graph) == []


@pytest.mark.parametrize("given", ["ami-123", "ami-0123456789abcdefg", "my label", "a/b", "x" * 41])
def test_what_is_neither_an_id_nor_a_label_is_refused(given: str) -> None:
    assert "service.ami" in refused(ami=given)


# --- What it is


def test_metadata_is_for_the_host_alone_and_by_session_only() -> None:
    assert template().inputs["metadataOptions"] == {
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "httpPutResponseHopLimit": 1,
        "instanceMetadataTags": "disabled",
    }


def test_nobody_logs_in_with_a_key_or_finds_it_by_a_public_address() -> None:
    inputs = template().inputs
    assert not {"keyName", "securityGroupNames", "vpcSecurityGroupIds"} & inputs.keys()
    (interface,) = inputs["networkInterfaces"]
    assert interface["associatePublicIpAddress"] == "false"
    assert len(interface["securityGroups"]) == 1


@pytest.mark.parametrize("key", [None, KEY])
def test_the_disk_is_encrypted(key: str | None) -> None:
    (disk,) = template(**({"kmsKeyArn": key} if key else {})).inputs["blockDeviceMappings"]
    assert disk["ebs"]["encrypted"] == "true"
    assert disk["ebs"]["deleteOnTermination"] == "true"
    assert disk["ebs"].get("kmsKeyId") == key


def test_it_boots_with_settings_and_no_command_that_could_fail() -> None:
    script = base64.b64decode(user_data("some-cluster")).decode().splitlines()
    assert script[:2] == ["#!/bin/bash", "cat >>/etc/ecs/ecs.config <<'END'"]
    assert script[-1] == "END"
    settings = dict(line.split("=", 1) for line in script[2:-1])
    assert all(name.startswith("ECS_") for name in settings)
    assert settings["ECS_CLUSTER"] == "some-cluster"
    # A task asks its own endpoint for its own rights.
    assert settings["ECS_AWSVPC_BLOCK_IMDS"] == "true"
    assert settings["ECS_DISABLE_PRIVILEGED"] == "true"


def test_it_joins_this_cluster() -> None:
    graph = record_stack()
    cluster = only(graph, "aws:ecs/cluster:Cluster")
    assert only(graph, TEMPLATE).inputs["userData"] == user_data(cluster.outputs["name"])


def test_volumes_interfaces_and_instances_have_the_tags() -> None:
    graph = record_stack({"tags": {"CostCentre": "4711"}})
    tags = only(graph, TEMPLATE).inputs["tags"]
    assert tags["CostCentre"] == "4711"
    kinds = {one["resourceType"]: one["tags"] for one in only(graph, TEMPLATE).inputs["tagSpecifications"]}
    assert kinds == {"volume": tags, "network-interface": tags}
    on_instances = {one["key"]: one["value"] for one in only(graph, GROUP).inputs["tags"] if one["propagateAtLaunch"]}
    assert tags.items() <= on_instances.items()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"task_memory_mib": 2048, "body_budget_mib": 256}, "taskMemoryMib"),
        ({"task_memory_mib": 1024, "instance_type": "t4g.micro"}, "taskMemoryMib"),
        ({"task_cpu_units": 4096}, "taskCpuUnits"),
    ],
)
def test_a_task_that_fits_no_instance_is_refused(given: dict[str, Any], name: str) -> None:
    assert f"service.{name}" in refused(**given)


@pytest.mark.parametrize("kind", ["m7g.large", "t4g.2xlarge", "c7gn.16xlarge"])
def test_of_sizes_that_are_not_known_here_aws_decides(kind: str) -> None:
    validate_args(ServiceSettings, {"instance_type": kind, "task_memory_mib": 16384}, "service", production=False)


# --- How many, and how they are replaced


def test_a_rollout_of_all_proxy_finds_instances() -> None:
    for most in (2, 7):
        graph = record_stack(service(maxTasks=most))
        assert only(graph, GROUP).inputs["maxSize"] >= 2 * most
        provider = only(graph, PROVIDER).inputs["autoScalingGroupProvider"]
        assert provider["managedScaling"]["maximumScalingStepSize"] >= most


def test_ecs_alone_says_how_many_there_are() -> None:
    inputs = group()
    assert inputs["minSize"] == 0
    assert "desiredCapacity" not in inputs
    provider = only(record_stack(), PROVIDER).inputs["autoScalingGroupProvider"]
    assert provider["managedScaling"]["status"] == "ENABLED"
    assert provider["managedScaling"]["targetCapacity"] == 100
    # The provider would send 0 for what is not given.
    assert provider["managedScaling"]["instanceWarmupPeriod"] > 0


def test_ecs_knows_the_group_from_the_start() -> None:
    marks = [one for one in group()["tags"] if one["key"] == "AmazonECSManaged"]
    assert [one["propagateAtLaunch"] for one in marks] == [True]


def test_an_instance_goes_only_after_its_proxy() -> None:
    provider = only(record_stack(), PROVIDER).inputs["autoScalingGroupProvider"]
    assert provider["managedDraining"] == "ENABLED"
    assert provider["managedTerminationProtection"] == "ENABLED"
    assert group()["protectFromScaleIn"] is True


def test_a_new_template_version_reaches_instances_that_are_protected_and_can_be_taken_back() -> None:
    graph = record_stack()
    inputs = only(graph, GROUP).inputs
    # $Latest and $Default cannot be gone back from.
    assert inputs["launchTemplate"]["version"].isdecimal()
    assert only(graph, TEMPLATE).urn in only(graph, GROUP).property_dependencies["launchTemplate"]
    preferences = inputs["instanceRefresh"]["preferences"]
    assert preferences["autoRollback"] is True
    assert preferences["scaleInProtectedInstances"] == "Refresh"
    assert preferences["minHealthyPercentage"] == 100
    # At one instance there has to be room for a second one.
    assert preferences["maxHealthyPercentage"] == 200


# --- The order


def test_nothing_waits_for_protected_or_draining_instances_when_all_goes() -> None:
    inputs = group()
    assert inputs["forceDelete"] is True
    assert inputs["waitForCapacityTimeout"] == "0"


def test_each_goes_before_what_it_hangs_on() -> None:
    graph = record_stack()
    order = [only(graph, kind) for kind in (IN_CLUSTER, PROVIDER, GROUP, TEMPLATE, "aws:ecs/cluster:Cluster")]
    for first, then in itertools.pairwise(order):
        assert then.urn in urns_needed_by(graph, first), f"{then.type} may go before {first.type}"


def test_agents_keep_their_rights_and_their_way_out_to_the_end() -> None:
    graph = record_stack()
    kept = urns_needed_by(graph, only(graph, GROUP))
    rules = [
        one
        for one in graph.of("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule")
        if one.name.startswith("proxy-instances-")
    ]
    assert len(rules) == 2
    assert {one.urn for one in [*rules, only(graph, "aws:iam/rolePolicy:RolePolicy", "proxy-instance")]} <= kept
    # The network and its endpoints, as a whole.
    networks = [one for one in graph.resources if one.type.startswith(("aws:ec2/route", "aws:ec2/nat"))]
    assert networks
    assert {one.urn for one in networks} <= kept


@pytest.mark.parametrize("name", ["aws-mlflow", "ecs", "fargate1"])
def test_a_capacity_provider_has_no_name_that_aws_keeps_for_itself(name: str) -> None:
    made = only(record_stack(name=name), PROVIDER).inputs["name"]
    assert not made.startswith(("aws", "ecs", "fargate"))
    # Another group is another name, so that the new one can be made before the old one goes.
    assert made.endswith(only(record_stack(name=name), GROUP).outputs["name"])
