"""The double of AWS rejects the fields, names and changes that AWS or its provider rejects. No engine is needed."""

import json
from typing import Any

import pytest

from tests.doubles.provider import schema
from tests.doubles.provider.changes import changed_paths, table
from tests.doubles.provider.cloud import Cloud
from tests.doubles.provider.documents import DOCUMENTS
from tests.doubles.provider.faults import EachOnce, Fault, Nth
from tests.doubles.provider.kind import Name
from tests.doubles.provider.kinds import KINDS
from tests.doubles.provider.kinds.aws import calls
from tests.doubles.provider.names import TooLongError, has_same_chosen_name, with_name
from tests.doubles.provider.wire import UNKNOWN
from tests.engine.aws_account import (
    GROUP,
    IMAGE,
    LISTENER,
    LOAD_BALANCER,
    ROLE,
    RULE,
    SECRET,
    SUBNET,
    TARGET_GROUP,
    TRUST_POLICY,
    VPC,
)


def problems(kind: str, inputs: dict[str, Any]) -> list[str]:
    """The paths of invalid fields."""
    return [path for path, _ in [*schema.problems(kind, inputs), *KINDS[kind].check(inputs)]]


# -- fields


def test_unknown_field_is_rejected() -> None:
    assert problems(VPC, {"cidrBlock": "10.0.0.0/16", "cidr": "10.0.0.0/16"}) == ["cidr"]


def test_unknown_nested_field_is_rejected() -> None:
    inputs = {"name": "a", "port": 80, "protocol": "HTTP", "vpcId": "vpc-1", "healthCheck": {"pth": "/"}}
    assert problems(TARGET_GROUP, inputs) == ["healthCheck.pth"]


def test_missing_required_field_is_rejected() -> None:
    assert problems(SUBNET, {}) == ["vpcId"]


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (TARGET_GROUP, {"name": "a", "port": "80", "protocol": "HTTP", "vpcId": "vpc-1"}),
        (TARGET_GROUP, {"name": "a", "port": 80.5, "protocol": "HTTP", "vpcId": "vpc-1"}),
        (TARGET_GROUP, {"name": "a", "port": True, "protocol": "HTTP", "vpcId": "vpc-1"}),
        (VPC, {"tags": {"a": 1}}),
        (VPC, {"tags": ["a"]}),
        (VPC, {"enableDnsSupport": "yes"}),
        (LOAD_BALANCER, {"name": "a", "subnets": "subnet-1"}),
    ],
)
def test_value_of_the_wrong_type_is_rejected(kind: str, inputs: dict[str, Any]) -> None:
    assert problems(kind, inputs)


def test_value_outside_an_enum_is_rejected() -> None:
    assert problems(IMAGE, {"push": False, "platforms": ["linux/arm65"]})[0] == "platforms[0]"


def test_value_unknown_in_a_preview_is_accepted() -> None:
    assert not problems(SUBNET, {"vpcId": UNKNOWN, "cidrBlock": UNKNOWN, "tags": UNKNOWN})


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (GROUP, {"description": "Studio's apps"}),
        (RULE, {"securityGroupId": "sg-1", "ipProtocol": "tcp", "fromPort": 1, "toPort": 1}),
        (ROLE, {"assumeRolePolicy": TRUST_POLICY.replace("2012-10-17", "2012-10-18")}),
        (ROLE, {"assumeRolePolicy": TRUST_POLICY.replace('"Principal"', '"Princpal"')}),
        (ROLE, {"assumeRolePolicy": "{"}),
        (LOAD_BALANCER, {"name": "internal-a", "subnets": ["a", "b"]}),
        (LOAD_BALANCER, {"name": "a" * 33, "subnets": ["a", "b"]}),
        (LOAD_BALANCER, {"name": "a", "subnets": ["a"]}),
        (
            LISTENER,
            {"loadBalancerArn": "a", "port": 443, "protocol": "HTTPS", "defaultActions": [{"type": "redirect"}]},
        ),
        ("aws:cloudwatch/logGroup:LogGroup", {"name": "a", "retentionInDays": 31}),
        (SECRET, {"name": "a", "recoveryWindowInDays": 3}),
        ("aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer", {"mlflowVersion": "3.0.1"}),
    ],
)
def test_invalid_input_is_rejected(kind: str, inputs: dict[str, Any]) -> None:
    assert [path for path, _ in KINDS[kind].check(inputs)]


