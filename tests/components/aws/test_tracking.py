"""The SageMaker MLflow app or tracking server: settings, replacement, protection, and its role."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from components.aws.settings import TrackingSettings
from components.aws.tracking import Tracking
from components.validation import SettingsError, validate_args
from preview.aws.mock_outputs import ACCOUNT, REGION
from preview.graph import Graph, Resource
from preview.recorder import record

from .helpers import KEY, make_deployment, only, statements
from .policies import faults

APP = "aws:sagemaker/mlflowApp:MlflowApp"
SERVER = "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer"
ROLE = "aws:iam/role:Role"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
BUCKET = "aws:s3/bucket:Bucket"
EXISTING_APP = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:mlflow-app/app-ABCDEF123456"
EXISTING_SERVER = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:mlflow-tracking-server/team"


def record_tracking(
    *,
    deployment: Mapping[str, Any] | None = None,
    partition: str = "aws",
    stack: str = "dev",
    target_arn_output: str | None = None,
    **args: Any,
) -> tuple[Graph, Tracking]:
    """``target_arn_output`` is the ARN of a target, passed as an output."""
    found: list[Tracking] = []

    def program() -> None:
        base = make_deployment(**(deployment or {}))
        adapted = dataclasses.replace(base, partition=pulumi.Output.from_input(partition), stack=stack)
        target = {"target_arn": pulumi.Output.from_input(target_arn_output)} if target_arn_output else {}
        found.append(Tracking(adapted, TrackingSettings(**target, **args)))

    graph = record(program)
    return graph, found[0]


def server(**args: Any) -> Resource:
    return only(record_tracking(kind="server", **args)[0], SERVER)


def statements_by_action(**args: Any) -> dict[str, Any]:
    """The statements of the role's policy, by action."""
    policy = only(record_tracking(**args)[0], ROLE_POLICY).inputs["policy"]
    pairs = [(action, statement) for statement in statements(policy) for action in statement["Action"]]
    by_action = dict(pairs)
    assert len(by_action) == len(pairs), "an action is in two statements"
    return by_action


def test_app_stores_artifacts_in_the_bucket() -> None:
    graph, tracking = record_tracking()
    app = only(graph, APP)
    assert app.inputs["artifactStoreUri"] == "s3://proxy-artifacts/mlflow"
    assert app.inputs["modelRegistrationMode"] == "AutoModelRegistrationDisabled"
    assert tracking.serverless
    assert not graph.of(SERVER)


def test_server_has_the_size_version_window_and_registration_of_the_settings() -> None:
    tracking_server = server(
        server_size="Medium", mlflow_version="3.0", maintenance_window="Tue:03:30", automatic_model_registration=True
    )
    assert tracking_server.inputs["trackingServerSize"] == "Medium"
    assert tracking_server.inputs["mlflowVersion"] == "3.0"
    assert tracking_server.inputs["weeklyMaintenanceWindowStart"] == "Tue:03:30"
    assert tracking_server.inputs["automaticModelRegistration"] is True


@pytest.mark.parametrize("kind", ["app", "server"])
def test_target_depends_on_role_policy_bucket_and_bucket_policy(kind: str) -> None:
    graph, _ = record_tracking(kind=kind)
    target = only(graph, APP if kind == "app" else SERVER)
    for needed in (ROLE_POLICY, "aws:s3/bucketPolicy:BucketPolicy", BUCKET):
        assert only(graph, needed).urn in target.dependencies


@pytest.mark.parametrize("kind", ["app", "server"])
def test_changed_artifact_store_replaces_the_target(kind: str) -> None:
    graph, _ = record_tracking(kind=kind)
    assert only(graph, APP if kind == "app" else SERVER).replace_on_changes == ("artifactStoreUri",)


@pytest.mark.parametrize("change", [{"artifact_prefix": "other"}, {"mlflow_version": "3.0"}])
def test_change_that_replaces_the_server_changes_its_name(change: dict[str, Any]) -> None:
    assert server(**change).inputs["trackingServerName"] != server().inputs["trackingServerName"]


@pytest.mark.parametrize(
    "change",
    [
        {"server_size": "Large"},
        {"maintenance_window": "Sun:01:00"},
        {"automatic_model_registration": True},
        {"noncurrent_version_days": 30},
        {"deployment": {"kms_key_arn": KEY}},
        {"deployment": {"deletion_protection": True}},
        {"deployment": {"permissions_boundary_arn": f"arn:aws:iam::{ACCOUNT}:policy/boundary"}},
    ],
)
def test_change_that_updates_the_server_keeps_its_name(change: dict[str, Any]) -> None:
    # A new name replaces the server, and the replacement has none of the runs.
    assert server(**change).inputs["trackingServerName"] == server().inputs["trackingServerName"]


@pytest.mark.parametrize("stack", ["dev", "a", "9", "Team_A.prod", "x" * 100, "-", "é"])
def test_server_name_is_valid_for_any_stack_name(stack: str) -> None:
    name = server(stack=stack).inputs["trackingServerName"]
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name), name


def test_policy_arn_of_a_server_is_its_arn() -> None:
    def program() -> None:
        made = Tracking(make_deployment(), TrackingSettings(kind="server"))
        pulumi.export("policy", made.policy_arn)
        pulumi.export("target", made.target_arn)

    outputs = record(program).outputs
    assert outputs["policy"] == outputs["target"]


def test_deletion_protection_protects_target_and_bucket() -> None:
    for kind, target in (("app", APP), ("server", SERVER)):
        graph, _ = record_tracking(kind=kind, deployment={"deletion_protection": True})
        assert only(graph, target).protect
        assert only(graph, BUCKET).protect
        graph, _ = record_tracking(kind=kind)
        assert not any(resource.protect for resource in graph.resources)


