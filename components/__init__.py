"""MLflow on the cloud that you have: components for Pulumi programs."""

from .aws.args import AwsMlflowProxyArgs
from .aws.aws_mlflow_proxy import AwsMlflowProxy
from .checked import SettingsError

__all__ = ["AwsMlflowProxy", "AwsMlflowProxyArgs", "SettingsError"]
