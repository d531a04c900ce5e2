"""What stands behind the proxy: SageMaker's MLflow, named by its ARN, or a plain MLflow server, named by its URL.

SageMaker's endpoints, service names and headers are those of AWS's own plugin, sagemaker-mlflow 0.5.0.
"""

import re
from dataclasses import dataclass

_FORM = (
    "arn:<partition>:sagemaker:<region>:<account>:mlflow-tracking-server/<name> or "
    "arn:<partition>:sagemaker:<region>:<account>:mlflow-app/<id>, "
    "such as arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/team"
)
_ARN = re.compile(
    r"arn:(?P<partition>[a-z-]+):sagemaker:(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d):(?P<account>\d{12}):"
    r"(?P<kind>mlflow-tracking-server|mlflow-app)/(?P<name>[A-Za-z0-9][A-Za-z0-9-]{0,255})",
    re.ASCII,
)
_ROLE = re.compile(r"arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)
# Both partitions' MLflow hosts end in `aws`, in GovCloud too.
_SERVED = frozenset({"aws", "aws-us-gov"})
# Regions of the partitions that are not.
_ELSEWHERE = ("cn-", "eusc-", "us-iso", "eu-iso")


class TargetError(ValueError):
    """The target cannot be what was given; the message shows the expected form."""


@dataclass(frozen=True, slots=True)
class SageMakerTarget:
    """A tracking server or a serverless app.

    ``service`` and ``region`` are what requests are signed for; ``arn_header`` names the target in each request.
    """

    arn: str
    region: str
    name: str
    serverless: bool
    service: str
    arn_header: str
    origin: str

    @property
    def label(self) -> str:
        kind = "serverless MLflow app" if self.serverless else "MLflow tracking server"
        return f"SageMaker {kind} {self.name} in {self.region}"


@dataclass(frozen=True, slots=True)
class PlainTarget:
    """An MLflow server on loopback or on a private address, which takes requests as they are."""

    origin: str

    @property
    def label(self) -> str:
        return f"MLflow server at {self.origin}"


Target = SageMakerTarget | PlainTarget


def sagemaker_target(arn: str, endpoint: str = "") -> SageMakerTarget:
    """Everything that follows from the ARN; ``endpoint`` replaces the origin only. Raises TargetError."""
    found = _ARN.fullmatch(arn)
    if found is None:
        raise TargetError(
            f"MLFLOW_PROXY_TARGET_ARN: {arn!r} is not the ARN of a SageMaker MLflow. It has the form {_FORM}."
        )
    partition, region = found["partition"], found["region"]
    if partition not in _SERVED:
        raise TargetError(
            f"MLFLOW_PROXY_TARGET_ARN: SageMaker's MLflow is not served in the partition {partition!r}, "
            f"only in {' and '.join(sorted(_SERVED))}."
        )
    if region.startswith("us-gov-") is not (partition == "aws-us-gov") or region.startswith(_ELSEWHERE):
        raise TargetError(f"MLFLOW_PROXY_TARGET_ARN: the region {region} is not one of the partition {partition!r}.")
    if found["kind"] == "mlflow-app":
        return SageMakerTarget(
            arn=arn,
            region=region,
            name=found["name"],
            serverless=True,
            service="sagemaker",
            arn_header="x-sm-mlflow-app-arn",
            origin=endpoint or f"https://mlflow.sagemaker.{region}.app.aws",
        )
    return SageMakerTarget(
        arn=arn,
        region=region,
        name=found["name"],
        serverless=False,
        service="sagemaker-mlflow",
        arn_header="x-mlflow-sm-tracking-server-arn",
        origin=endpoint or f"https://{region}.experiments.sagemaker.aws",
    )


def check_role_arn(arn: str) -> str:
    """The ARN of an IAM role, unchanged. Raises TargetError."""
    if not _ROLE.fullmatch(arn):
        raise TargetError(
            f"MLFLOW_PROXY_ASSUME_ROLE_ARN: {arn!r} is not the ARN of a role, such as "
            f"arn:aws:iam::123456789012:role/mlflow."
        )
    return arn
