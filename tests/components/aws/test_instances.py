"""The instances: machine image, launch template, scaling, replacement, and order of deletion."""

import base64
import datetime
import itertools
from typing import Any

import pulumi
import pytest

from components import AwsMlflowProxy
from components.aws.instances import user_data
from components.aws.settings import ServiceSettings
from components.validation import SettingsError, validate_args
from preview import mock_outputs
from preview.graph import Graph, Resource
from preview.recorder import record

from .helpers import IMAGE_URI, KEY, only, record_stack, transitive_dependencies

TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
GROUP = "aws:autoscaling/group:Group"
PROVIDER = "aws:ecs/capacityProvider:CapacityProvider"
CLUSTER_PROVIDERS = "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders"
PARAMETER = "aws:ssm/getParameter:getParameter"
AMI = "ami-0123456789abcdef0"


def template(**settings: Any) -> Resource:
    return only(record_stack(settings), TEMPLATE)


def ami_stashes(graph: Graph) -> list[Resource]:
    return [stash for stash in graph.of("pulumi:index:Stash") if stash.name.startswith("proxy-ami-")]


def service(**args: Any) -> dict[str, Any]:
    return {"service": args}


def group(**args: Any) -> dict[str, Any]:
    return only(record_stack(service(**args)), GROUP).inputs


def validation_problem(**args: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        validate_args(ServiceSettings, args, "service", production=False)
    (problem,) = caught.value.problems
    return problem


# --- Machine image


def ssm_parameters(graph: Graph) -> list[str]:
    return [call.args["name"] for call in graph.calls if call.token == PARAMETER]


@pytest.mark.parametrize(
    ("architecture", "instance_type", "image"),
    [
        ("arm64", "t4g.small", "amazon-linux-2023/arm64/recommended"),
        ("amd64", "t3.small", "amazon-linux-2023/recommended"),
    ],
)
def test_instance_type_and_ami_match_the_architecture(architecture: str, instance_type: str, image: str) -> None:
    graph = record_stack({"image": {"imageUri": IMAGE_URI, "architecture": architecture}})
    assert ssm_parameters(graph) == [f"/aws/service/ecs/optimized-ami/{image}/image_id"]
    assert only(graph, TEMPLATE).inputs["instanceType"] == instance_type


def test_ami_label_pins_the_ami_in_a_stash() -> None:
    graph = record_stack(service(ami="2026-11"))
    (stash,) = ami_stashes(graph)
    assert stash.ignore_changes == ("input",)
    assert stash.urn in only(graph, TEMPLATE).property_dependencies["imageId"]
    assert only(graph, TEMPLATE).inputs["imageId"] == stash.inputs["input"]


def test_new_ami_label_updates_the_same_launch_template() -> None:
    before, after = record_stack(service(ami="2026-11")), record_stack(service(ami="2026-12"))
    assert [stash.urn for stash in ami_stashes(before)] != [stash.urn for stash in ami_stashes(after)]
    assert only(before, TEMPLATE).urn == only(after, TEMPLATE).urn
    assert "imageId" not in only(after, TEMPLATE).ignore_changes


def test_ami_id_is_used_without_lookup() -> None:
    graph = record_stack(service(ami=AMI))
    assert only(graph, TEMPLATE).inputs["imageId"] == AMI
    assert ami_stashes(graph) == []
    assert ssm_parameters(graph) == []


@pytest.mark.parametrize("ami", ["2026-11", AMI])
@pytest.mark.parametrize(("days", "is_old"), [(0, False), (90, False), (91, True), (800, True)])
def test_image_older_than_90_days_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, ami: str, days: int, is_old: bool
) -> None:
    created = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
    answer = {"creationDate": f"{created:%Y-%m-%dT%H:%M:%S}.000Z"}
    monkeypatch.setitem(mock_outputs.CALLS, "aws:ec2/getAmi:getAmi", lambda args: {**args, **answer})
    warnings: list[str] = []

    def warn(message: str, *_: pulumi.Resource) -> None:
        warnings.append(message)

    monkeypatch.setattr(pulumi.log, "warn", warn)
    graph = record(lambda: AwsMlflowProxy("proxy", {"image": {"image_uri": IMAGE_URI}, "service": {"ami": ami}}))
    assert [f"is {days} days old" in warning for warning in warnings] == [True] * is_old
    (call,) = [call for call in graph.calls if call.token == "aws:ec2/getAmi:getAmi"]
    assert call.args["includeDeprecated"] is True


