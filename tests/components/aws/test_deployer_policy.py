"""The documented IAM policies of the deployer: sufficient for every scenario, and without unused permissions."""

import fnmatch
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from preflight.aws.provider_calls import graph_requests
from preflight.aws.provider_calls.graph_requests import ROWS_BY_FUNCTION, ROWS_BY_TYPE, TYPES_WITHOUT_REQUESTS, Request
from preview.aws.mock_outputs import ACCOUNT, REGION
from preview.recorder import record

from ..scenario import Scenario
from .iam_decision import allowed
from .policies import action_data, faults
from .scenarios import SCENARIOS

DOCS = Path(__file__).parents[3] / "docs"
FILES = ("deployer-policy.json", "deployer-policy-network.json", "deployer-policy-operations.json")
DOCUMENTS = {name: json.loads((DOCS / name).read_text()) for name in FILES}
STATEMENTS: list[dict[str, Any]] = [statement for document in DOCUMENTS.values() for statement in document["Statement"]]
IDS = [str(statement["Sid"]) for statement in STATEMENTS]
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: a managed policy, without whitespace.
POLICY_SIZE_LIMIT = 6144
# Wildcards in actions, and the reason for each. They cover read actions only.
ACTION_WILDCARDS = {
    "ec2:Describe*": "about 24 actions, none of which takes an ARN",
    "elasticloadbalancing:Describe*": "ten actions, none of which takes an ARN",
    "s3:Get*Configuration": "the provider reads every configuration of a bucket, more with each version",
    "s3:GetBucket*": "the same",
}
# Dependent actions in AWS's list that this program does not need.
NOT_NEEDED = {
    "amplify": "the web ACL is for a load balancer",
    "apigateway": "the same",
    "apprunner": "the same",
    "appsync": "the same",
    "cognito-idp": "the same",
    "ec2:AssociateVerifiedAccessInstanceWebAcl": "the same",
    "ec2:DisassociateVerifiedAccessInstanceWebAcl": "the same",
    "ec2:GetVerifiedAccessInstanceWebAcl": "the same",
    "wafv2:GetPermissionPolicy": "for a shared web ACL",
    "wafv2:PutPermissionPolicy": "the same",
    "ecs:ListClusters": "the flow logs are those of a VPC, not of ECS",
    "ecs:ListContainerInstances": "the same",
    "ecs:ListServices": "the same",
    "ecs:ListTaskDefinitions": "the same",
    "ecs:ListTasks": "the same",
    "elasticfilesystem:TagResource": "SageMaker creates the file system",
    "ssm:GetParameters": "the launch template has an AMI id, not a parameter name",
}
iam_requests = functools.partial(graph_requests.iam_requests, account=ACCOUNT, region=REGION)
PROJECT_SCENARIOS = [scenario for scenario in SCENARIOS if scenario.program is None]


@functools.cache
def required_requests() -> Mapping[Request, str]:
    """The requests of all scenarios, from creation to deletion, with the resource or function that needs each."""
    return {request: what for scenario in PROJECT_SCENARIOS for request, what in iam_requests(scenario.graph()).items()}


def denied_requests(statements: list[dict[str, Any]], needed: Mapping[Request, str]) -> list[str]:
    return [
        f"{request.action} on {request.resource}, for {what}"
        for request, what in needed.items()
        if not allowed(statements, request.action, request.resource, dict(request.context))
    ]


def is_allowed(action: str, resource: str, **context: str) -> bool:
    return allowed(STATEMENTS, action, resource, {key.replace("__", ":"): value for key, value in context.items()})


@pytest.mark.parametrize("name", FILES)
def test_each_policy_with_a_boundary_is_within_the_size_limit(name: str) -> None:
    boundary = {"Condition": {"StringEquals": {"iam:PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/boundary"}}}
    extra = len(json.dumps(boundary, separators=(",", ":"))) if name == FILES[0] else 0
    assert len(json.dumps(DOCUMENTS[name], separators=(",", ":"))) + extra <= POLICY_SIZE_LIMIT


@pytest.mark.parametrize("scenario", PROJECT_SCENARIOS, ids=lambda scenario: scenario.name)
def test_policies_allow_every_request_of_a_scenario(scenario: Scenario) -> None:
    assert not denied_requests(STATEMENTS, iam_requests(scenario.graph()))


def test_every_resource_type_and_function_has_provider_calls() -> None:
    for scenario in SCENARIOS:
        graph = scenario.graph()
        kinds = {
            resource.type
            for resource in graph.resources
            if resource.custom and not resource.type.startswith(TYPES_WITHOUT_REQUESTS)
        }
        assert kinds <= set(ROWS_BY_TYPE)
        assert {call.token for call in graph.calls} <= set(ROWS_BY_FUNCTION)


@pytest.mark.parametrize("statement", STATEMENTS, ids=IDS)
def test_every_statement_is_required(statement: dict[str, Any]) -> None:
    rest = [other for other in STATEMENTS if other is not statement]
    assert denied_requests(rest, required_requests())


def test_every_action_is_required() -> None:
    for statement in STATEMENTS:
        for action in actions(statement):
            single = {**statement, "Action": action}
            assert any(
                allowed([single], request.action, request.resource, dict(request.context))
                for request in required_requests()
            ), action


