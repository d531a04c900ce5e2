"""The double of AWS refuses the fields, names and changes that AWS or its provider would. No engine is needed."""

import json
from typing import Any

import pytest

from tests.doubles.provider import schema
from tests.doubles.provider.changes import changed_paths, table
from tests.doubles.provider.cloud import Cloud
from tests.doubles.provider.faults import EachOnce, Fault, Nth
from tests.doubles.provider.kind import Name
from tests.doubles.provider.kinds import KINDS
from tests.doubles.provider.kinds.aws import calls
from tests.doubles.provider.names import TooLongError, has_same_chosen_name, with_name
from tests.doubles.provider.wire import UNKNOWN
from tests.engine.amazon import BALANCER, GROUP, IMAGE, LISTENER, ROLE, RULE, SECRET, SUBNET, TARGETS, TRUST, VPC


def problems(kind: str, inputs: dict[str, Any]) -> list[str]:
    """The paths with problems."""
    return [path for path, _ in [*schema.problems(kind, inputs), *KINDS[kind].check(inputs)]]


# -- fields


def test_unknown_field_is_refused() -> None:
    assert problems(VPC, {"cidrBlock": "10.0.0.0/16", "cidr": "10.0.0.0/16"}) == ["cidr"]


def test_unknown_nested_field_is_refused() -> None:
    inputs = {"name": "a", "port": 80, "protocol": "HTTP", "vpcId": "vpc-1", "healthCheck": {"pth": "/"}}
    assert problems(TARGETS, inputs) == ["healthCheck.pth"]


def test_missing_required_field_is_refused() -> None:
    assert problems(SUBNET, {}) == ["vpcId"]


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (TARGETS, {"name": "a", "port": "80", "protocol": "HTTP", "vpcId": "vpc-1"}),
        (TARGETS, {"name": "a", "port": 80.5, "protocol": "HTTP", "vpcId": "vpc-1"}),
        (TARGETS, {"name": "a", "port": True, "protocol": "HTTP", "vpcId": "vpc-1"}),
        (VPC, {"tags": {"a": 1}}),
        (VPC, {"tags": ["a"]}),
        (VPC, {"enableDnsSupport": "yes"}),
        (BALANCER, {"name": "a", "subnets": "subnet-1"}),
    ],
)
def test_value_of_wrong_type_is_refused(kind: str, inputs: dict[str, Any]) -> None:
    assert problems(kind, inputs)


def test_value_outside_enum_is_refused() -> None:
    assert problems(IMAGE, {"push": False, "platforms": ["linux/arm65"]})[0] == "platforms[0]"


def test_unknown_value_is_accepted() -> None:
    assert not problems(SUBNET, {"vpcId": UNKNOWN, "cidrBlock": UNKNOWN, "tags": UNKNOWN})


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (GROUP, {"description": "Studio's apps"}),
        (RULE, {"securityGroupId": "sg-1", "ipProtocol": "tcp", "fromPort": 1, "toPort": 1}),
        (ROLE, {"assumeRolePolicy": TRUST.replace("2012-10-17", "2012-10-18")}),
        (ROLE, {"assumeRolePolicy": TRUST.replace('"Principal"', '"Princpal"')}),
        (ROLE, {"assumeRolePolicy": "{"}),
        (BALANCER, {"name": "internal-a", "subnets": ["a", "b"]}),
        (BALANCER, {"name": "a" * 33, "subnets": ["a", "b"]}),
        (BALANCER, {"name": "a", "subnets": ["a"]}),
        (
            LISTENER,
            {"loadBalancerArn": "a", "port": 443, "protocol": "HTTPS", "defaultActions": [{"type": "redirect"}]},
        ),
        ("aws:cloudwatch/logGroup:LogGroup", {"name": "a", "retentionInDays": 31}),
        (SECRET, {"name": "a", "recoveryWindowInDays": 3}),
        ("aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer", {"mlflowVersion": "3.0.1"}),
    ],
)
def test_invalid_input_is_refused(kind: str, inputs: dict[str, Any]) -> None:
    assert [path for path, _ in KINDS[kind].check(inputs)]


def test_container_definitions_match_the_ecs_model() -> None:
    kind = "aws:ecs/taskDefinition:TaskDefinition"
    container = {"name": "proxy", "image": "a", "memory": 128, "readOnlyRootFilesystem": True}
    inputs = {"family": "proxy", "containerDefinitions": json.dumps([container])}
    assert problems(kind, inputs) == ["containerDefinitions[0].readOnlyRootFilesystem"]
    right = json.dumps([{"name": "proxy", "image": "a", "memory": 128, "readonlyRootFilesystem": True}])
    assert not problems(kind, {**inputs, "containerDefinitions": right})


