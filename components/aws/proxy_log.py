"""The CloudWatch log group of the proxy."""

import re

import pulumi
import pulumi_aws as aws

from .deployment import Deployment

_NAME = re.compile(r"[\w./#-]{1,512}", re.ASCII)


class ProxyLog(pulumi.ComponentResource):
    """A log group with one JSON object per line (proxy_app/access_log.py)."""

    name: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(self, deployment: Deployment, *, days: int, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow:aws:ProxyLog", deployment.component, {}, opts)
        # A readable name for `aws logs tail /mlflow/dev/mlflow`.
        readable = pulumi.Output.concat("/mlflow/", deployment.stack, "/", deployment.name)
        fallback = pulumi.Output.concat("/mlflow/", deployment.physical_name("log", 400))
        group = aws.cloudwatch.LogGroup(
            deployment.logical_name("log"),
            name=pulumi.Output.all(readable, fallback).apply(
                lambda names: names[0] if _NAME.fullmatch(names[0]) else names[1]
            ),
            retention_in_days=days,
            kms_key_id=deployment.kms_key_arn,
            tags=deployment.tags_for("log"),
            opts=pulumi.ResourceOptions(parent=self, protect=deployment.deletion_protection),
        )
        self.name, self.arn = group.name, group.arn
        self.register_outputs({"name": self.name, "arn": self.arn})
