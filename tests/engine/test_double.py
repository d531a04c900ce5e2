"""The double of AWS is strict: what AWS or its provider would refuse, it refuses. No engine is needed for that."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.provider import schema
from tests.doubles.provider.changes import changed_paths, table
from tests.doubles.provider.cloud import Cloud, Thing
from tests.doubles.provider.faults import EachOnce, Fault, Nth
from tests.doubles.provider.kind import Making, Name, RefusedError
from tests.doubles.provider.kinds import KINDS
from tests.doubles.provider.kinds.aws import calls
from tests.doubles.provider.names import TooLongError, chosen_and_kept, with_name
from tests.doubles.provider.wire import UNKNOWN

VPC = "aws:ec2/vpc:Vpc"
SUBNET = "aws:ec2/subnet:Subnet"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
BUCKET = "aws:s3/bucket:Bucket"
SECRET = "aws:secretsmanager/secret:Secret"
ROLE = "aws:iam/role:Role"
BALANCER = "aws:lb/loadBalancer:LoadBalancer"
TARGETS = "aws:lb/targetGroup:TargetGroup"
LISTENER = "aws:lb/listener:Listener"
IMAGE = "docker-build:index:Image"
REPOSITORY = "aws:ecr/repository:Repository"
LIFECYCLE = "aws:ecr/lifecyclePolicy:LifecyclePolicy"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ],
    }
)


def problems(kind: str, inputs: dict[str, Any]) -> list[str]:
    """Where something is wrong."""
    return [path for path, _ in [*schema.problems(kind, inputs), *KINDS[kind].check(inputs)]]


class Account(Cloud):
    """With a VPC of two subnets and a security group."""

    def __init__(self) -> None:
        super().__init__()
        self.vpc = self.create(VPC, "vpc", {"cidrBlock": "10.0.0.0/16", "enableDnsHostnames": True})
        self.subnets = [self.subnet(index) for index in (1, 2)]
        self.group = self.create(GROUP, "group", {"name": "group", "vpcId": self.vpc.id})

    def subnet(self, index: int) -> Thing:
        zone = f"eu-west-1{'abc'[index % 3]}"
        return self.create(
            SUBNET, f"s{index}", {"vpcId": self.vpc.id, "cidrBlock": f"10.0.{index}.0/24", "availabilityZone": zone}
        )

    def balancer(self, name: str = "alb", **more: Any) -> Thing:
        inputs = {"internal": True, "subnets": [one.id for one in self.subnets], "securityGroups": [self.group.id]}
        return self.create(BALANCER, name, {"name": name, **inputs, **more})

    def targets(self) -> Thing:
        return self.create(
            TARGETS,
            "gates",
            {"name": "gates", "port": 80, "protocol": "HTTP", "vpcId": self.vpc.id, "targetType": "ip"},
        )

    def listener(self, balancer: Thing, targets: Thing, port: int = 80) -> Thing:
        forward = [{"type": "forward", "targetGroupArn": targets.id}]
        return self.create(
            LISTENER, f"l{port}", {"loadBalancerArn": balancer.id, "port": port, "defaultActions": forward}
        )

    def gone(self, thing: Thing) -> None:
        self.delete(thing.kind.token, thing.id, thing.outputs)


@pytest.fixture
def account() -> Account:
    return Account()


# -- fields


def test_a_field_that_the_sdk_does_not_have_is_refused() -> None:
    assert problems(VPC, {"cidrBlock": "10.0.0.0/16", "cidr": "10.0.0.0/16"}) == ["cidr"]


def test_a_nested_field_that_the_sdk_does_not_have_is_refused() -> None:
    inputs = {"name": "a", "port": 80, "protocol": "HTTP", "vpcId": "vpc-1", "healthCheck": {"pth": "/"}}
    assert problems(TARGETS, inputs) == ["healthCheck.pth"]


def test_a_required_field_that_is_missing_is_refused() -> None:
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
def test_a_value_of_another_type_is_refused(kind: str, inputs: dict[str, Any]) -> None:
    assert problems(kind, inputs)


def test_a_value_that_is_not_in_the_sdks_enum_is_refused() -> None:
    assert problems(IMAGE, {"push": False, "platforms": ["linux/arm65"]})[0] == "platforms[0]"


def test_a_value_that_nobody_knows_yet_is_no_problem() -> None:
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
def test_what_the_provider_or_aws_checks_is_checked(kind: str, inputs: dict[str, Any]) -> None:
    assert [path for path, _ in KINDS[kind].check(inputs)]


def test_a_container_definition_is_held_against_ecs_own_model() -> None:
    kind = "aws:ecs/taskDefinition:TaskDefinition"
    container = {"name": "gate", "image": "a", "memory": 128, "readOnlyRootFilesystem": True}
    inputs = {"family": "gate", "containerDefinitions": json.dumps([container])}
    assert problems(kind, inputs) == ["containerDefinitions[0].readOnlyRootFilesystem"]
    right = json.dumps([{"name": "gate", "image": "a", "memory": 128, "readonlyRootFilesystem": True}])
    assert not problems(kind, {**inputs, "containerDefinitions": right})


# -- names


def test_a_name_is_made_of_the_programs_name_and_seven_digits_and_kept() -> None:
    first = with_name(Name(), "gate", {}, {}, b"seed")
    assert first["name"].startswith("gate-")
    assert len(first["name"]) == len("gate-") + 7
    assert with_name(Name(), "gate", {}, first, b"other")["name"] == first["name"]
    assert with_name(Name(), "gate", {}, {}, b"other")["name"] != first["name"]


def test_a_name_that_leaves_no_room_for_the_digits_is_refused() -> None:
    with_name(Name(limit=32), "a" * 24, {}, {}, b"")
    with pytest.raises(TooLongError):
        with_name(Name(limit=32), "a" * 25, {}, {}, b"")


def test_what_has_a_chosen_name_is_deleted_before_it_is_replaced() -> None:
    assert chosen_and_kept(Name(), {"name": "a"}, {"name": "a"})
    assert not chosen_and_kept(Name(), {"name": "a"}, {"name": "b"})
    given = with_name(Name(), "gate", {}, {}, b"")
    assert not chosen_and_kept(Name(), given, given)


# -- what is there


def test_a_name_is_taken_once() -> None:
    cloud = Cloud()
    cloud.create(BUCKET, "a", {"bucket": "some"})
    with pytest.raises(RefusedError, match="AlreadyExists"):
        cloud.create(BUCKET, "b", {"bucket": "some"})


def test_what_is_referred_to_has_to_be_there(account: Account) -> None:
    with pytest.raises(RefusedError, match="does not exist"):
        account.create(SUBNET, "s", {"vpcId": "vpc-0000", "cidrBlock": "10.0.9.0/24"})


def test_what_is_written_somewhere_must_not_have_been_deleted(account: Account) -> None:
    bucket = account.create(BUCKET, "b", {"bucket": "deleted-bucket"})
    arn = bucket.computed["arn"]
    account.gone(bucket)
    with pytest.raises(RefusedError, match="was deleted"):
        account.create(GROUP, "g", {"name": "g", "vpcId": account.vpc.id, "description": f"for {arn}"})
    account.create(BUCKET, "b", {"bucket": "deleted-bucket"})
    account.create(GROUP, "g", {"name": "g", "vpcId": account.vpc.id, "description": f"for {arn}"})


def test_what_was_there_before_may_be_named() -> None:
    Cloud(["vpc-0123"]).create(SUBNET, "s", {"vpcId": "vpc-0123", "cidrBlock": "10.0.9.0/24"})


def test_subnets_do_not_overlap_and_are_in_their_vpc(account: Account) -> None:
    with pytest.raises(RefusedError, match="Conflict"):
        account.create(SUBNET, "s", {"vpcId": account.vpc.id, "cidrBlock": "10.0.1.128/25"})
    with pytest.raises(RefusedError, match="Range"):
        account.create(SUBNET, "s", {"vpcId": account.vpc.id, "cidrBlock": "10.1.1.0/24"})


def test_a_load_balancer_stays_in_its_vpc(account: Account) -> None:
    balancer = account.balancer()
    other = account.create(VPC, "other", {"cidrBlock": "10.9.0.0/16"})
    subnets = [
        account.create(
            SUBNET,
            f"o{zone}",
            {"vpcId": other.id, "cidrBlock": f"10.9.{index}.0/24", "availabilityZone": f"eu-west-1{zone}"},
        ).id
        for index, zone in enumerate("ab")
    ]
    with pytest.raises(RefusedError, match="cannot move"):
        account.update(BALANCER, balancer.id, {}, {**balancer.inputs, "subnets": subnets})


def test_a_public_load_balancer_needs_an_internet_gateway(account: Account) -> None:
    with pytest.raises(RefusedError, match="no internet gateway"):
        account.balancer(internal=False)


def test_a_target_group_serves_one_load_balancer(account: Account) -> None:
    targets = account.targets()
    account.listener(account.balancer("one"), targets)
    with pytest.raises(RefusedError, match="TargetGroupAssociationLimit"):
        account.listener(account.balancer("two"), targets)


def test_access_logs_need_a_bucket_that_lets_them_in_and_are_in_it_then(account: Account) -> None:
    bucket = account.create(BUCKET, "logs", {"bucket": "logs-bucket"})
    logs: dict[str, Any] = {"accessLogs": {"bucket": bucket.id, "enabled": True}}
    with pytest.raises(RefusedError, match="access denied"):
        account.balancer(**logs)
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": f"{bucket.computed['arn']}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    account.create("aws:s3/bucketPolicy:BucketPolicy", "logs", {"bucket": bucket.id, "policy": policy})
    account.balancer(**logs)
    with pytest.raises(RefusedError, match="BucketNotEmpty"):
        account.gone(bucket)


def test_an_immutable_tag_is_pushed_once(account: Account, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    repository = account.create(REPOSITORY, "r", {"name": "gate", "imageTagMutability": "IMMUTABLE"})
    url = repository.computed["repositoryUrl"]
    inputs = {
        "push": True,
        "tags": [f"{url}:one"],
        "context": {"location": str(tmp_path)},
        "registries": [{"address": url, "username": "AWS", "password": "secret"}],
    }
    account.create(IMAGE, "i", inputs)
    with pytest.raises(RefusedError, match="immutable"):
        account.create(IMAGE, "i", inputs)
    with pytest.raises(RefusedError, match="sign"):
        account.create(IMAGE, "i", {**inputs, "registries": []})
    with pytest.raises(RefusedError, match="RepositoryNotEmpty"):
        account.gone(repository)


# -- deletion


def test_what_is_in_use_is_not_deleted(account: Account) -> None:
    targets, balancer = account.targets(), account.balancer()
    listener = account.listener(balancer, targets)
    for held in (account.vpc, account.subnets[0], account.group, targets):
        with pytest.raises(RefusedError, match="in use by"):
            account.gone(held)
    for thing in (listener, targets, balancer, account.group, *account.subnets, account.vpc):
        account.gone(thing)
    assert account.left == []


def test_a_security_group_that_a_rule_of_another_names_is_not_deleted(account: Account) -> None:
    other = account.create(GROUP, "other", {"name": "other", "vpcId": account.vpc.id})
    rule = {"securityGroupId": other.id, "ipProtocol": "tcp", "fromPort": 1, "toPort": 1}
    account.create(RULE, "rule", {**rule, "referencedSecurityGroupId": account.group.id})
    with pytest.raises(RefusedError, match="in use by"):
        account.gone(account.group)
    account.gone(other)
    account.gone(account.group)


def test_a_role_with_policies_is_not_deleted() -> None:
    cloud = Cloud()
    role = cloud.create(ROLE, "r", {"name": "some-role", "assumeRolePolicy": TRUST})
    policy = cloud.create("aws:iam/rolePolicy:RolePolicy", "r", {"name": "p", "role": role.id, "policy": "{}"})
    with pytest.raises(RefusedError, match="in use by"):
        cloud.delete(ROLE, role.id, {})
    cloud.delete(policy.kind.token, policy.id, {})
    cloud.delete(ROLE, role.id, {})


def test_what_is_in_something_goes_with_it() -> None:
    cloud = Cloud()
    secret = cloud.create(SECRET, "s", {"name": "some-secret", "recoveryWindowInDays": 0})
    cloud.create("aws:secretsmanager/secretVersion:SecretVersion", "s", {"secretId": secret.id, "secretString": "x"})
    cloud.delete(SECRET, secret.id, {})
    assert cloud.left == []


def test_a_secret_with_a_recovery_window_is_left_and_keeps_its_name() -> None:
    cloud = Cloud()
    secret = cloud.create(SECRET, "s", {"name": "some-secret"})
    cloud.delete(SECRET, secret.id, {})
    assert cloud.left == ["secret some-secret scheduled for deletion in 30 days"]
    with pytest.raises(RefusedError, match="scheduled for deletion"):
        cloud.create(SECRET, "s", {"name": "some-secret"})


def test_a_studio_domain_leaves_security_groups_that_hold_its_vpc(account: Account) -> None:
    domain = account.create(
        "aws:sagemaker/domain:Domain",
        "d",
        {"domainName": "d", "vpcId": account.vpc.id, "subnetIds": [account.subnets[0].id]},
    )
    account.gone(domain)
    for thing in (account.group, *account.subnets):
        account.gone(thing)
    with pytest.raises(RefusedError, match="nfs"):
        account.gone(account.vpc)


def test_deletion_protection_protects(account: Account) -> None:
    balancer = account.balancer(enableDeletionProtection=True)
    with pytest.raises(RefusedError, match="deletion protection"):
        account.gone(balancer)


def test_who_deletes_the_old_one_of_what_is_only_put_deletes_the_new_one() -> None:
    cloud = Cloud()
    cloud.create(REPOSITORY, "r", {"name": "gate"})
    old = cloud.create(LIFECYCLE, "p", {"repository": "gate", "policy": "{}"})
    cloud.create(LIFECYCLE, "p", {"repository": "gate", "policy": '{"rules": []}'})
    cloud.delete(LIFECYCLE, old.id, old.outputs)
    assert cloud.of(LIFECYCLE) == []


def test_what_is_gone_is_deleted_again_without_a_word(account: Account) -> None:
    account.gone(account.group)
    account.gone(account.group)


# -- changes


def test_a_change_is_found_however_deep_and_a_document_is_compared_by_what_it_says() -> None:
    old = {"a": {"b": [{"c": 1}, {"c": 2}]}, "policy": '{"x": 1, "y": 2}', "same": "s", "tags": {}}
    new = {"a": {"b": [{"c": 1}, {"c": 3}]}, "policy": '{"y":2,"x":1}', "same": "s", "new": UNKNOWN}
    assert list(changed_paths(old, new)) == ["a.b[1].c", "new"]


def test_a_capacity_provider_is_replaced_for_another_group_only() -> None:
    entry = table()["aws:ecs/capacityProvider:CapacityProvider"]
    assert entry.replaces("autoScalingGroupProvider.autoScalingGroupArn", {}, {})
    assert entry.replaces("autoScalingGroupProvider", {}, {})
    assert not entry.replaces("autoScalingGroupProvider.managedScaling.targetCapacity", {}, {})


def test_a_rule_is_replaced_for_another_kind_of_source_only() -> None:
    entry = table()[RULE]
    assert not entry.replaces("cidrIpv4", {"cidrIpv4": "10.0.0.0/8"}, {"cidrIpv4": "11.0.0.0/8"})
    assert entry.replaces("cidrIpv4", {"cidrIpv4": "10.0.0.0/8"}, {"referencedSecurityGroupId": "sg-1"})


# -- faults


def test_each_operation_fails_once() -> None:
    plan = EachOnce((Fault.BEFORE,))
    assert [plan("create", "a"), plan("create", "a"), plan("delete", "a")] == [Fault.BEFORE, None, Fault.BEFORE]


def test_the_nth_operation_fails_and_tells_which_it_was() -> None:
    plan = Nth("create", 2, Fault.AFTER)
    assert [plan("create", "a"), plan("delete", "b"), plan("create", "c"), plan("create", "d")] == [
        None,
        None,
        Fault.AFTER,
        None,
    ]
    assert plan.hit == "c"


# -- itself


def test_the_answers_to_calls_have_the_fields_of_the_sdk() -> None:
    cloud = Cloud(["subnet-0123"])
    asked: dict[str, dict[str, Any]] = {
        "aws:ssm/getParameter:getParameter": {"name": next(iter(cloud.parameters))},
        "aws:route53/getZone:getZone": {"zoneId": "Z1"},
        "aws:ec2/getVpcEndpointService:getVpcEndpointService": {"serviceName": "com.amazonaws.eu-west-1.logs"},
        "aws:ec2/getSubnet:getSubnet": {"id": "subnet-0123"},
    }
    for token, answer in calls.CALLS.items():
        unknown = set(answer(asked.get(token, {}), cloud)) - schema.fields_of_answer(token)
        assert not unknown, token


def test_every_reference_and_name_is_a_field_of_the_sdk() -> None:
    for token, kind in KINDS.items():
        fields = schema.schema_of(token)
        for refers in kind.refers:
            assert refers.path.split(".")[0].removesuffix("[*]") in fields.inputs, (token, refers.path)
        if kind.name is not None:
            assert kind.name.field in fields.inputs, token
        assert set(kind.moves) <= fields.outputs, token
        assert kind.key == "id" or kind.key in fields.outputs, token
        for group in kind.one_of:
            assert set(group) <= set(fields.inputs), (token, group)


def test_no_two_resources_get_the_same_id(account: Account) -> None:
    making = Making("a", {}, account)
    assert len({making.hexes(16) for _ in range(100)}) == 100
