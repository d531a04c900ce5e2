"""How far each VPC endpoint of a VPC of our own goes. They grant nothing: they are the most that passes.

Nothing but image layers passes for other accounts' principals: with credentials that somebody brings in, no data goes
out.
"""

from collections.abc import Mapping, Sequence

import pulumi

from .deployment import Deployment
from .identity import Statement, allow
from .image import Image
from .network_settings import Endpoint
from .proxy_log import ProxyLog
from .tokens import Tokens
from .tracking import Tracking


def endpoint_statements(
    deployment: Deployment, *, tracking: Tracking, image: Image, tokens: Tokens, log: ProxyLog, studio: bool
) -> Mapping[Endpoint, Sequence[Statement]]:
    """By endpoint; one that is not here lets everything pass. ``studio``: notebooks use them, too."""
    pull = _pull(deployment, image)
    statements: dict[Endpoint, Sequence[Statement]] = {
        "ecr.api": pull,
        "ecr.dkr": pull,
        # Most of what agents say takes no ARN: bounded by who says it.
        "ecs": [_ours(deployment, "ecs:*")],
        "ecs-agent": [_ours(deployment, "ecs:*")],
        "ecs-telemetry": [_ours(deployment, "ecs:*")],
        "ec2messages": [_ours(deployment, "ec2messages:*")],
        "ssm": [_ours(deployment, "ssm:*")],
        "ssmmessages": [_ours(deployment, "ssmmessages:*")],
        "sts": [_ours(deployment, "sts:*")],
        "logs": [_write_log(deployment, log)],
        "mlflow": [_call_mlflow(deployment, tracking)],
        "sagemaker.api": [_open_mlflow(deployment, tracking)],
        "secretsmanager": [_read_hashes(deployment, tokens)],
        "s3": [_artifacts(deployment, tracking, studio=studio), _image_layers(deployment)],
    }
    if deployment.kms_key_arn is not None:
        statements["kms"] = [_ours(deployment, "kms:Decrypt", "kms:GenerateDataKey", to=[deployment.kms_key_arn])]
    if studio:
        # What notebooks do is not known here. "studio" itself carries browsers' sessions, which have no principal.
        statements["logs"] = [_ours(deployment, "logs:*")]
        statements["sagemaker.api"] = statements["sagemaker.runtime"] = [_ours(deployment, "sagemaker:*")]
    return statements


def _ours(deployment: Deployment, *actions: str, to: Sequence[pulumi.Input[str]] = ("*",)) -> Statement:
    """For this account's principals alone."""
    statement = allow(actions, to, StringEquals={"aws:PrincipalAccount": deployment.account})
    return {**statement, "Principal": "*"}


def _pull(deployment: Deployment, image: Image) -> list[Statement]:
    # Docker's calls (ecr.dkr) are held to the same actions as the API's (Amazon ECR, interface VPC endpoints).
    actions = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
    repository = image.repository_arn
    return [
        _ours(deployment, "ecr:GetAuthorizationToken"),
        _ours(deployment, *actions, to=["*"] if repository is None else [repository]),
    ]


def _write_log(deployment: Deployment, log: ProxyLog) -> Statement:
    streams = pulumi.Output.concat(log.arn, ":*")
    return _ours(deployment, "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents", to=[streams])


def _call_mlflow(deployment: Deployment, tracking: Tracking) -> Statement:
    # What a policy for a tracking server looks like is documented (SageMaker AI, "Create a VPC Endpoint Policy for
    # SageMaker AI MLflow"). For an app nothing is: a guess could shut the proxy out, so it is bounded by who calls.
    if tracking.serverless:
        return _ours(deployment, "*")
    return _ours(deployment, "sagemaker-mlflow:*", to=[tracking.target_arn])


def _open_mlflow(deployment: Deployment, tracking: Tracking) -> Statement:
    presign = "CreatePresignedMlflowAppUrl" if tracking.serverless else "CreatePresignedMlflowTrackingServerUrl"
    return _ours(deployment, f"sagemaker:{presign}", to=[tracking.target_arn])


def _read_hashes(deployment: Deployment, tokens: Tokens) -> Statement:
    return _ours(
        deployment, "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", to=[tokens.hashes_secret_arn]
    )


def _artifacts(deployment: Deployment, tracking: Tracking, *, studio: bool) -> Statement:
    objects = ("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject")
    if tracking.bucket_arn is not None and not studio:
        within = pulumi.Output.concat(tracking.bucket_arn, "/", tracking.artifact_prefix, "/*")
        return _ours(deployment, "s3:ListBucket", *objects, to=[tracking.bucket_arn, within])
    # Neither an existing target's bucket nor those of notebooks are known: any of this account's.
    owner = {"aws:PrincipalAccount": deployment.account, "aws:ResourceAccount": deployment.account}
    every = pulumi.Output.concat("arn:", deployment.partition, ":s3:::*")
    actions = ["s3:ListBucket", *objects, "s3:DeleteObject"]
    return {**allow(actions, [every], StringEquals=owner), "Principal": "*"}


def _image_layers(deployment: Deployment) -> Statement:
    """ECR hands out addresses in a bucket of its own in each region, signed by an account of its own.

    Nothing else is needed from S3 to boot: agents are in the ECS-optimized image (aws/amazon-ecs-init#83), and Session
    Manager needs no bucket. Systems Manager's patching and agent updates would, and are not for these instances:
    a new machine image is.
    """
    bucket = pulumi.Output.concat(
        "arn:", deployment.partition, ":s3:::prod-", deployment.region, "-starport-layer-bucket/*"
    )
    return {**allow(["s3:GetObject"], [bucket]), "Principal": "*"}