@pytest.mark.parametrize("ami", ["ami-123", "ami-0123456789abcdefg", "my label", "a/b", "x" * 41])
def test_invalid_ami_is_rejected(ami: str) -> None:
    assert "service.ami" in validation_problem(ami=ami)


# --- Launch template


def test_metadata_requires_imdsv2_with_hop_limit_1() -> None:
    assert template().inputs["metadataOptions"] == {
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "httpPutResponseHopLimit": 1,
        "instanceMetadataTags": "disabled",
    }


def test_instances_have_no_key_pair_and_no_public_address() -> None:
    inputs = template().inputs
    assert not {"keyName", "securityGroupNames", "vpcSecurityGroupIds"} & inputs.keys()
    (interface,) = inputs["networkInterfaces"]
    assert interface["associatePublicIpAddress"] == "false"
    assert len(interface["securityGroups"]) == 1


@pytest.mark.parametrize("key", [None, KEY])
def test_disk_is_encrypted_with_the_customer_key_if_there_is_one(key: str | None) -> None:
    (disk,) = template(**({"kmsKeyArn": key} if key else {})).inputs["blockDeviceMappings"]
    assert disk["ebs"]["encrypted"] == "true"
    assert disk["ebs"]["deleteOnTermination"] == "true"
    assert disk["ebs"].get("kmsKeyId") == key


def test_user_data_writes_ecs_settings_only() -> None:
    script = base64.b64decode(user_data("some-cluster")).decode().splitlines()
    assert script[:2] == ["#!/bin/bash", "cat >>/etc/ecs/ecs.config <<'END'"]
    assert script[-1] == "END"
    settings = dict(line.split("=", 1) for line in script[2:-1])
    assert all(name.startswith("ECS_") for name in settings)
    assert settings["ECS_CLUSTER"] == "some-cluster"
    # Tasks get their credentials from the endpoint of ECS.
    assert settings["ECS_AWSVPC_BLOCK_IMDS"] == "true"
    assert settings["ECS_DISABLE_PRIVILEGED"] == "true"


def test_user_data_names_the_cluster() -> None:
    graph = record_stack()
    cluster = only(graph, "aws:ecs/cluster:Cluster")
    assert only(graph, TEMPLATE).inputs["userData"] == user_data(cluster.outputs["name"])


def test_volumes_interfaces_and_instances_are_tagged() -> None:
    graph = record_stack({"tags": {"CostCentre": "4711"}})
    tags = only(graph, TEMPLATE).inputs["tags"]
    assert tags["CostCentre"] == "4711"
    specifications = {item["resourceType"]: item["tags"] for item in only(graph, TEMPLATE).inputs["tagSpecifications"]}
    assert specifications == {"volume": tags, "network-interface": tags}
    on_instances = {
        item["key"]: item["value"] for item in only(graph, GROUP).inputs["tags"] if item["propagateAtLaunch"]
    }
    assert tags.items() <= on_instances.items()


@pytest.mark.parametrize(
    ("args", "name"),
    [
        ({"task_memory_mib": 2048, "body_budget_mib": 256}, "taskMemoryMib"),
        ({"task_memory_mib": 1024, "instance_type": "t4g.micro"}, "taskMemoryMib"),
        ({"task_cpu_units": 4096}, "taskCpuUnits"),
    ],
)
def test_task_larger_than_the_instance_is_rejected(args: dict[str, Any], name: str) -> None:
    assert f"service.{name}" in validation_problem(**args)


@pytest.mark.parametrize("instance_type", ["m7g.large", "t4g.2xlarge", "c7gn.16xlarge"])
def test_task_size_is_not_checked_for_unknown_instance_types(instance_type: str) -> None:
    validate_args(
        ServiceSettings, {"instance_type": instance_type, "task_memory_mib": 16384}, "service", production=False
    )


# --- Scaling and replacement