def test_dependent_actions_are_included() -> None:
    needed = {request.action for request in required_requests()}
    dependent = {str(name) for action in needed for row in action_data(action) for name in row["dependent_actions"]}
    missing = dependent - needed
    exempt = {name: {name, name.partition(":")[0]} & set(NOT_NEEDED) for name in missing}
    assert [name for name, entries in exempt.items() if not entries] == []
    assert {entry for entries in exempt.values() for entry in entries} == set(NOT_NEEDED)


def test_every_wildcard_has_a_reason() -> None:
    assert {action for statement in STATEMENTS for action in actions(statement) if "*" in action} == set(
        ACTION_WILDCARDS
    )


def actions(statement: Mapping[str, Any]) -> list[str]:
    value = statement["Action"]
    return [value] if isinstance(value, str) else value


def expand_wildcards(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with each action wildcard replaced by the matching required actions."""
    expanded = [
        {
            **statement,
            "Action": [
                name for action in actions(statement) for name in matching_actions(action, statement["Resource"])
            ],
        }
        for statement in document["Statement"]
    ]
    return {**document, "Statement": expanded}


def matching_actions(action: str, resource: str | list[str]) -> list[str]:
    if "*" not in action:
        return [action]
    assert action in ACTION_WILDCARDS, f"{action} has no reason"
    return sorted(
        {
            request.action
            for request in required_requests()
            if fnmatch.fnmatchcase(request.action, action) and (request.resource == "*") == (resource == "*")
        }
    )


@pytest.mark.parametrize("name", FILES)
def test_every_action_exists_and_is_limited_by_arn_if_it_takes_one(name: str) -> None:
    document = expand_wildcards(DOCUMENTS[name])

    def program() -> None:
        pulumi.CustomResource("test:test:Policy", "policy", {"policy": json.dumps(document)})

    no_arn = {
        action: "AWS accepts no ARN"
        for statement in document["Statement"]
        for action in statement["Action"]
        if all(row["resource_arn_format"] == "*" for row in action_data(action))
    }
    assert not faults(record(program), no_arn)


def test_only_the_statement_for_the_boundary_condition_grants_role_permissions() -> None:
    (boundary_statement,) = [statement for statement in STATEMENTS if statement["Sid"] == "RolesWithRights"]
    for action in boundary_statement["Action"]:
        assert any("iam:PermissionsBoundary" in row["condition_keys"] for row in action_data(action)), action
    other_actions = {
        action
        for statement in STATEMENTS
        if statement is not boundary_statement
        for action in actions(statement)
        if action.startswith("iam:")
    }
    assert not other_actions & {"iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"}


ROLE = f"arn:aws:iam::{ACCOUNT}:role"
EC2 = f"arn:aws:ec2:{REGION}:{ACCOUNT}"


def test_resources_of_other_projects_are_denied() -> None:
    assert is_allowed("iam:PutRolePolicy", f"{ROLE}/mlflow-proxy-0a1b2c3")
    assert not is_allowed("iam:PutRolePolicy", f"{ROLE}/Admin")
    assert not is_allowed("iam:AttachRolePolicy", f"{ROLE}/mlflow-proxy-0a1b2c3")
    assert not is_allowed("iam:PassRole", f"{ROLE}/Admin", iam__PassedToService="ec2.amazonaws.com")
    assert not is_allowed("iam:PassRole", f"{ROLE}/mlflow-proxy-0a1b2c3", iam__PassedToService="lambda.amazonaws.com")
    assert not is_allowed("iam:PassRole", f"{ROLE}/mlflow-proxy-0a1b2c3")
    linked = f"{ROLE}/aws-service-role/x.amazonaws.com/AWSServiceRoleForX"
    assert not is_allowed("iam:CreateServiceLinkedRole", linked, iam__AWSServiceName="x.amazonaws.com")
    assert not is_allowed("s3:DeleteObject", "arn:aws:s3:::other/file")
    assert not is_allowed("s3:GetObject", "arn:aws:s3:::mlflow-artifacts-0a1b2c3/mlflow/model.pkl")
    assert not is_allowed(
        "secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:other-AbCdEf"
    )
    assert not is_allowed("kms:Decrypt", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k")
    assert not is_allowed("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/other")
    zone = "arn:aws:route53:::hostedzone/Z"
    mail = {"route53:ChangeResourceRecordSetsRecordTypes": ("MX",)}
    assert not allowed(STATEMENTS, "route53:ChangeResourceRecordSets", zone, mail)


def test_ec2_changes_require_the_project_tag() -> None:
    own_tag, other_tag = ({"aws__ResourceTag/Project": project} for project in ("mlflow", "other"))
    for action, resource in (
        ("ec2:DeleteVpc", f"{EC2}:vpc/v"),
        ("ec2:DeleteRoute", f"{EC2}:route-table/r"),
        ("ec2:CreateTags", f"{EC2}:vpc/v"),
    ):
        assert is_allowed(action, resource, **own_tag)
        assert not is_allowed(action, resource, **other_tag)
        assert not is_allowed(action, resource)
    assert is_allowed(
        "ec2:DeleteSecurityGroup", f"{EC2}:security-group/s", **{"aws__ResourceTag/GuardDutyManaged": "true"}
    )
    assert not is_allowed("ec2:DeleteSecurityGroup", f"{EC2}:security-group/s", **other_tag)
    rules = f"{EC2}:security-group/s"
    assert is_allowed("ec2:RevokeSecurityGroupIngress", rules)
    assert not is_allowed("ec2:RevokeSecurityGroupIngress", rules, **other_tag)
    assert not is_allowed("ec2:RunInstances", f"{EC2}:instance/i"), "without a launch template"
