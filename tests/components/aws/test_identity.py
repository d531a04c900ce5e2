"""What the roles of proxy, ECS and instances may do, held against AWS's own list of actions and resources."""

from typing import Any

import pytest
from policy_sentry.querying.actions import get_actions_for_service

from components.aws import mlflow_actions

from .helpers import IMAGE_URI, KEY, only, record_stack, statements
from .policies import faults

SERVER = {"tracking": {"kind": "server"}}
APP = {"tracking": {"kind": "app"}}
HARDENED = {"kmsKeyArn": KEY, "service": {"enableExecuteCommand": True}, **SERVER}


def rights(role: str, settings: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    policy = only(record_stack(settings), "aws:iam/rolePolicy:RolePolicy", f"proxy-{role}").inputs["policy"]
    return [dict(one) for one in statements(policy)]


def by_action(role: str, settings: dict[str, Any] | None = None) -> dict[str, list[str]]:
    """Where each action may be done."""
    found: dict[str, list[str]] = {}
    for one in rights(role, settings):
        for action in one["Action"]:
            found.setdefault(action, []).extend(one["Resource"])
    return found


def output(settings: dict[str, Any], kind: str, name: str) -> str:
    return only(record_stack(settings), kind, name).outputs["arn"]


@pytest.mark.parametrize("settings", [APP, SERVER, HARDENED], ids=["app", "server", "hardened"])
def test_every_action_and_resource_is_one_of_awss_and_no_wider_than_it_has_to_be(settings: dict[str, Any]) -> None:
    ours = tuple(f"RolePolicy proxy-{role}:" for role in ("proxy", "execution", "instance"))
    assert [fault for fault in faults(record_stack(settings)) if fault.startswith(ours)] == []


def test_the_lists_of_mlflow_actions_are_all_that_aws_knows_of_a_server() -> None:
    listed = [*mlflow_actions.READ, *mlflow_actions.WRITE, *mlflow_actions.DELETE]
    assert len(set(listed)) == len(listed)
    known: list[str] = get_actions_for_service("sagemaker-mlflow")
    assert set(listed) == set(known) - {"sagemaker-mlflow:AccessUI"}
    assert all(action.removeprefix("sagemaker-mlflow:").startswith("Delete") for action in mlflow_actions.DELETE)
    assert all(
        action.removeprefix("sagemaker-mlflow:").startswith(("Get", "List", "Search")) for action in mlflow_actions.READ
    )


def test_the_proxy_may_call_its_app_and_nothing_else_of_sagemaker() -> None:
    app = output(APP, "aws:sagemaker/mlflowApp:MlflowApp", "proxy-tracking")
    assert {action: places for action, places in by_action("proxy", APP).items() if "sagemaker" in action} == {
        "sagemaker:CallMlflowAppApi": [app],
        "sagemaker:CreatePresignedMlflowAppUrl": [app],
    }


def test_the_proxy_may_do_on_its_server_what_mlflow_does() -> None:
    server = output(SERVER, "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer", "proxy-tracking")
    found = by_action("proxy", SERVER)
    assert found.pop("sagemaker-mlflow:AccessUI") == ["*"]
    on_server = {action for action, places in found.items() if places == [server]}
    assert on_server == {
        *mlflow_actions.READ,
        *mlflow_actions.WRITE,
        *mlflow_actions.DELETE,
        "sagemaker:CreatePresignedMlflowTrackingServerUrl",
    }
    assert {action for action in found if action.startswith("sagemaker")} == on_server


def test_the_proxy_reads_the_hashes_and_cannot_read_the_token_nor_write_either() -> None:
    hashes = output({}, "aws:secretsmanager/secret:Secret", "proxy-tokens")
    secrets = {action: places for action, places in by_action("proxy").items() if action.startswith("secretsmanager")}
    assert secrets == {"secretsmanager:GetSecretValue": [hashes]}


def test_the_customer_key_serves_the_proxy_for_secrets_alone() -> None:
    assert [one for one in rights("proxy", {"kmsKeyArn": KEY}) if one["Action"] == ["kms:Decrypt"]] == [
        {
            "Effect": "Allow",
            "Action": ["kms:Decrypt"],
            "Resource": [KEY],
            "Condition": {"StringEquals": {"kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com"}},
        }
    ]


def test_only_exec_access_opens_channels_into_a_proxy() -> None:
    assert not [action for action in by_action("proxy") if action.startswith("ssmmessages")]
    opened = by_action("proxy", {"service": {"enableExecuteCommand": True}})
    assert len([action for action in opened if action.startswith("ssmmessages")]) == 4


def test_ecs_may_pull_this_repository_and_write_this_log() -> None:
    log = output({}, "aws:cloudwatch/logGroup:LogGroup", "proxy-log")
    repository = "arn:aws:ecr:eu-west-1:123456789012:repository/proxy"
    assert by_action("execution") == {
        "logs:CreateLogStream": [f"{log}:log-stream:*"],
        "logs:PutLogEvents": [f"{log}:log-stream:*"],
        "ecr:GetAuthorizationToken": ["*"],
        "ecr:BatchCheckLayerAvailability": [repository],
        "ecr:BatchGetImage": [repository],
        "ecr:GetDownloadUrlForLayer": [repository],
    }


def test_an_image_that_is_not_in_ecr_needs_no_rights() -> None:
    elsewhere = {"image": {"imageUri": f"registry.example.com/proxy@{IMAGE_URI.partition('@')[2]}"}}
    assert not [action for action in by_action("execution", elsewhere) if action.startswith("ecr")]


def test_an_instance_belongs_to_its_cluster_and_can_be_reached_and_no_more() -> None:
    cluster = output({}, "aws:ecs/cluster:Cluster", "proxy-cluster")
    found = by_action("instance")
    assert {action.partition(":")[0] for action in found} == {"ecs", "ssm", "ssmmessages"}
    assert found["ecs:RegisterContainerInstance"] == [cluster]
    assert found["ecs:Poll"] == [f"{cluster.replace(':cluster/', ':container-instance/')}/*"]
    # These would let it join or make any other.
    assert not {"ecs:CreateCluster", "ecs:DeregisterContainerInstance", "ecs:TagResource"} & found.keys()


@pytest.mark.parametrize(
    ("role", "service"),
    [("proxy", "ecs-tasks.amazonaws.com"), ("execution", "ecs-tasks.amazonaws.com"), ("instance", "ec2.amazonaws.com")],
)
def test_each_role_is_for_one_service_of_this_account(role: str, service: str) -> None:
    made = only(record_stack(), "aws:iam/role:Role", f"proxy-{role}")
    (trust,) = statements(made.inputs["assumeRolePolicy"])
    assert trust["Principal"] == {"Service": service}
    # EC2 does not say for whom it asks.
    assert ("Condition" in trust) == (role != "instance")
    assert "managedPolicyArns" not in made.inputs


def test_a_boundary_bounds_each_of_them() -> None:
    boundary = "arn:aws:iam::123456789012:policy/boundary"
    graph = record_stack({"permissionsBoundaryArn": boundary})
    assert {one.inputs.get("permissionsBoundary") for one in graph.of("aws:iam/role:Role")} == {boundary}
