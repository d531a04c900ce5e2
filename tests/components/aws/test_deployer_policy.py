"""The documented rights of whoever runs `pulumi up`: enough for every scenario, and not much more."""

import fnmatch
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from preview.aws.mock_outputs import ACCOUNT, REGION
from preview.recorder import record

from ..scenario import Scenario
from .iam_decision import allowed
from .policies import action_data, faults
from .provider_calls import CALLS, INVOKES, WITHOUT_AWS, Call, calls
from .scenarios import SCENARIOS

DOCS = Path(__file__).parents[3] / "docs"
FILES = ("deployer-policy.json", "deployer-policy-network.json")
DOCUMENTS = {name: json.loads((DOCS / name).read_text()) for name in FILES}
STATEMENTS: list[dict[str, Any]] = [one for document in DOCUMENTS.values() for one in document["Statement"]]
IDS = [str(one["Sid"]) for one in STATEMENTS]
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: a managed policy, whitespace not counted.
MOST = 6144
# Where a family of actions is named by a star, and why: it reads, and AWS has no narrower way to say it.
FAMILIES = {
    "ec2:Describe*": "two dozen of them, and none takes an ARN",
    "elasticloadbalancing:Describe*": "ten of them, and none takes an ARN",
    "s3:Get*Configuration": "the provider reads all that a bucket can have, more with each version; of buckets by name",
    "s3:GetBucket*": "the same",
}
# What AWS lists beside an action, and this program does not need.
NOT_NEEDED = {
    "amplify": "the firewall is a load balancer's",
    "apigateway": "the same",
    "apprunner": "the same",
    "appsync": "the same",
    "cognito-idp": "the same",
    "ec2:AssociateVerifiedAccessInstanceWebAcl": "the same",
    "ec2:DisassociateVerifiedAccessInstanceWebAcl": "the same",
    "ec2:GetVerifiedAccessInstanceWebAcl": "the same",
    "wafv2:GetPermissionPolicy": "of a firewall that is shared",
    "wafv2:PutPermissionPolicy": "the same",
    "ecs:ListClusters": "flow logs of a VPC, and not of ECS",
    "ecs:ListContainerInstances": "the same",
    "ecs:ListServices": "the same",
    "ecs:ListTaskDefinitions": "the same",
    "ecs:ListTasks": "the same",
    "elasticfilesystem:TagResource": "SageMaker makes the file system, not the caller",
    "ssm:GetParameters": "the template has an image's id, and not a parameter's name",
}
OWN = [one for one in SCENARIOS if one.program is None]


@functools.cache
def asked() -> Mapping[Call, str]:
    """What all of them need in their whole lives."""
    return {call: what for scenario in OWN for call, what in calls(scenario.graph()).items()}


def refused(statements: list[dict[str, Any]], needed: Mapping[Call, str]) -> list[str]:
    return [
        f"{call.action} on {call.resource}, for {what}"
        for call, what in needed.items()
        if not allowed(statements, call.action, call.resource, dict(call.context))
    ]


def may(action: str, resource: str, **context: str) -> bool:
    return allowed(STATEMENTS, action, resource, {key.replace("__", ":"): value for key, value in context.items()})


@pytest.mark.parametrize("name", FILES)
def test_each_file_fits_a_managed_policy_with_a_boundary_added(name: str) -> None:
    boundary = {"Condition": {"StringEquals": {"iam:PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/boundary"}}}
    extra = len(json.dumps(boundary, separators=(",", ":"))) if name == FILES[0] else 0
    assert len(json.dumps(DOCUMENTS[name], separators=(",", ":"))) + extra <= MOST


@pytest.mark.parametrize("scenario", OWN, ids=lambda scenario: scenario.name)
def test_it_is_enough_from_the_first_up_to_destroy(scenario: Scenario) -> None:
    assert not refused(STATEMENTS, calls(scenario.graph()))


def test_every_kind_of_resource_and_question_is_written_down() -> None:
    for scenario in SCENARIOS:
        graph = scenario.graph()
        kinds = {one.type for one in graph.resources if one.custom and not one.type.startswith(WITHOUT_AWS)}
        assert kinds <= set(CALLS)
        assert {one.token for one in graph.calls} <= set(INVOKES)


@pytest.mark.parametrize("statement", STATEMENTS, ids=IDS)
def test_a_missing_statement_would_be_found(statement: dict[str, Any]) -> None:
    rest = [one for one in STATEMENTS if one is not statement]
    assert refused(rest, asked())


def test_no_right_is_there_that_nothing_needs() -> None:
    for one in STATEMENTS:
        for action in actions(one):
            alone = {**one, "Action": action}
            assert any(allowed([alone], each.action, each.resource, dict(each.context)) for each in asked()), action