def test_group_has_capacity_for_twice_the_maximum_of_tasks() -> None:
    for max_tasks in (2, 7):
        graph = record_stack(service(maxTasks=max_tasks))
        assert only(graph, GROUP).inputs["maxSize"] >= 2 * max_tasks
        provider = only(graph, PROVIDER).inputs["autoScalingGroupProvider"]
        assert provider["managedScaling"]["maximumScalingStepSize"] >= max_tasks


def test_managed_scaling_sets_the_number_of_instances() -> None:
    inputs = group()
    assert inputs["minSize"] == 0
    assert "desiredCapacity" not in inputs
    provider = only(record_stack(), PROVIDER).inputs["autoScalingGroupProvider"]
    assert provider["managedScaling"]["status"] == "ENABLED"
    assert provider["managedScaling"]["targetCapacity"] == 100
    # The provider sends 0 for a missing value.
    assert provider["managedScaling"]["instanceWarmupPeriod"] > 0


def test_group_has_the_tag_amazonecsmanaged() -> None:
    markers = [tag for tag in group()["tags"] if tag["key"] == "AmazonECSManaged"]
    assert [tag["propagateAtLaunch"] for tag in markers] == [True]


def test_instances_are_drained_before_termination() -> None:
    provider = only(record_stack(), PROVIDER).inputs["autoScalingGroupProvider"]
    assert provider["managedDraining"] == "ENABLED"
    assert provider["managedTerminationProtection"] == "ENABLED"
    assert group()["protectFromScaleIn"] is True


def test_instance_refresh_includes_protected_instances() -> None:
    graph = record_stack()
    inputs = only(graph, GROUP).inputs
    # With $Latest, a new version would not start an instance refresh.
    assert inputs["launchTemplate"]["version"].isdecimal()
    assert only(graph, TEMPLATE).urn in only(graph, GROUP).property_dependencies["launchTemplate"]
    preferences = inputs["instanceRefresh"]["preferences"]
    # AWS would roll back to the new version: hashicorp/terraform-provider-aws#34189.
    assert "autoRollback" not in preferences
    assert preferences["scaleInProtectedInstances"] == "Refresh"
    assert preferences["minHealthyPercentage"] == 100
    # With one instance there must be capacity for a second one.
    assert preferences["maxHealthyPercentage"] == 200


# --- Order of deletion


def test_group_deletion_does_not_wait_for_instances() -> None:
    inputs = group()
    assert inputs["forceDelete"] is True
    assert inputs["waitForCapacityTimeout"] == "0"


def test_resources_are_deleted_before_those_that_they_need() -> None:
    graph = record_stack()
    order = [only(graph, kind) for kind in (CLUSTER_PROVIDERS, PROVIDER, GROUP, TEMPLATE, "aws:ecs/cluster:Cluster")]
    for first, second in itertools.pairwise(order):
        assert second.urn in transitive_dependencies(graph, first), f"{second.type} can be deleted before {first.type}"


def test_instances_are_deleted_before_their_permissions_and_egress() -> None:
    graph = record_stack()
    needed = transitive_dependencies(graph, only(graph, GROUP))
    rules = [
        resource
        for resource in graph.of("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule")
        if resource.name.startswith("proxy-instances-")
    ]
    assert len(rules) == 2
    assert {
        resource.urn for resource in [*rules, only(graph, "aws:iam/rolePolicy:RolePolicy", "proxy-instance")]
    } <= needed
    network_types = ("aws:ec2/route", "aws:ec2/nat", "aws:ec2/vpcEndpoint")
    networks = [resource for resource in graph.resources if resource.type.startswith(network_types)]
    assert networks
    assert {resource.urn for resource in networks} <= needed


@pytest.mark.parametrize("name", ["aws-mlflow", "ecs", "fargate1"])
def test_capacity_provider_name_has_no_reserved_prefix(name: str) -> None:
    provider_name = only(record_stack(name=name), PROVIDER).inputs["name"]
    assert not provider_name.startswith(("aws", "ecs", "fargate"))
    # A new group changes the name, so that the new provider can be created before the old one is deleted.
    assert provider_name.endswith(only(record_stack(name=name), GROUP).outputs["name"])