def test_role_trusts_sagemaker_for_this_account_or_without_an_account() -> None:
    """AWS documents no condition for SageMaker MLflow, and no list of the keys that it sends."""
    graph, _ = record_tracking()
    (trust,) = statements(only(graph, ROLE).inputs["assumeRolePolicy"])
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert trust["Condition"] == {"StringEqualsIfExists": {"aws:SourceAccount": ACCOUNT}}


def test_role_may_read_and_write_under_the_artifact_prefix_only() -> None:
    by_action = statements_by_action(artifact_prefix="team/runs")
    assert set(by_action) == {"s3:ListBucket", "s3:GetObject", "s3:PutObject"}
    assert by_action["s3:ListBucket"]["Resource"] == ["arn:aws:s3:::proxy-artifacts"]
    assert by_action["s3:PutObject"]["Resource"] == ["arn:aws:s3:::proxy-artifacts/team/runs/*"]


def test_role_may_use_the_customer_key_through_s3_only() -> None:
    by_action = statements_by_action(deployment={"kms_key_arn": KEY})
    assert by_action["kms:GenerateDataKey"]["Resource"] == [KEY]
    assert by_action["kms:Decrypt"]["Condition"] == {"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}}


@pytest.mark.parametrize("kind", ["app", "server"])
def test_role_may_register_models_only_with_automatic_registration(kind: str) -> None:
    registering = {
        action
        for action in statements_by_action(kind=kind, automatic_model_registration=True)
        if "sagemaker:" in action
    }
    assert registering == {
        "sagemaker:AddAssociation",
        "sagemaker:AddTags",
        "sagemaker:CreateAction",
        "sagemaker:CreateModelPackage",
        "sagemaker:CreateModelPackageGroup",
        "sagemaker:DescribeModelPackageGroup",
        "sagemaker:UpdateModelPackage",
    }
    assert not [action for action in statements_by_action(kind=kind) if "sagemaker:" in action]
    graph, _ = record_tracking(kind=kind, automatic_model_registration=True)
    assert not faults(graph)


@pytest.mark.parametrize(("arn", "serverless"), [(EXISTING_APP, True), (EXISTING_SERVER, False)])
def test_existing_target_creates_no_resource(arn: str, serverless: bool) -> None:
    graph, tracking = record_tracking(target_arn=arn)
    assert [resource.type for resource in graph.resources] == ["mlflow:aws:Tracking"]
    assert tracking.serverless is serverless
    assert tracking.bucket_arn is None
    assert graph.resources[0].outputs["target_arn"] == arn


def test_kind_must_match_a_target_arn_output() -> None:
    _, tracking = record_tracking(target_arn_output=EXISTING_SERVER, kind="server")
    assert not tracking.serverless
    with pytest.raises(pulumi.RunError, match=r"set tracking\.kind to server"):
        record_tracking(target_arn_output=EXISTING_SERVER, kind="app")


@pytest.mark.parametrize(
    ("partition", "kind", "message"),
    [
        ("aws-cn", "app", "only in the partition aws, not in aws-cn"),
        ("aws-cn", "server", "aws and aws-us-gov, not in aws-cn"),
        ("aws-us-gov", "app", "only in the partition aws, not in aws-us-gov"),
    ],
)
def test_partition_without_the_mlflow_kind_is_rejected(partition: str, kind: str, message: str) -> None:
    with pytest.raises(pulumi.RunError, match=message):
        record_tracking(partition=partition, kind=kind)


def test_tracking_server_is_created_in_govcloud() -> None:
    graph, _ = record_tracking(partition="aws-us-gov", kind="server")
    assert graph.of(SERVER)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"targetArn": EXISTING_APP.replace("arn:aws:", "arn:aws-cn:")},
            "tracking.targetArn: SageMaker offers serverless MLflow apps only in the partition aws, not in aws-cn.",
        ),
        (
            {"targetArn": EXISTING_SERVER.replace("arn:aws:", "arn:aws-iso:")},
            "tracking.targetArn: SageMaker offers MLflow only in the partitions aws and aws-us-gov, not in aws-iso.",
        ),
        (
            {"targetArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:domain/d-1"},
            "tracking.targetArn: got 'arn:aws:sagemaker:eu-west-1:123456789012:domain/d-1', expected the ARN",
        ),
        (
            {"kind": "server", "mlflowVersion": "3.0.1"},
            "tracking.mlflowVersion: got '3.0.1', expected a major and minor version",
        ),
        (
            {"assumeRoleArn": "arn:aws:iam::210987654321:role/mlflow"},
            "tracking.assumeRoleArn: applies to an existing target only: set targetArn.",
        ),
        (
            {"targetArn": EXISTING_APP, "assumeRoleArn": "arn:aws:iam::210987654321:user/mlflow"},
            'tracking.assumeRoleArn: got "arn:aws:iam::210987654321:user/mlflow", expected an IAM role ARN',
        ),
        ({"artifactPrefix": "all/*"}, "tracking.artifactPrefix: got 'all/*', expected letters"),
        ({"artifactPrefix": "runs/"}, "tracking.artifactPrefix: got 'runs/', expected letters"),
    ],
)
def test_invalid_setting_is_rejected(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        validate_args(TrackingSettings, settings, "tracking", production=False)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(message)


def test_server_role_and_bucket_are_tagged() -> None:
    graph, _ = record_tracking(kind="server")
    for kind in (SERVER, ROLE, BUCKET):
        assert only(graph, kind).inputs["tags"]["Component"] == "proxy"
