"""The double of AWS refuses what an account there would, by what is in it and in use. No engine is needed."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.provider.cloud import Cloud
from tests.doubles.provider.kind import Making, RefusedError
from tests.engine.amazon import (
    BALANCER,
    BUCKET,
    GROUP,
    IMAGE,
    LIFECYCLE,
    REPOSITORY,
    ROLE,
    RULE,
    SECRET,
    SUBNET,
    TRUST,
    VPC,
    Account,
)


@pytest.fixture
def account() -> Account:
    return Account()


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
    repository = account.create(REPOSITORY, "r", {"name": "proxy", "imageTagMutability": "IMMUTABLE"})
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


def test_no_two_resources_get_the_same_id(account: Account) -> None:
    making = Making("a", {}, account)
    assert len({making.hexes(16) for _ in range(100)}) == 100


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
    cloud.create(REPOSITORY, "r", {"name": "proxy"})
    old = cloud.create(LIFECYCLE, "p", {"repository": "proxy", "policy": "{}"})
    cloud.create(LIFECYCLE, "p", {"repository": "proxy", "policy": '{"rules": []}'})
    cloud.delete(LIFECYCLE, old.id, old.outputs)
    assert cloud.of(LIFECYCLE) == []


def test_what_is_gone_is_deleted_again_without_a_word(account: Account) -> None:
    account.gone(account.group)
    account.gone(account.group)