@pytest.mark.parametrize(
    ("capabilities", "returned"),
    [
        ({"drop": ["ALL"]}, {"add": [], "drop": ["ALL"]}),
        ({"add": [], "drop": ["ALL"]}, {"add": [], "drop": ["ALL"]}),
    ],
)
def test_ecs_returns_both_lists_of_capabilities(capabilities: dict[str, Any], returned: dict[str, Any]) -> None:
    container = {"name": "proxy", "image": "a", "memory": 128, "linuxParameters": {"capabilities": capabilities}}
    inputs = {"family": "proxy", "containerDefinitions": json.dumps([container])}
    (found,) = json.loads(KINDS["aws:ecs/taskDefinition:TaskDefinition"].normal_form(inputs)["containerDefinitions"])
    assert found["linuxParameters"]["capabilities"] == returned


# -- names


def test_automatic_name_has_seven_digits_and_stays() -> None:
    first = with_name(Name(), "proxy", {}, {}, b"seed")
    assert first["name"].startswith("proxy-")
    assert len(first["name"]) == len("proxy-") + 7
    assert with_name(Name(), "proxy", {}, first, b"other")["name"] == first["name"]
    assert with_name(Name(), "proxy", {}, {}, b"other")["name"] != first["name"]


def test_too_long_pulumi_name_is_refused() -> None:
    with_name(Name(limit=32), "a" * 24, {}, {}, b"")
    with pytest.raises(TooLongError):
        with_name(Name(limit=32), "a" * 25, {}, {}, b"")


def test_resource_with_chosen_name_is_deleted_before_replacement() -> None:
    assert has_same_chosen_name(Name(), {"name": "a"}, {"name": "a"})
    assert not has_same_chosen_name(Name(), {"name": "a"}, {"name": "b"})
    given = with_name(Name(), "proxy", {}, {}, b"")
    assert not has_same_chosen_name(Name(), given, given)


# -- changes


def test_diff_is_deep_and_compares_json_by_value() -> None:
    old = {"a": {"b": [{"c": 1}, {"c": 2}]}, "policy": '{"x": 1, "y": 2}', "same": "s", "tags": {}}
    new = {"a": {"b": [{"c": 1}, {"c": 3}]}, "policy": '{"y":2,"x":1}', "same": "s", "new": UNKNOWN}
    assert list(changed_paths(old, new)) == ["a.b[1].c", "new"]


def test_only_another_group_replaces_a_capacity_provider() -> None:
    entry = table()["aws:ecs/capacityProvider:CapacityProvider"]
    assert entry.replaces("autoScalingGroupProvider.autoScalingGroupArn", {}, {})
    assert entry.replaces("autoScalingGroupProvider", {}, {})
    assert not entry.replaces("autoScalingGroupProvider.managedScaling.targetCapacity", {}, {})


def test_only_another_kind_of_source_replaces_a_rule() -> None:
    entry = table()[RULE]
    assert not entry.replaces("cidrIpv4", {"cidrIpv4": "10.0.0.0/8"}, {"cidrIpv4": "11.0.0.0/8"})
    assert entry.replaces("cidrIpv4", {"cidrIpv4": "10.0.0.0/8"}, {"referencedSecurityGroupId": "sg-1"})


# -- faults


def test_each_once_fails_each_operation_once() -> None:
    plan = EachOnce((Fault.BEFORE,))
    assert [plan("create", "a"), plan("create", "a"), plan("delete", "a")] == [Fault.BEFORE, None, Fault.BEFORE]


def test_nth_fails_the_nth_operation_and_records_its_urn() -> None:
    plan = Nth("create", 2, Fault.AFTER)
    assert [plan("create", "a"), plan("delete", "b"), plan("create", "c"), plan("create", "d")] == [
        None,
        None,
        Fault.AFTER,
        None,
    ]
    assert plan.urn == "c"


# -- the double itself


def test_call_results_have_the_fields_of_the_sdk() -> None:
    cloud = Cloud(["subnet-0123"])
    asked: dict[str, dict[str, Any]] = {
        "aws:ssm/getParameter:getParameter": {"name": next(iter(cloud.parameters))},
        "aws:route53/getZone:getZone": {"zoneId": "Z1"},
        "aws:ec2/getVpcEndpointService:getVpcEndpointService": {"serviceName": "com.amazonaws.eu-west-1.logs"},
        "aws:ec2/getSubnet:getSubnet": {"id": "subnet-0123"},
    }
    for token, answer in calls.CALLS.items():
        unknown = set(answer(asked.get(token, {}), cloud)) - schema.result_fields(token)
        assert not unknown, token


def test_references_and_names_are_fields_of_the_sdk() -> None:
    for token, kind in KINDS.items():
        fields = schema.schema_of(token)
        for reference in kind.references:
            assert reference.path.split(".")[0].removesuffix("[*]") in fields.inputs, (token, reference.path)
        if kind.name is not None:
            assert kind.name.field in fields.inputs, token
        assert set(kind.updated_outputs) <= fields.outputs, token
        assert kind.key == "id" or kind.key in fields.outputs, token
        for group in kind.unique:
            assert set(group) <= set(fields.inputs), (token, group)