def test_what_aws_lists_beside_an_action_is_there_too() -> None:
    needed = {call.action for call in asked()}
    beside = {str(one) for action in needed for row in action_data(action) for one in row["dependent_actions"]}
    assert not {one for one in beside - needed if not {one, one.partition(":")[0]} & set(NOT_NEEDED)}


def actions(statement: Mapping[str, Any]) -> list[str]:
    given = statement["Action"]
    return [given] if isinstance(given, str) else given


def without_families(document: Mapping[str, Any]) -> dict[str, Any]:
    """Each star of an action replaced by what the program asks of it, for a check by AWS's own list."""
    written = [
        {**statement, "Action": [one for action in actions(statement) for one in meant(action, statement["Resource"])]}
        for statement in document["Statement"]
    ]
    return {**document, "Statement": written}


def meant(action: str, resource: str | list[str]) -> list[str]:
    if "*" not in action:
        return [action]
    assert action in FAMILIES, f"{action} has no reason"
    return sorted(
        {
            call.action
            for call in asked()
            if fnmatch.fnmatchcase(call.action, action) and (call.resource == "*") == (resource == "*")
        }
    )


@pytest.mark.parametrize("name", FILES)
def test_every_action_is_real_and_bounded_where_aws_takes_an_arn(name: str) -> None:
    document = without_families(DOCUMENTS[name])

    def program() -> None:
        pulumi.CustomResource("test:test:Policy", "policy", {"policy": json.dumps(document)})

    no_arn = {
        action: "AWS takes none"
        for statement in document["Statement"]
        for action in statement["Action"]
        if all(row["resource_arn_format"] == "*" for row in action_data(action))
    }
    assert not faults(record(program), no_arn)


def test_the_boundary_can_be_asked_for_where_the_page_says() -> None:
    (statement,) = [one for one in STATEMENTS if one["Sid"] == "RolesWithRights"]
    for action in statement["Action"]:
        assert any("iam:PermissionsBoundary" in row["condition_keys"] for row in action_data(action)), action
    elsewhere = {
        action for one in STATEMENTS if one is not statement for action in actions(one) if action.startswith("iam:")
    }
    assert not elsewhere & {"iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"}


ROLE = f"arn:aws:iam::{ACCOUNT}:role"
EC2 = f"arn:aws:ec2:{REGION}:{ACCOUNT}"


def test_what_is_others_is_out_of_reach() -> None:
    assert may("iam:PutRolePolicy", f"{ROLE}/mlflow-proxy-0a1b2c3")
    assert not may("iam:PutRolePolicy", f"{ROLE}/Admin")
    assert not may("iam:AttachRolePolicy", f"{ROLE}/mlflow-proxy-0a1b2c3")
    assert not may("iam:PassRole", f"{ROLE}/Admin", iam__PassedToService="ec2.amazonaws.com")
    assert not may("iam:PassRole", f"{ROLE}/mlflow-proxy-0a1b2c3", iam__PassedToService="lambda.amazonaws.com")
    assert not may("iam:PassRole", f"{ROLE}/mlflow-proxy-0a1b2c3")
    linked = f"{ROLE}/aws-service-role/x.amazonaws.com/AWSServiceRoleForX"
    assert not may("iam:CreateServiceLinkedRole", linked, iam__AWSServiceName="x.amazonaws.com")
    assert not may("s3:DeleteObject", "arn:aws:s3:::theirs/file")
    assert not may("s3:GetObject", "arn:aws:s3:::mlflow-artifacts-0a1b2c3/mlflow/model.pkl")
    assert not may("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:theirs-AbCdEf")
    assert not may("kms:Decrypt", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k")
    assert not may("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/theirs")
    zone = "arn:aws:route53:::hostedzone/Z"
    mail = {"route53:ChangeResourceRecordSetsRecordTypes": ("MX",)}
    assert not allowed(STATEMENTS, "route53:ChangeResourceRecordSets", zone, mail)


def test_of_ec2_only_what_has_the_projects_tag_can_be_changed() -> None:
    own, other = ({"aws__ResourceTag/Project": project} for project in ("mlflow", "theirs"))
    for action, resource in (
        ("ec2:DeleteVpc", f"{EC2}:vpc/v"),
        ("ec2:DeleteRoute", f"{EC2}:route-table/r"),
        ("ec2:CreateTags", f"{EC2}:vpc/v"),
    ):
        assert may(action, resource, **own)
        assert not may(action, resource, **other)
        assert not may(action, resource)
    rules = f"{EC2}:security-group/s"
    assert may("ec2:RevokeSecurityGroupIngress", rules)
    assert not may("ec2:RevokeSecurityGroupIngress", rules, **other)
    assert not may("ec2:RunInstances", f"{EC2}:instance/i"), "without a launch template"