def test_container_definitions_match_the_ecs_model() -> None:
    kind = "aws:ecs/taskDefinition:TaskDefinition"
    container = {"name": "proxy", "image": "a", "memory": 128, "readOnlyRootFilesystem": True}
    inputs = {"family": "proxy", "containerDefinitions": json.dumps([container])}
    assert problems(kind, inputs) == ["containerDefinitions[0].readOnlyRootFilesystem"]
    valid = json.dumps([{"name": "proxy", "image": "a", "memory": 128, "readonlyRootFilesystem": True}])
    assert not problems(kind, {**inputs, "containerDefinitions": valid})


# -- names


def test_automatic_name_has_seven_digits_and_does_not_change() -> None:
    first = with_name(Name(), "proxy", {}, {}, b"seed")
    assert first["name"].startswith("proxy-")
    assert len(first["name"]) == len("proxy-") + 7
    assert with_name(Name(), "proxy", {}, first, b"other")["name"] == first["name"]
    assert with_name(Name(), "proxy", {}, {}, b"other")["name"] != first["name"]


def test_too_long_pulumi_name_is_rejected() -> None:
    with_name(Name(limit=32), "a" * 24, {}, {}, b"")
    with pytest.raises(TooLongError):
        with_name(Name(limit=32), "a" * 25, {}, {}, b"")


def test_replacement_with_the_same_configured_name_needs_deletion_first() -> None:
    assert has_same_chosen_name(Name(), {"name": "a"}, {"name": "a"})
    assert not has_same_chosen_name(Name(), {"name": "a"}, {"name": "b"})
    automatic = with_name(Name(), "proxy", {}, {}, b"")
    assert not has_same_chosen_name(Name(), automatic, automatic)


# -- changes


def test_diff_compares_nested_fields_and_documents_by_value() -> None:
    old = {"a": {"b": [{"c": 1}, {"c": 2}]}, "dashboardBody": '{"x": 1, "y": 2}', "text": "{}", "same": "s", "tags": {}}
    new = {
        "a": {"b": [{"c": 1}, {"c": 3}]},
        "dashboardBody": '{"y":2,"x":1}',
        "text": "{ }",
        "same": "s",
        "new": UNKNOWN,
    }
    documents = DOCUMENTS["aws:cloudwatch/dashboard:Dashboard"]
    assert list(changed_paths(old, new, documents=documents)) == ["a.b[1].c", "new", "text"]


def test_changed_group_replaces_a_capacity_provider_and_other_fields_do_not() -> None:
    entry = table()["aws:ecs/capacityProvider:CapacityProvider"]
    assert entry.replaces("autoScalingGroupProvider.autoScalingGroupArn", {}, {})
    assert entry.replaces("autoScalingGroupProvider", {}, {})
    assert not entry.replaces("autoScalingGroupProvider.managedScaling.targetCapacity", {}, {})


def test_changed_type_of_source_replaces_a_rule_and_changed_range_does_not() -> None:
    entry = table()[RULE]
    assert not entry.replaces("cidrIpv4", {"cidrIpv4": "10.0.0.0/8"}, {"cidrIpv4": "11.0.0.0/8"})
    assert entry.replaces("cidrIpv4", {"cidrIpv4": "10.0.0.0/8"}, {"referencedSecurityGroupId": "sg-1"})


# -- faults


def test_each_once_makes_each_operation_fail_once() -> None:
    plan = EachOnce((Fault.BEFORE,))
    assert [plan("create", "a"), plan("create", "a"), plan("delete", "a")] == [Fault.BEFORE, None, Fault.BEFORE]


def test_nth_makes_the_nth_operation_fail_and_records_its_urn() -> None:
    plan = Nth("create", 2, Fault.AFTER)
    assert [plan("create", "a"), plan("delete", "b"), plan("create", "c"), plan("create", "d")] == [
        None,
        None,
        Fault.AFTER,
        None,
    ]
    assert plan.urn == "c"


# -- agreement with the SDK


def test_call_results_have_the_fields_of_the_sdk() -> None:
    cloud = Cloud(["subnet-0123"])
    arguments: dict[str, dict[str, Any]] = {
        "aws:ssm/getParameter:getParameter": {"name": next(iter(cloud.parameters))},
        "aws:route53/getZone:getZone": {"zoneId": "Z1"},
        "aws:ec2/getVpcEndpointService:getVpcEndpointService": {"serviceName": "com.amazonaws.eu-west-1.logs"},
        "aws:ec2/getSubnet:getSubnet": {"id": "subnet-0123"},
        "aws:ec2/getAmi:getAmi": {"filters": [{"name": "image-id", "values": ["ami-0123456789abcdef0"]}]},
    }
    for token, call in calls.CALLS.items():
        unknown = set(call(arguments.get(token, {}), cloud)) - schema.result_fields(token)
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
