"""SageMaker's two kinds of MLflow: how their ARNs tell them apart, and where AWS has them."""

import re

_ARN = re.compile(r"arn:([a-z-]+):sagemaker:[a-z0-9-]+:\d{12}:mlflow-(tracking-server|app)/[A-Za-z0-9][A-Za-z0-9-]*")


def is_app(target_arn: str) -> bool:
    """A serverless app, and not a tracking server. Raises ValueError with a sentence where there is no such MLflow."""
    found = _ARN.fullmatch(target_arn)
    if found is None:
        raise ValueError(
            f"{target_arn!r} is given; allowed is the ARN of a SageMaker MLflow, "
            "arn:aws:sagemaker:<region>:<account>:mlflow-app/<id> or ...:mlflow-tracking-server/<name>."
        )
    app = found[2] == "app"
    check_partition(found[1], app=app)
    return app


def check_partition(partition: str, *, app: bool) -> None:
    """Raises ValueError with a sentence where AWS has no MLflow of that kind."""
    if app and partition != "aws":
        raise ValueError(f"SageMaker has no serverless MLflow apps in the partition {partition}, only in aws.")
    if partition not in ("aws", "aws-us-gov"):
        raise ValueError(f"SageMaker's MLflow is not in the partition {partition}, only in aws and aws-us-gov.")
