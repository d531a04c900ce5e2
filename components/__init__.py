"""MLflow on the cloud that you have: components for Pulumi programs."""

from typing import TYPE_CHECKING, Any

from .aws.settings import AwsMlflowProxySettings
from .gcp.args import GcpMlflowArgs
from .validation import SettingsError

if TYPE_CHECKING:
    from .aws.aws_mlflow_proxy import AwsMlflowProxy
    from .gcp.gcp_mlflow import GcpMlflow

__all__ = ["AwsMlflowProxy", "AwsMlflowProxySettings", "GcpMlflow", "GcpMlflowArgs", "SettingsError"]


def __getattr__(name: str) -> Any:
    # Each brings its cloud's SDK, which takes a second to load: nobody should wait for the other's.
    if name == "AwsMlflowProxy":
        from .aws.aws_mlflow_proxy import AwsMlflowProxy

        return AwsMlflowProxy
    if name == "GcpMlflow":
        from .gcp.gcp_mlflow import GcpMlflow

        return GcpMlflow
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
