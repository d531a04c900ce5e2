"""The double of AWS rejects operations that conflict with the account's resources. No engine is needed."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.provider.cloud import Cloud
from tests.doubles.provider.kind import CloudError, CreateRequest
from tests.engine.aws_account import (
    BUCKET,
    GROUP,
    IMAGE,
    LIFECYCLE_POLICY,
    LOAD_BALANCER,
    REPOSITORY,
    ROLE,
    RULE,
    SECRET,
    SUBNET,
    TRUST_POLICY,
    VPC,
    Account,
)


@pytest.fixture
def account() -> Account:
    """Return an account with a VPC, two subnets and a security group."""
    return Account()


# -- names and references


def test_duplicate_name_is_rejected() -> None:
    cloud = Cloud()
    cloud.create(BUCKET, "a", {"bucket": "test-bucket"})
    with pytest.raises(CloudError, match="AlreadyExists"):
        cloud.create(BUCKET, "b", {"bucket": "test-bucket"})


def test_reference_to_a_missing_resource_is_rejected(account: Account) -> None:
    with pytest.raises(CloudError, match="does not exist"):
        account.create(SUBNET, "s", {"vpcId": "vpc-0000", "cidrBlock": "10.0.9.0/24"})


def test_string_with_the_arn_of_a_deleted_resource_is_rejected(account: Account) -> None:
    bucket = account.create(BUCKET, "b", {"bucket": "deleted-bucket"})
    arn = bucket.computed["arn"]
    account.delete_resource(bucket)
    with pytest.raises(CloudError, match="was deleted"):
        account.create(GROUP, "g", {"name": "g", "vpcId": account.vpc.id, "description": f"for {arn}"})
    account.create(BUCKET, "b", {"bucket": "deleted-bucket"})
    account.create(GROUP, "g", {"name": "g", "vpcId": account.vpc.id, "description": f"for {arn}"})


def test_reference_to_an_existing_resource_is_accepted() -> None:
    Cloud(["vpc-0123"]).create(SUBNET, "s", {"vpcId": "vpc-0123", "cidrBlock": "10.0.9.0/24"})


def test_subnet_that_overlaps_or_exceeds_the_vpc_is_rejected(account: Account) -> None:
    with pytest.raises(CloudError, match="Conflict"):
        account.create(SUBNET, "s", {"vpcId": account.vpc.id, "cidrBlock": "10.0.1.128/25"})
    with pytest.raises(CloudError, match="Range"):
        account.create(SUBNET, "s", {"vpcId": account.vpc.id, "cidrBlock": "10.1.1.0/24"})


def test_load_balancer_cannot_move_to_another_vpc(account: Account) -> None:
    load_balancer = account.load_balancer()
    other = account.create(VPC, "other", {"cidrBlock": "10.9.0.0/16"})
    subnets = [
        account.create(
            SUBNET,
            f"o{zone}",
            {"vpcId": other.id, "cidrBlock": f"10.9.{index}.0/24", "availabilityZone": f"eu-west-1{zone}"},
        ).id
        for index, zone in enumerate("ab")
    ]
    with pytest.raises(CloudError, match="cannot move"):
        account.update(LOAD_BALANCER, load_balancer.id, {}, {**load_balancer.inputs, "subnets": subnets})


def test_public_load_balancer_needs_an_internet_gateway(account: Account) -> None:
    with pytest.raises(CloudError, match="no internet gateway"):
        account.load_balancer(internal=False)


def test_target_group_belongs_to_one_load_balancer(account: Account) -> None:
    target_group = account.target_group()
    account.listener(account.load_balancer("one"), target_group)
    with pytest.raises(CloudError, match="TargetGroupAssociationLimit"):
        account.listener(account.load_balancer("two"), target_group)


def test_access_logs_need_a_bucket_policy_and_fill_the_bucket(account: Account) -> None:
    bucket = account.create(BUCKET, "logs", {"bucket": "logs-bucket"})
    logs: dict[str, Any] = {"accessLogs": {"bucket": bucket.id, "enabled": True}}
    with pytest.raises(CloudError, match="access denied"):
        account.load_balancer(**logs)
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": f"{bucket.computed['arn']}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    account.create("aws:s3/bucketPolicy:BucketPolicy", "logs", {"bucket": bucket.id, "policy": policy})
    account.load_balancer(**logs)
    with pytest.raises(CloudError, match="BucketNotEmpty"):
        account.delete_resource(bucket)


def test_immutable_tag_cannot_be_overwritten(account: Account, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    repository = account.create(REPOSITORY, "r", {"name": "proxy", "imageTagMutability": "IMMUTABLE"})
    url = repository.computed["repositoryUrl"]
    inputs = {
        "push": True,
        "tags": [f"{url}:one"],
        "context": {"location": str(tmp_path)},
        "registries": [{"address": url, "username": "AWS", "password": "secret"}],
    }
    account.create(IMAGE, "i", inputs)
    with pytest.raises(CloudError, match="immutable"):
        account.create(IMAGE, "i", inputs)
    with pytest.raises(CloudError, match="no login"):
        account.create(IMAGE, "i", {**inputs, "registries": []})
    with pytest.raises(CloudError, match="RepositoryNotEmpty"):
        account.delete_resource(repository)


def test_ids_are_unique(account: Account) -> None:
    request = CreateRequest("a", {}, account)
    assert len({request.hex_digits(16) for _ in range(100)}) == 100


# -- deletion


def test_resource_in_use_cannot_be_deleted(account: Account) -> None:
    target_group, load_balancer = account.target_group(), account.load_balancer()
    listener = account.listener(load_balancer, target_group)
    for resource_in_use in (account.vpc, account.subnets[0], account.group, target_group):
        with pytest.raises(CloudError, match="in use by"):
            account.delete_resource(resource_in_use)
    for resource in (listener, target_group, load_balancer, account.group, *account.subnets, account.vpc):
        account.delete_resource(resource)
    assert account.left == []


def test_security_group_in_another_groups_rule_cannot_be_deleted(account: Account) -> None:
    other = account.create(GROUP, "other", {"name": "other", "vpcId": account.vpc.id})
    rule = {"securityGroupId": other.id, "ipProtocol": "tcp", "fromPort": 1, "toPort": 1}
    account.create(RULE, "rule", {**rule, "referencedSecurityGroupId": account.group.id})
    with pytest.raises(CloudError, match="in use by"):
        account.delete_resource(account.group)
    account.delete_resource(other)
    account.delete_resource(account.group)


def test_role_with_policies_cannot_be_deleted() -> None:
    cloud = Cloud()
    role = cloud.create(ROLE, "r", {"name": "test-role", "assumeRolePolicy": TRUST_POLICY})
    policy = cloud.create("aws:iam/rolePolicy:RolePolicy", "r", {"name": "p", "role": role.id, "policy": "{}"})
    with pytest.raises(CloudError, match="in use by"):
        cloud.delete(ROLE, role.id, {})
    cloud.delete(policy.kind.token, policy.id, {})
    cloud.delete(ROLE, role.id, {})


def test_children_are_deleted_with_their_parent() -> None:
    cloud = Cloud()
    secret = cloud.create(SECRET, "s", {"name": "test-secret", "recoveryWindowInDays": 0})
    cloud.create("aws:secretsmanager/secretVersion:SecretVersion", "s", {"secretId": secret.id, "secretString": "x"})
    cloud.delete(SECRET, secret.id, {})
    assert cloud.left == []


def test_secret_with_a_recovery_window_is_retained_and_reserves_its_name() -> None:
    cloud = Cloud()
    secret = cloud.create(SECRET, "s", {"name": "test-secret"})
    cloud.delete(SECRET, secret.id, {})
    assert cloud.left == ["secret test-secret scheduled for deletion in 30 days"]
    with pytest.raises(CloudError, match="scheduled for deletion"):
        cloud.create(SECRET, "s", {"name": "test-secret"})


def test_studio_domain_leaves_security_groups_that_block_its_vpc(account: Account) -> None:
    domain = account.create(
        "aws:sagemaker/domain:Domain",
        "d",
        {"domainName": "d", "vpcId": account.vpc.id, "subnetIds": [account.subnets[0].id]},
    )
    account.delete_resource(domain)
    for resource in (account.group, *account.subnets):
        account.delete_resource(resource)
    with pytest.raises(CloudError, match="nfs"):
        account.delete_resource(account.vpc)


def test_deletion_protection_blocks_deletion(account: Account) -> None:
    load_balancer = account.load_balancer(enableDeletionProtection=True)
    with pytest.raises(CloudError, match="deletion protection"):
        account.delete_resource(load_balancer)


def test_deletion_of_an_overwritten_resource_deletes_the_new_resource() -> None:
    cloud = Cloud()
    cloud.create(REPOSITORY, "r", {"name": "proxy"})
    old = cloud.create(LIFECYCLE_POLICY, "p", {"repository": "proxy", "policy": "{}"})
    cloud.create(LIFECYCLE_POLICY, "p", {"repository": "proxy", "policy": '{"rules": []}'})
    cloud.delete(LIFECYCLE_POLICY, old.id, old.outputs)
    assert cloud.of(LIFECYCLE_POLICY) == []


def test_deletion_of_a_missing_resource_succeeds(account: Account) -> None:
    account.delete_resource(account.group)
    account.delete_resource(account.group)
