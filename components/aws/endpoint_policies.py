"""How far each VPC endpoint of a VPC of our own goes. They grant nothing: they are the most that passes.

Nothing but image layers passes for other accounts' principals: with credentials that somebody brings in, no data goes
out.
"""

from collections.abc import Mapping, Sequence

import pulumi

from .identity import Statement, allow
from .image import Image
from .network_args import Endpoint
from .place import Place
from .proxy_log import ProxyLog
from .tokens import Tokens
from .tracking import Tracking


def endpoint_statements(
    place: Place, *, tracking: Tracking, image: Image, tokens: Tokens, log: ProxyLog, studio: bool
) -> Mapping[Endpoint, Sequence[Statement]]:
    """By endpoint; one that is not here lets everything pass. ``studio``: notebooks use them, too."""
    pull = _pull(place, image)
    statements: dict[Endpoint, Sequence[Statement]] = {
        "ecr.api": pull,
        "ecr.dkr": pull,
        # Most of what agents say takes no ARN: bounded by who says it.
        "ecs": [_ours(place, "ecs:*")],
        "ecs-agent": [_ours(place, "ecs:*")],
        "ecs-telemetry": [_ours(place, "ecs:*")],
        "ec2messages": [_ours(place, "ec2messages:*")],
        "ssm": [_ours(place, "ssm:*")],
        "ssmmessages": [_ours(place, "ssmmessages:*")],
        "sts": [_ours(place, "sts:*")],
        "logs": [_write_log(place, log)],
        "mlflow": [_call_mlflow(place, tracking)],
        "sagemaker.api": [_open_mlflow(place, tracking)],
        "secretsmanager": [_read_hashes(place, tokens)],
        "s3": [_artifacts(place, tracking, studio=studio), _image_layers(place)],
    }
    if place.kms_key_arn is not None:
        statements["kms"] = [_ours(place, "kms:Decrypt", "kms:GenerateDataKey", to=[place.kms_key_arn])]
    if studio:
        # What notebooks do is not known here. "studio" itself carries browsers' sessions, which have no principal.
        statements["logs"] = [_ours(place, "logs:*")]
        statements["sagemaker.api"] = statements["sagemaker.runtime"] = [_ours(place, "sagemaker:*")]
    return statements


def _ours(place: Place, *actions: str, to: Sequence[pulumi.Input[str]] = ("*",)) -> Statement:
    """For this account's principals alone."""
    statement = allow(actions, to, StringEquals={"aws:PrincipalAccount": place.account})
    return {**statement, "Principal": "*"}


def _pull(place: Place, image: Image) -> list[Statement]:
    # Docker's calls (ecr.dkr) are held to the same actions as the API's (Amazon ECR, interface VPC endpoints).
    actions = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
    repository = image.repository_arn
    return [
        _ours(place, "ecr:GetAuthorizationToken"),
        _ours(place, *actions, to=["*"] if repository is None else [repository]),
    ]


def _write_log(place: Place, log: ProxyLog) -> Statement:
    streams = pulumi.Output.concat(log.arn, ":*")
    return _ours(place, "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents", to=[streams])


def _call_mlflow(place: Place, tracking: Tracking) -> Statement:
    # What a policy for a tracking server looks like is documented (SageMaker AI, "Create a VPC Endpoint Policy for
    # SageMaker AI MLflow"). For an app nothing is: a guess could shut the proxy out, so it is bounded by who calls.
    if tracking.serverless:
        return _ours(place, "*")
    return _ours(place, "sagemaker-mlflow:*", to=[tracking.target_arn])


def _open_mlflow(place: Place, tracking: Tracking) -> Statement:
    presign = "CreatePresignedMlflowAppUrl" if tracking.serverless else "CreatePresignedMlflowTrackingServerUrl"
    return _ours(place, f"sagemaker:{presign}", to=[tracking.target_arn])


def _read_hashes(place: Place, tokens: Tokens) -> Statement:
    return _ours(place, "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", to=[tokens.hashes_secret_arn])


def _artifacts(place: Place, tracking: Tracking, *, studio: bool) -> Statement:
    objects = ("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject")
    if tracking.bucket_arn is not None and not studio:
        within = pulumi.Output.concat(tracking.bucket_arn, "/", tracking.artifact_prefix, "/*")
        return _ours(place, "s3:ListBucket", *objects, to=[tracking.bucket_arn, within])
    # Neither an existing target's bucket nor those of notebooks are known: any of this account's.
    owner = {"aws:PrincipalAccount": place.account, "aws:ResourceAccount": place.account}
    every = pulumi.Output.concat("arn:", place.partition, ":s3:::*")
    actions = ["s3:ListBucket", *objects, "s3:DeleteObject"]
    return {**allow(actions, [every], StringEquals=owner), "Principal": "*"}


def _image_layers(place: Place) -> Statement:
    """ECR hands out addresses in a bucket of its own in each region, signed by an account of its own.

    Nothing else is needed from S3 to boot: agents are in the ECS-optimized image (aws/amazon-ecs-init#83), and Session
    Manager needs no bucket. Systems Manager's patching and agent updates would, and are not for these instances:
    a new machine image is.
    """
    bucket = pulumi.Output.concat("arn:", place.partition, ":s3:::prod-", place.region, "-starport-layer-bucket/*")
    return {**allow(["s3:GetObject"], [bucket]), "Principal": "*"}
