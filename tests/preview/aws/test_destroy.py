from collections.abc import Callable

import pulumi_aws as aws
import pytest

from preview.destroy import kept
from preview.recorder import record


def found(program: Callable[[], object]) -> list[tuple[str, bool, str]]:
    return [(one.resource.name, one.stops, one.what) for one in kept(record(program))]


STAYS: dict[str, tuple[Callable[[], object], tuple[bool, str]]] = {
    "bucket": (lambda: aws.s3.Bucket("x"), (True, "is not deleted while it holds objects")),
    "repository": (lambda: aws.ecr.Repository("x"), (True, "is not deleted while it holds images")),
    "balancer": (lambda: aws.lb.LoadBalancer("x", enable_deletion_protection=True), (True, "has deletion protection")),
    "secret": (lambda: aws.secretsmanager.Secret("x"), (False, "can be brought back for 30 days")),
    "secret for a week": (
        lambda: aws.secretsmanager.Secret("x", recovery_window_in_days=7),
        (False, "can be brought back for 7 days"),
    ),
}
GOES: dict[str, Callable[[], object]] = {
    "bucket": lambda: aws.s3.Bucket("x", force_destroy=True),
    "repository": lambda: aws.ecr.Repository("x", force_delete=True),
    "balancer": lambda: aws.lb.LoadBalancer("x"),
    "secret": lambda: aws.secretsmanager.Secret("x", recovery_window_in_days=0),
    "log": lambda: aws.cloudwatch.LogGroup("x"),
    "topic": lambda: aws.sns.Topic("x"),
}


@pytest.mark.parametrize(("program", "what"), STAYS.values(), ids=STAYS)
def test_what_stays_or_stops_is_named(program: Callable[[], object], what: tuple[bool, str]) -> None:
    assert found(program) == [("x", *what)]


@pytest.mark.parametrize("program", GOES.values(), ids=GOES)
def test_what_goes_is_not(program: Callable[[], object]) -> None:
    assert found(program) == []


def test_a_domain_leaves_what_holds_its_vpc() -> None:
    def program() -> None:
        aws.sagemaker.Domain(
            "x",
            auth_mode="IAM",
            default_user_settings=aws.sagemaker.DomainDefaultUserSettingsArgs(execution_role="r"),
            domain_name="x",
            subnet_ids=[],
            vpc_id="v",
        )

    assert [what for _, _, what in found(program)] == [
        "leaves its file system",
        "leaves mount targets and two security groups, which hold the VPC",
    ]
