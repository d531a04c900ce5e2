"""SageMaker targets by ARN, compared with AWS's plugin for MLflow; role ARNs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.app import target_of
from proxy_app.settings import Settings
from proxy_app.target import PlainTarget, SageMakerTarget, TargetError, check_role_arn, sagemaker_target

# The fixture `plugin` imports MLflow, which takes up to a minute on a busy machine.
pytestmark = pytest.mark.timeout(300)

SERVER = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/team"
APP = "arn:aws:sagemaker:us-east-2:123456789012:mlflow-app/app-ABC123"
GOV = "arn:aws-us-gov:sagemaker:us-gov-west-1:123456789012:mlflow-tracking-server/team"

BOTOCORE = botocore.session.Session()
KINDS = ["mlflow-tracking-server", "mlflow-app"]
SUPPORTED_PARTITIONS = ["aws", "aws-us-gov"]
OTHER_PARTITIONS = ["aws-cn", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"]


def arns(partition: str) -> list[str]:
    """An ARN of each kind in every SageMaker region of a partition."""
    regions = BOTOCORE.get_available_regions("sagemaker", partition)
    assert regions
    return [f"arn:{partition}:sagemaker:{region}:123456789012:{kind}/Name-1" for region in regions for kind in KINDS]


@pytest.fixture(scope="module")
def plugin() -> dict[str, list[str] | str]:
    """The plugin's result for each ARN: [origin, region, service, header], or its error."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAGEMAKER_"))}
    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
    telemetry = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    completed = subprocess.run(
        [sys.executable, Path(__file__).with_name("plugin_targets.py")],
        input=json.dumps([arn for partition in SUPPORTED_PARTITIONS + OTHER_PARTITIONS for arn in arns(partition)]),
        env={**environ, **keys, **telemetry},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(completed.stdout)


def test_target_of_a_tracking_server_arn() -> None:
    assert sagemaker_target(SERVER) == SageMakerTarget(
        arn=SERVER,
        region="eu-west-1",
        name="team",
        serverless=False,
        service="sagemaker-mlflow",
        arn_header="x-mlflow-sm-tracking-server-arn",
        origin="https://eu-west-1.experiments.sagemaker.aws",
    )


def test_target_of_a_serverless_app_arn() -> None:
    assert sagemaker_target(APP) == SageMakerTarget(
        arn=APP,
        region="us-east-2",
        name="app-ABC123",
        serverless=True,
        service="sagemaker",
        arn_header="x-sm-mlflow-app-arn",
        origin="https://mlflow.sagemaker.us-east-2.app.aws",
    )


def test_longest_name_of_botocores_model_is_accepted() -> None:
    model = BOTOCORE.get_service_model("sagemaker").shape_for("TrackingServerName")
    longest = SERVER.replace("team", "t" * model.metadata["max"])
    assert sagemaker_target(longest).name == "t" * 256


@pytest.mark.parametrize(
    ("partition", "region"),
    [("aws", "cn-north-1"), ("aws", "us-gov-west-1"), ("aws", "us-iso-east-1"), ("aws-us-gov", "eu-west-1")],
)
def test_region_of_another_partition_is_rejected(partition: str, region: str) -> None:
    arn = SERVER.replace("arn:aws:", f"arn:{partition}:").replace("eu-west-1", region)
    with pytest.raises(TargetError, match=f"MLFLOW_PROXY_TARGET_ARN: the region {region} is not in the partition"):
        sagemaker_target(arn)


def test_govcloud_endpoint_has_the_same_domain() -> None:
    target = sagemaker_target(GOV)
    assert (target.origin, target.region) == ("https://us-gov-west-1.experiments.sagemaker.aws", "us-gov-west-1")


@pytest.mark.parametrize("partition", SUPPORTED_PARTITIONS)
def test_target_equals_the_plugins_in_every_region(partition: str, plugin: dict[str, list[str] | str]) -> None:
    for arn in arns(partition):
        target = sagemaker_target(arn)
        assert [target.origin, target.region, target.service, target.arn_header] == plugin[arn]


@pytest.mark.parametrize("partition", OTHER_PARTITIONS)
def test_unsupported_partition_is_rejected_by_name(partition: str, plugin: dict[str, list[str] | str]) -> None:
    for arn in arns(partition):
        with pytest.raises(TargetError, match=f"does not exist in the partition '{partition}'") as error:
            sagemaker_target(arn)
        assert str(error.value).startswith("MLFLOW_PROXY_TARGET_ARN: ")
        assert "only in aws and aws-us-gov" in str(error.value)
        assert plugin[arn] == f"Partition {partition} Not supported."


INVALID_ARNS = [
    "",
    "team",
    "https://eu-west-1.experiments.sagemaker.aws",
    SERVER.upper(),
    f" {SERVER}",
    f"{SERVER}\n",
    f"{SERVER}/",
    f"{SERVER}/more",
    SERVER.replace("sagemaker", "sagemaker-mlflow"),
    SERVER.replace("mlflow-tracking-server", "model"),
    SERVER.replace("mlflow-tracking-server/", "mlflow-tracking-server:"),
    SERVER.replace("123456789012", "12345678901"),
    SERVER.replace("123456789012", "١٢٣٤٥٦٧٨٩٠١٢"),
    SERVER.replace("123456789012", ""),
    SERVER.replace("eu-west-1", ""),
    SERVER.replace("eu-west-1", "eu-west-1.evil.example"),
    SERVER.replace("eu-west-1", "eu-west-1@evil"),
    SERVER.replace("eu-west-1", "eu-west-1/x"),
    SERVER.replace("team", "-team"),
    SERVER.replace("team", "te am"),
    SERVER.replace("team", "t" * 257),
    SERVER.replace("arn:", "urn:"),
    "arn:aws:iam::123456789012:role/mlflow",
]


@pytest.mark.parametrize("arn", INVALID_ARNS)
def test_invalid_arn_is_reported_with_the_expected_forms(arn: str) -> None:
    with pytest.raises(TargetError) as error:
        sagemaker_target(arn)
    message = str(error.value)
    assert message.startswith(f"MLFLOW_PROXY_TARGET_ARN: got {arn!r}, expected ")
    assert "arn:<partition>:sagemaker:<region>:<account>:mlflow-tracking-server/<name>" in message
    assert "arn:<partition>:sagemaker:<region>:<account>:mlflow-app/<id>" in message
    assert "such as " in message
    assert sagemaker_target(message.partition("such as ")[2].rstrip(".")).name == "team"


@given(st.text(max_size=20), st.integers(0, len(SERVER)))
def test_text_inserted_into_an_arn_does_not_change_the_domain(text: str, index: int) -> None:
    try:
        target = sagemaker_target(SERVER[:index] + text + SERVER[index:])
    except TargetError:
        return
    assert target.origin == f"https://{target.region}.experiments.sagemaker.aws"
    assert target.region.isascii()
    assert target.region.replace("-", "").isalnum()
    assert "\n" not in target.arn


@pytest.mark.parametrize("arn", [SERVER, APP, GOV])
def test_endpoint_replaces_the_origin_only(arn: str) -> None:
    default, custom = sagemaker_target(arn), sagemaker_target(arn, "https://vpce-1.example.com:8443")
    assert custom.origin == "https://vpce-1.example.com:8443"
    assert {name: getattr(custom, name) for name in custom.__slots__ if name != "origin"} == {
        name: getattr(default, name) for name in default.__slots__ if name != "origin"
    }


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::123456789012:role/mlflow",
        "arn:aws-us-gov:iam::123456789012:role/path/to/mlflow",
        "arn:aws:iam::123456789012:role/a+b=c,d.e@f-g_h",
    ],
)
def test_role_arn_is_returned_unchanged(arn: str) -> None:
    assert check_role_arn(arn) == arn


