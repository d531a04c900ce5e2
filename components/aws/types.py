"""Types of settings that hold AWS identifiers, each of which may also be another resource's Output, and their ARNs."""

import re
from typing import TYPE_CHECKING

import pulumi

from ..validation import input_type

if TYPE_CHECKING:
    Arn = CertificateArn = KmsKeyArn = PolicyArn = ResourceId = RoleArn = TopicArn = ZoneId = pulumi.Input[str]
else:
    Arn = input_type(r"arn:[a-z-]+:[a-z0-9-]+:[a-z0-9-]*:(\d{12}|aws)?:\S+", "an ARN (arn:aws:...)")
    CertificateArn = input_type(
        r"arn:[a-z-]+:acm:[a-z0-9-]+:\d{12}:certificate/[\w-]+", "an ACM certificate ARN (arn:aws:acm:...)"
    )
    KmsKeyArn = input_type(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/[\w-]+", "a KMS key ARN (arn:aws:kms:...:key/...)")
    PolicyArn = input_type(
        r"arn:[a-z-]+:iam::(\d{12}|aws):policy/\S+", "an IAM policy ARN (arn:aws:iam::...:policy/...)"
    )
    RoleArn = input_type(r"arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+", "an IAM role ARN (arn:aws:iam::...:role/...)")
    ResourceId = input_type(r"[a-z]+-[0-9a-f]{8,}", "an AWS resource ID, such as vpc-0123456789abcdef0")
    TopicArn = input_type(r"arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[\w-]+", "an SNS topic ARN (arn:aws:sns:...)")
    ZoneId = input_type(r"Z[A-Z0-9]{3,31}", "a Route 53 hosted zone ID, such as Z0123456789ABCDEFGHIJ")

_MLFLOW_ARN = re.compile(
    r"arn:([a-z-]+):sagemaker:[a-z0-9-]+:\d{12}:mlflow-(tracking-server|app)/[A-Za-z0-9][A-Za-z0-9-]*"
)


def is_mlflow_app(target_arn: str) -> bool:
    """Whether an ARN is that of a serverless MLflow app (True) or of a tracking server (False).

    Raises ValueError for any other ARN, and for a partition without that kind of MLflow.
    """
    found = _MLFLOW_ARN.fullmatch(target_arn)
    if found is None:
        raise ValueError(
            f"got {target_arn!r}, expected the ARN of a SageMaker MLflow app or tracking server: "
            "arn:aws:sagemaker:<region>:<account>:mlflow-app/<id> or ...:mlflow-tracking-server/<name>."
        )
    app = found[2] == "app"
    check_partition(found[1], app=app)
    return app


def check_partition(partition: str, *, app: bool) -> None:
    """Raise ValueError if SageMaker does not offer that kind of MLflow in an AWS partition."""
    if app and partition != "aws":
        raise ValueError(f"SageMaker offers serverless MLflow apps only in the partition aws, not in {partition}.")
    if partition not in ("aws", "aws-us-gov"):
        raise ValueError(f"SageMaker offers MLflow only in the partitions aws and aws-us-gov, not in {partition}.")
