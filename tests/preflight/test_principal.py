"""The principal whose permissions IAM simulates: users, roles with their path, the root user."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from preflight.checks import CHECKS
from preflight.model import Status
from preflight.runner import result
from tests.preflight.conftest import Make
from tests.preflight.stacks import World

PERMISSIONS = next(check for check in CHECKS if check.name == "aws permissions")
ACCOUNT = "123456789012"


def identify(world: World, arn: str) -> list[str]:
    """Give the credentials this ARN; return the principals that are simulated."""
    simulated: list[str] = []
    simulate = world.aws.overrides["iam:SimulatePrincipalPolicy"]

    def record(parameters: Mapping[str, Any]) -> dict[str, Any]:
        simulated.append(parameters["PolicySourceArn"])
        return simulate(parameters)

    world.aws.overrides["iam:SimulatePrincipalPolicy"] = record
    world.aws.overrides["sts:GetCallerIdentity"] = lambda _: {"Account": ACCOUNT, "Arn": arn}
    return simulated


@pytest.mark.parametrize("path", ["/", "/aws-reserved/sso.amazonaws.com/eu-west-1/"])
def test_a_session_is_simulated_as_its_role_with_the_path(path: str, make: Make) -> None:
    world = make("dev")
    world.aws.session().client("iam").create_role(RoleName="deployer", Path=path, AssumeRolePolicyDocument="{}")
    simulated = identify(world, f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/ann@acme.test")
    assert result(PERMISSIONS, world.subject()).status is Status.PASSED
    assert set(simulated) == {f"arn:aws:iam::{ACCOUNT}:role{path}deployer"}


def test_the_checks_use_the_role_that_the_provider_assumes(make: Make) -> None:
    roles = [{"roleArn": f"arn:aws:iam::{ACCOUNT}:role/deployer", "externalId": "mlflow"}]
    world = make("dev", config={"aws:assumeRoles": json.dumps(roles)})
    del world.aws.overrides["sts:GetCallerIdentity"]
    subject = world.subject()
    assert subject.aws.session is not world.aws.session()
    assert subject.aws.session.get_credentials() is not None
    assert "sts:AssumeRole" in world.aws.called
    assert subject.aws.identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/preflight"


def test_the_root_user_is_not_simulated(make: Make) -> None:
    world = make("dev")
    simulated = identify(world, f"arn:aws:iam::{ACCOUNT}:root")
    assert result(PERMISSIONS, world.subject()).status is Status.PASSED
    assert simulated == []


def test_a_federated_user_cannot_be_simulated(make: Make) -> None:
    world = make("dev")
    identify(world, f"arn:aws:sts::{ACCOUNT}:federated-user/ann")
    found = result(PERMISSIONS, world.subject())
    assert (found.status, found.text) == (
        Status.UNCHECKED,
        "the policy simulator does not take federated users: use a role",
    )


def test_requests_are_for_the_account_and_region_of_the_credentials(make: Make) -> None:
    world = make("dev", config={"aws:region": "us-west-2"})
    world.aws.statements = [
        {"Effect": "Allow", "Action": "*", "Resource": ["*", "arn:aws:*:us-west-2:*", "arn:aws:*::*"]}
    ]
    assert result(PERMISSIONS, world.subject()).status is Status.PASSED
    world.aws.statements = [{"Effect": "Allow", "Action": "*", "Resource": ["arn:aws:*:eu-west-1:*"]}]
    assert result(PERMISSIONS, world.subject()).status is Status.FAILED
