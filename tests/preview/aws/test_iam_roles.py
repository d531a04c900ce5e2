import json

import pulumi_aws as aws
import pytest

from preview.aws.iam_roles import Permission, roles
from preview.aws.policies import statements
from preview.console import Style
from preview.recorder import record
from preview.report import report
from preview.stack_files import Stack

from .programs import role

READ = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::b", "*"]}


def test_inline_policies_become_permissions() -> None:
    (found,) = roles(record(lambda: role("reader", "ecs-tasks.amazonaws.com", READ)))
    assert found.role.name == "reader"
    assert found.assumed_by == ("ecs-tasks.amazonaws.com if aws:SourceAccount is 123456789012",)
    assert found.permissions == (
        Permission(
            allow=True, actions=("s3:GetObject", "s3:ListBucket"), resources=("arn:aws:s3:::b", "*"), conditions=()
        ),
    )


def test_attached_managed_policies_become_permissions() -> None:
    def program() -> None:
        created = role("r", "ec2.amazonaws.com")
        aws.iam.RolePolicyAttachment("more", role=created.name, policy_arn="arn:aws:iam::aws:policy/job/Billing")
        aws.iam.RolePolicy("own", role=created.name, policy=json.dumps({"Statement": {**READ, "Effect": "Deny"}}))

    (found_role,) = roles(record(program))
    assert [(permission.managed, permission.allow, permission.actions) for permission in found_role.permissions] == [
        ("Billing", True, ()),
        ("", False, ("s3:GetObject", "s3:ListBucket")),
    ]


def test_policy_of_another_role_is_ignored() -> None:
    first, second = roles(record(lambda: (role("first", "a.amazonaws.com", READ), role("second", "a.amazonaws.com"))))
    assert first.permissions
    assert second.permissions == ()


def test_used_by_lists_tasks_and_launch_templates() -> None:
    def program() -> None:
        task, instances = role("task", "ecs-tasks.amazonaws.com"), role("instances", "ec2.amazonaws.com")
        aws.ecs.TaskDefinition("t", family="t", container_definitions="[]", task_role_arn=task.arn)
        profile = aws.iam.InstanceProfile("p", role=instances.name)
        aws.ec2.LaunchTemplate("l", iam_instance_profile=aws.ec2.LaunchTemplateIamInstanceProfileArgs(arn=profile.arn))

    task, instances = roles(record(program))
    assert [user.name for user in task.used_by] == ["t"]
    assert [user.name for user in instances.used_by] == ["l"]


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ({"StringEquals": {"aws:SourceAccount": "1"}}, ["aws:SourceAccount is 1"]),
        ({"StringLike": {"a:b": ["x", "y"]}}, ["a:b is like x or y"]),
        ({"ForAnyValue:StringEquals": {"aws:CalledVia": ["x"]}}, ["any of aws:CalledVia is x"]),
        ({"StringEqualsIfExists": {"aws:SourceVpc": "v"}}, ["aws:SourceVpc is v, if present"]),
        ({"Null": {"aws:TokenIssueTime": "true"}}, ["aws:TokenIssueTime is absent"]),
        ({"Bool": {"aws:SecureTransport": False}}, ["aws:SecureTransport is false"]),
        ({"DateGreaterThan": {"aws:CurrentTime": "2026"}}, ["aws:CurrentTime DateGreaterThan 2026"]),
        ({"IpAddress": {"a": "1"}, "NumericLessThan": {"b": 2}}, ["a is in 1", "b is less than 2"]),
    ],
)
def test_condition_is_shown_as_text(condition: dict[str, object], text: list[str]) -> None:
    (found,) = statements({"Statement": {"Effect": "Allow", "Action": "a:b", "Resource": "*", "Condition": condition}})
    assert list(found.conditions) == text


@pytest.mark.parametrize("text", ["", "no", "[]", "3", '{"a": 1}', "null"])
def test_invalid_policy_has_no_statements(text: str) -> None:
    assert statements(text) == []


def test_report_shows_resource_names_and_groups_actions_by_service(empty_stack: Stack) -> None:
    def program() -> None:
        bucket = aws.s3.Bucket("data", bucket="chosen")
        role(
            "reader",
            "ecs-tasks.amazonaws.com",
            {"Effect": "Allow", "Action": ["s3:Get", "s3:List", "kms:Decrypt"], "Resource": [bucket.arn, "*"]},
            permissions_boundary="arn:aws:iam::123456789012:policy/bound",
        )

    text = report(empty_stack, record(program), Style(colours=False))
    assert (
        "  reader\n"
        "    assumed by ecs-tasks.amazonaws.com if aws:SourceAccount is 123456789012\n"
        "    permissions boundary arn:aws:iam::123456789012:policy/bound\n"
        "    allow s3:Get, List; kms:Decrypt\n"
        "      on data (aws.s3.Bucket)\n"
        "      on all resources (*)\n"
    ) in text
