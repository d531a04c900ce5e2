"""Pulumi components that deploy MLflow on AWS or Google Cloud."""

from typing import TYPE_CHECKING, Any

from .aws.args import AwsMlflowProxyArgs
from .gcp.args import GcpMlflowArgs
from .validation import SettingsError

if TYPE_CHECKING:
    from .aws.aws_mlflow_proxy import AwsMlflowProxy
    from .gcp.gcp_mlflow import GcpMlflow

__all__ = ["AwsMlflowProxy", "AwsMlflowProxyArgs", "GcpMlflow", "GcpMlflowArgs", "SettingsError"]


def __getattr__(name: str) -> Any:
    # Each component imports its cloud's SDK, which takes a second: load only the one that is used.
    if name == "AwsMlflowProxy":
        from .aws.aws_mlflow_proxy import AwsMlflowProxy

        return AwsMlflowProxy
    if name == "GcpMlflow":
        from .gcp.gcp_mlflow import GcpMlflow

        return GcpMlflow
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
