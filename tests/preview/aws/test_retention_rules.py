from collections.abc import Callable

import pulumi_aws as aws
import pytest

from preview.destroy import retentions
from preview.recorder import record


def reported_retentions(program: Callable[[], object]) -> list[tuple[str, bool, str]]:
    return [(retention.resource.name, retention.blocks, retention.reason) for retention in retentions(record(program))]


RETAINED: dict[str, tuple[Callable[[], object], tuple[bool, str]]] = {
    "bucket": (lambda: aws.s3.Bucket("x"), (True, "cannot be deleted while it contains objects")),
    "repository": (lambda: aws.ecr.Repository("x"), (True, "cannot be deleted while it contains images")),
    "load balancer": (
        lambda: aws.lb.LoadBalancer("x", enable_deletion_protection=True),
        (True, "has deletion protection"),
    ),
    "secret": (lambda: aws.secretsmanager.Secret("x"), (False, "can be restored for 30 days")),
    "secret with a window of 7 days": (
        lambda: aws.secretsmanager.Secret("x", recovery_window_in_days=7),
        (False, "can be restored for 7 days"),
    ),
}
DELETED: dict[str, Callable[[], object]] = {
    "bucket": lambda: aws.s3.Bucket("x", force_destroy=True),
    "repository": lambda: aws.ecr.Repository("x", force_delete=True),
    "load balancer": lambda: aws.lb.LoadBalancer("x"),
    "secret": lambda: aws.secretsmanager.Secret("x", recovery_window_in_days=0),
    "log group": lambda: aws.cloudwatch.LogGroup("x"),
    "topic": lambda: aws.sns.Topic("x"),
}


@pytest.mark.parametrize(("program", "expected"), RETAINED.values(), ids=RETAINED)
def test_retained_resource_is_reported(program: Callable[[], object], expected: tuple[bool, str]) -> None:
    assert reported_retentions(program) == [("x", *expected)]


@pytest.mark.parametrize("program", DELETED.values(), ids=DELETED)
def test_deleted_resource_is_not_reported(program: Callable[[], object]) -> None:
    assert reported_retentions(program) == []


def test_studio_domain_leaves_resources_that_block_the_vpc() -> None:
    def program() -> None:
        aws.sagemaker.Domain(
            "x",
            auth_mode="IAM",
            default_user_settings=aws.sagemaker.DomainDefaultUserSettingsArgs(execution_role="r"),
            domain_name="x",
            subnet_ids=[],
            vpc_id="v",
        )

    assert [reason for _, _, reason in reported_retentions(program)] == [
        "leaves its file system",
        "leaves mount targets and two security groups, which block the deletion of the VPC",
    ]