@pytest.mark.parametrize(
    "arn",
    [
        "mlflow",
        "arn:aws:iam::123456789012:user/mlflow",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam::12345:role/mlflow",
        "arn:aws:iam::123456789012:role/mlflow\n",
        "arn:aws:sts::123456789012:assumed-role/mlflow/session",
    ],
)
def test_invalid_role_arn_is_reported_with_an_example(arn: str) -> None:
    with pytest.raises(TargetError, match="MLFLOW_PROXY_ASSUME_ROLE_ARN: ") as error:
        check_role_arn(arn)
    assert repr(arn) in str(error.value)
    assert check_role_arn(str(error.value).partition("such as ")[2].rstrip("."))


def test_target_of_the_settings() -> None:
    assert target_of(Settings(upstream_url="http://127.0.0.1:5000")) == PlainTarget("http://127.0.0.1:5000")
    assert target_of(Settings(target_arn=SERVER)) == sagemaker_target(SERVER)
    assert target_of(Settings(target_arn=APP, target_endpoint="https://a.example")).origin == "https://a.example"
    with pytest.raises(TargetError, match="MLFLOW_PROXY_ASSUME_ROLE_ARN"):
        target_of(Settings(target_arn=SERVER, assume_role_arn="mlflow"))


def test_label_names_kind_name_and_region() -> None:
    assert sagemaker_target(SERVER).label == "SageMaker MLflow tracking server team in eu-west-1"
    assert sagemaker_target(APP).label == "SageMaker serverless MLflow app app-ABC123 in us-east-2"
    assert PlainTarget("http://127.0.0.1:5000").label == "MLflow server at http://127.0.0.1:5000"
