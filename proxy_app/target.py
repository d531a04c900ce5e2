"""The target: SageMaker's MLflow by its ARN, or a plain MLflow server by its URL.

SageMaker's endpoints, service names and headers are those of AWS's own plugin, sagemaker-mlflow 0.5.0.
"""

import re
from dataclasses import dataclass

TARGET_FORM = (
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
# The MLflow hosts of both partitions end in `aws`.
_PARTITIONS = frozenset({"aws", "aws-us-gov"})
# Regions of other partitions.
_OTHER_REGIONS = ("cn-", "eusc-", "us-iso", "eu-iso")


class TargetError(ValueError):
    """The target is invalid; the message shows the expected form."""


@dataclass(frozen=True, slots=True)
class SageMakerTarget:
    """A SageMaker tracking server or serverless MLflow app.

    ``origin`` is its scheme://host; requests are signed for ``service`` and ``region``, and the header ``arn_header``
    carries the ARN in each request.
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
        """Kind, name and region, for logs and the home page."""
        kind = "serverless MLflow app" if self.serverless else "MLflow tracking server"
        return f"SageMaker {kind} {self.name} in {self.region}"


@dataclass(frozen=True, slots=True)
class PlainTarget:
    """An MLflow server on loopback or a private address (``origin``: scheme://host:port); requests are not signed."""

    origin: str

    @property
    def label(self) -> str:
        """The origin, for logs and the home page."""
        return f"MLflow server at {self.origin}"


Target = SageMakerTarget | PlainTarget


def sagemaker_target(arn: str, endpoint: str = "") -> SageMakerTarget:
    """The target of an ARN; ``endpoint`` replaces its origin. Raises TargetError."""
    found = _ARN.fullmatch(arn)
    if found is None:
        raise TargetError(f"MLFLOW_PROXY_TARGET_ARN: got {arn!r}, expected {TARGET_FORM}.")
    partition, region = found["partition"], found["region"]
    if partition not in _PARTITIONS:
        raise TargetError(
            f"MLFLOW_PROXY_TARGET_ARN: SageMaker's MLflow does not exist in the partition {partition!r}, "
            f"only in {' and '.join(sorted(_PARTITIONS))}."
        )
    if region.startswith("us-gov-") is not (partition == "aws-us-gov") or region.startswith(_OTHER_REGIONS):
        raise TargetError(f"MLFLOW_PROXY_TARGET_ARN: the region {region} is not in the partition {partition!r}.")
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
    """The ARN of an IAM role, unchanged. Raises TargetError if it is not one."""
    if not _ROLE.fullmatch(arn):
        raise TargetError(
            f"MLFLOW_PROXY_ASSUME_ROLE_ARN: {arn!r} is not the ARN of a role, such as "
            f"arn:aws:iam::123456789012:role/mlflow."
        )
    return arn
