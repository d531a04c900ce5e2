"""SageMaker's MLflow: what makes a new one, what never does, and what its role may do."""

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


def recorded(
    *,
    deployment: Mapping[str, Any] | None = None,
    partition: str = "aws",
    stack: str = "dev",
    another_resources: str | None = None,
    **args: Any,
) -> tuple[Graph, Tracking]:
    """``another_resources`` is the ARN of a target that the program knows only when it runs."""
    found: list[Tracking] = []

    def program() -> None:
        here = make_deployment(**(deployment or {}))
        here = dataclasses.replace(here, partition=pulumi.Output.from_input(partition), stack=stack)
        given = {"target_arn": pulumi.Output.from_input(another_resources)} if another_resources else {}
        found.append(Tracking(here, TrackingSettings(**given, **args)))

    graph = record(program)
    return graph, found[0]


def server(**args: Any) -> Resource:
    return only(recorded(kind="server", **args)[0], SERVER)


def granted(**args: Any) -> dict[str, Any]:
    """By action."""
    policy = only(recorded(**args)[0], ROLE_POLICY).inputs["policy"]
    return {action: one for one in statements(policy) for action in one["Action"]}


def test_an_app_keeps_its_artifacts_in_the_bucket() -> None:
    graph, tracking = recorded()
    app = only(graph, APP)
    assert app.inputs["artifactStoreUri"] == "s3://proxy-artifacts/mlflow"
    assert app.inputs["modelRegistrationMode"] == "AutoModelRegistrationDisabled"
    assert tracking.serverless
    assert not graph.of(SERVER)


def test_a_server_is_what_the_settings_say() -> None:
    made = server(
        server_size="Medium", mlflow_version="3.0", maintenance_window="Tue:03:30", automatic_model_registration=True
    )
    assert made.inputs["trackingServerSize"] == "Medium"
    assert made.inputs["mlflowVersion"] == "3.0"
    assert made.inputs["weeklyMaintenanceWindowStart"] == "Tue:03:30"
    assert made.inputs["automaticModelRegistration"] is True


@pytest.mark.parametrize("kind", ["app", "server"])
def test_it_starts_when_role_and_bucket_are_ready(kind: str) -> None:
    graph, _ = recorded(kind=kind)
    target = only(graph, APP if kind == "app" else SERVER)
    for needed in (ROLE_POLICY, "aws:s3/bucketPolicy:BucketPolicy", BUCKET):
        assert only(graph, needed).urn in target.dependencies


@pytest.mark.parametrize("kind", ["app", "server"])
def test_moved_artifacts_make_a_new_one(kind: str) -> None:
    graph, _ = recorded(kind=kind)
    assert only(graph, APP if kind == "app" else SERVER).replace_on_changes == ("artifactStoreUri",)


@pytest.mark.parametrize("change", [{"artifact_prefix": "other"}, {"mlflow_version": "3.0"}])
def test_a_server_that_replaces_another_has_a_name_of_its_own(change: dict[str, Any]) -> None:
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
def test_nothing_else_gives_a_server_another_name(change: dict[str, Any]) -> None:
    # The name replaces it, and a new one has none of the runs.
    assert server(**change).inputs["trackingServerName"] == server().inputs["trackingServerName"]


@pytest.mark.parametrize("stack", ["dev", "a", "9", "Team_A.prod", "x" * 100, "-", "é"])
def test_a_servers_name_is_one_that_sagemaker_takes(stack: str) -> None:
    name = server(stack=stack).inputs["trackingServerName"]
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name), name


def test_in_production_neither_runs_nor_artifacts_can_be_destroyed() -> None:
    for kind, target in (("app", APP), ("server", SERVER)):
        graph, _ = recorded(kind=kind, deployment={"deletion_protection": True})
        assert only(graph, target).protect
        assert only(graph, BUCKET).protect
        graph, _ = recorded(kind=kind)
        assert not any(one.protect for one in graph.resources)


def test_its_role_is_sagemakers_for_this_account() -> None:
    graph, _ = recorded()
    (trust,) = statements(only(graph, ROLE).inputs["assumeRolePolicy"])
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_its_role_reads_and_writes_its_prefix_alone() -> None:
    by_action = granted(artifact_prefix="team/runs")
    assert set(by_action) == {"s3:ListBucket", "s3:GetObject", "s3:PutObject"}
    assert by_action["s3:ListBucket"]["Resource"] == ["arn:aws:s3:::proxy-artifacts"]
    assert by_action["s3:PutObject"]["Resource"] == ["arn:aws:s3:::proxy-artifacts/team/runs/*"]


def test_its_role_uses_the_key_through_s3_alone() -> None:
    by_action = granted(deployment={"kms_key_arn": KEY})
    assert by_action["kms:GenerateDataKey"]["Resource"] == [KEY]
    assert by_action["kms:Decrypt"]["Condition"] == {"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}}


@pytest.mark.parametrize("kind", ["app", "server"])
def test_its_role_registers_models_only_when_that_is_on(kind: str) -> None:
    registering = {action for action in granted(kind=kind, automatic_model_registration=True) if "sagemaker:" in action}
    assert registering == {
        "sagemaker:AddTags",
        "sagemaker:CreateModelPackage",
        "sagemaker:CreateModelPackageGroup",
        "sagemaker:DescribeModelPackageGroup",
        "sagemaker:UpdateModelPackage",
    }
    graph, _ = recorded(kind=kind, automatic_model_registration=True)
    assert not faults(graph)


@pytest.mark.parametrize(("arn", "serverless"), [(EXISTING_APP, True), (EXISTING_SERVER, False)])
def test_for_a_target_that_is_there_nothing_is_made(arn: str, serverless: bool) -> None:
    graph, tracking = recorded(target_arn=arn)
    assert [one.type for one in graph.resources] == ["mlflow:aws:Tracking"]
    assert tracking.serverless is serverless
    assert tracking.bucket_arn is None
    assert graph.resources[0].outputs["target_arn"] == arn


def test_a_target_of_another_resource_is_what_the_setting_says() -> None:
    _, tracking = recorded(another_resources=EXISTING_SERVER, kind="server")
    assert not tracking.serverless
    with pytest.raises(pulumi.RunError, match=r"set tracking\.kind to server"):
        recorded(another_resources=EXISTING_SERVER, kind="app")


@pytest.mark.parametrize(
    ("partition", "kind", "sentence"),
    [
        ("aws-cn", "app", "only in the partition aws, not in aws-cn"),
        ("aws-cn", "server", "aws and aws-us-gov, not in aws-cn"),
        ("aws-us-gov", "app", "only in the partition aws, not in aws-us-gov"),
    ],
)
def test_where_aws_has_no_mlflow_the_preview_says_so(partition: str, kind: str, sentence: str) -> None:
    with pytest.raises(pulumi.RunError, match=sentence):
        recorded(partition=partition, kind=kind)


def test_govcloud_has_tracking_servers() -> None:
    graph, _ = recorded(partition="aws-us-gov", kind="server")
    assert graph.of(SERVER)


@pytest.mark.parametrize(
    ("given", "sentence"),
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
        ({"artifactPrefix": "all/*"}, "tracking.artifactPrefix: got 'all/*', expected letters"),
        ({"artifactPrefix": "runs/"}, "tracking.artifactPrefix: got 'runs/', expected letters"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        validate_args(TrackingSettings, given, "tracking", production=False)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(sentence)


def test_what_takes_tags_has_them() -> None:
    graph, _ = recorded(kind="server")
    for kind in (SERVER, ROLE, BUCKET):
        assert only(graph, kind).inputs["tags"]["Component"] == "proxy"
