"""The permissions of the proxy, execution and instance roles, compared with AWS's list of actions and resources."""

from typing import Any

import pytest
from policy_sentry.querying.actions import get_actions_for_service

from components.aws import mlflow_actions
from preview.aws.mock_outputs import ACCOUNT, REGION

from .helpers import IMAGE_URI, KEY, only, record_stack, statements
from .policies import faults

SERVER = {"tracking": {"kind": "server"}}
TARGET = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:mlflow-app/app-ABCDEF123456"
APP = {"tracking": {"kind": "app"}}
HARDENED = {"kmsKeyArn": KEY, "service": {"enableExecuteCommand": True}, **SERVER}


def role_statements(role: str, settings: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    policy = only(record_stack(settings), "aws:iam/rolePolicy:RolePolicy", f"proxy-{role}").inputs["policy"]
    return [dict(statement) for statement in statements(policy)]


def by_action(role: str, settings: dict[str, Any] | None = None) -> dict[str, list[str]]:
    """The resources of each allowed action."""
    found: dict[str, list[str]] = {}
    for statement in role_statements(role, settings):
        for action in statement["Action"]:
            found.setdefault(action, []).extend(statement["Resource"])
    return found


def arn_of(settings: dict[str, Any], kind: str, name: str) -> str:
    return only(record_stack(settings), kind, name).outputs["arn"]


@pytest.mark.parametrize("settings", [APP, SERVER, HARDENED], ids=["app", "server", "hardened"])
def test_role_policies_have_no_faults(settings: dict[str, Any]) -> None:
    prefixes = tuple(f"RolePolicy proxy-{role}:" for role in ("proxy", "execution", "instance"))
    assert [fault for fault in faults(record_stack(settings)) if fault.startswith(prefixes)] == []


def test_mlflow_actions_are_complete_and_in_the_right_list() -> None:
    listed = [*mlflow_actions.READ, *mlflow_actions.WRITE, *mlflow_actions.DELETE]
    assert len(set(listed)) == len(listed)
    actions: list[str] = get_actions_for_service("sagemaker-mlflow")
    assert set(listed) == set(actions) - {"sagemaker-mlflow:AccessUI"}
    assert all(action.removeprefix("sagemaker-mlflow:").startswith("Delete") for action in mlflow_actions.DELETE)
    assert all(
        action.removeprefix("sagemaker-mlflow:").startswith(("Get", "List", "Search")) for action in mlflow_actions.READ
    )


def test_proxy_may_call_its_app_only() -> None:
    app = arn_of(APP, "aws:sagemaker/mlflowApp:MlflowApp", "proxy-tracking")
    assert {action: resources for action, resources in by_action("proxy", APP).items() if "sagemaker" in action} == {
        "sagemaker:CallMlflowAppApi": [app],
        "sagemaker:CreatePresignedMlflowAppUrl": [app],
    }


def test_proxy_may_use_every_mlflow_action_on_its_server_only() -> None:
    server = arn_of(SERVER, "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer", "proxy-tracking")
    found = by_action("proxy", SERVER)
    assert found.pop("sagemaker-mlflow:AccessUI") == ["*"]
    on_server = {action for action, resources in found.items() if resources == [server]}
    assert on_server == {
        *mlflow_actions.READ,
        *mlflow_actions.WRITE,
        *mlflow_actions.DELETE,
        "sagemaker:CreatePresignedMlflowTrackingServerUrl",
    }
    assert {action for action in found if action.startswith("sagemaker")} == on_server


def test_proxy_with_a_target_in_another_account_may_only_assume_the_role() -> None:
    role = "arn:aws:iam::210987654321:role/mlflow-proxy"
    target = f"arn:aws:sagemaker:{REGION}:210987654321:mlflow-app/app-ABCDEF123456"
    found = by_action("proxy", {"tracking": {"targetArn": target, "assumeRoleArn": role}})
    assert found.pop("sts:AssumeRole") == [role]
    assert not [action for action in found if action.startswith("sagemaker")]
    assert "sts:AssumeRole" not in by_action("proxy", {"tracking": {"targetArn": target}})


def test_proxy_may_use_artifacts_below_the_prefix_of_its_bucket_only() -> None:
    bucket = arn_of(SERVER, "aws:s3/bucket:Bucket", "proxy-artifacts")
    found = {action: resources for action, resources in by_action("proxy", SERVER).items() if action.startswith("s3:")}
    assert found.pop("s3:ListBucket") == [bucket]
    objects = ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload", "ListMultipartUploadParts")
    assert found == {f"s3:{action}": [f"{bucket}/mlflow/*"] for action in objects}
    (listing,) = [rule for rule in role_statements("proxy", SERVER) if rule["Action"] == ["s3:ListBucket"]]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": "mlflow/*"}}


@pytest.mark.parametrize(
    ("settings", "resources"),
    [
        ({"artifacts": {"enabled": False}}, set[str]()),
        ({"tracking": {"targetArn": TARGET}}, set[str]()),
        (
            {"tracking": {"targetArn": TARGET}, "artifacts": {"uri": "s3://theirs/team/runs"}},
            {"arn:aws:s3:::theirs", "arn:aws:s3:::theirs/team/runs/*"},
        ),
        (
            {
                "tracking": {"targetArn": TARGET, "assumeRoleArn": "arn:aws:iam::210987654321:role/mlflow-proxy"},
                "artifacts": {"uri": "s3://theirs/team/runs"},
            },
            set[str](),
        ),
    ],
    ids=["off", "existing-target", "its-bucket", "assumed-role"],
)
def test_proxy_without_a_location_of_artifacts_may_not_use_s3(settings: dict[str, Any], resources: set[str]) -> None:
    found = by_action("proxy", settings)
    assert {arn for action, arns in found.items() if action.startswith("s3:") for arn in arns} == resources


def test_proxy_may_use_the_customer_key_through_s3_only_for_artifacts() -> None:
    def through_s3(settings: dict[str, Any]) -> list[dict[str, Any]]:
        return [rule for rule in role_statements("proxy", settings) if "s3." in str(rule.get("Condition"))]

    (rule,) = through_s3({"kmsKeyArn": KEY})
    assert rule == {
        "Effect": "Allow",
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
        "Resource": [KEY],
        "Condition": {"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}},
    }
    assert through_s3({"kmsKeyArn": KEY, "artifacts": {"enabled": False}}) == []


def test_proxy_may_read_the_hashes_secret_only() -> None:
    hashes = arn_of({}, "aws:secretsmanager/secret:Secret", "proxy-tokens")
    secrets = {
        action: resources for action, resources in by_action("proxy").items() if action.startswith("secretsmanager")
    }
    assert secrets == {"secretsmanager:GetSecretValue": [hashes]}


def test_proxy_may_use_the_customer_key_through_secrets_manager_only() -> None:
    assert [rule for rule in role_statements("proxy", {"kmsKeyArn": KEY}) if rule["Action"] == ["kms:Decrypt"]] == [
        {
            "Effect": "Allow",
            "Action": ["kms:Decrypt"],
            "Resource": [KEY],
            "Condition": {"StringEquals": {"kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com"}},
        }
    ]


def test_proxy_may_open_ssm_channels_only_with_enable_execute_command() -> None:
    assert not [action for action in by_action("proxy") if action.startswith("ssmmessages")]
    with_exec = by_action("proxy", {"service": {"enableExecuteCommand": True}})
    assert len([action for action in with_exec if action.startswith("ssmmessages")]) == 4


def test_execution_role_may_pull_the_image_and_write_the_log_only() -> None:
    log = arn_of({}, "aws:cloudwatch/logGroup:LogGroup", "proxy-log")
    repository = "arn:aws:ecr:eu-west-1:123456789012:repository/proxy"
    assert by_action("execution") == {
        "logs:CreateLogStream": [f"{log}:log-stream:*"],
        "logs:PutLogEvents": [f"{log}:log-stream:*"],
        "ecr:GetAuthorizationToken": ["*"],
        "ecr:BatchCheckLayerAvailability": [repository],
        "ecr:BatchGetImage": [repository],
        "ecr:GetDownloadUrlForLayer": [repository],
    }


def test_execution_role_has_no_ecr_actions_for_an_image_outside_ecr() -> None:
    settings = {"image": {"imageUri": f"registry.example.com/proxy@{IMAGE_URI.partition('@')[2]}"}}
    assert not [action for action in by_action("execution", settings) if action.startswith("ecr")]


def test_instance_role_may_register_in_its_cluster_and_use_ssm_only() -> None:
    cluster = arn_of({}, "aws:ecs/cluster:Cluster", "proxy-cluster")
    found = by_action("instance")
    assert {action.partition(":")[0] for action in found} == {"ecs", "ssm", "ssmmessages"}
    assert found["ecs:RegisterContainerInstance"] == [cluster]
    assert found["ecs:Poll"] == [f"{cluster.replace(':cluster/', ':container-instance/')}/*"]
    # With these an instance could create, join or leave other clusters.
    assert not {"ecs:CreateCluster", "ecs:DeregisterContainerInstance", "ecs:TagResource"} & found.keys()


@pytest.mark.parametrize(
    ("role", "service"),
    [("proxy", "ecs-tasks.amazonaws.com"), ("execution", "ecs-tasks.amazonaws.com"), ("instance", "ec2.amazonaws.com")],
)
def test_each_role_trusts_one_service(role: str, service: str) -> None:
    role_resource = only(record_stack(), "aws:iam/role:Role", f"proxy-{role}")
    (trust,) = statements(role_resource.inputs["assumeRolePolicy"])
    assert trust["Principal"] == {"Service": service}
    # EC2 sends no aws:SourceAccount when it assumes a role.
    this_account = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert trust.get("Condition") == (None if role == "instance" else this_account)
    assert "managedPolicyArns" not in role_resource.inputs


def test_permissions_boundary_is_set_on_every_role() -> None:
    boundary = "arn:aws:iam::123456789012:policy/boundary"
    graph = record_stack({"permissionsBoundaryArn": boundary})
    assert {role.inputs.get("permissionsBoundary") for role in graph.of("aws:iam/role:Role")} == {boundary}
