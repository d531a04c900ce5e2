"""Policies of the VPC endpoints in a new VPC. They grant no permissions: they limit what passes through the endpoint.

Principals of other accounts can only read image layers, so that foreign credentials cannot be used to copy data out.
With a target in another account, principals of that account can call this target.
"""

from collections.abc import Mapping, Sequence

import pulumi

from .artifacts import ArtifactLocation
from .deployment import Deployment
from .identity import SERVED_ARTIFACTS, Statement, allow
from .image import Image
from .network_settings import Endpoint
from .proxy_log import ProxyLog
from .tokens import Tokens
from .tracking import Tracking


def endpoint_statements(
    deployment: Deployment,
    *,
    tracking: Tracking,
    artifacts: ArtifactLocation | None,
    image: Image,
    tokens: Tokens,
    log: ProxyLog,
    studio: bool,
) -> Mapping[Endpoint, Sequence[Statement]]:
    """Statements by endpoint; an endpoint that is not listed has no policy. ``studio``: notebooks use them as well."""
    pull = _pull(deployment, image)
    statements: dict[Endpoint, Sequence[Statement]] = {
        "ecr.api": pull,
        "ecr.dkr": pull,
        # Most actions of the agents do not support resource ARNs: limited by principal.
        "ecs": [_own_account(deployment, "ecs:*")],
        "ecs-agent": [_own_account(deployment, "ecs:*")],
        "ecs-telemetry": [_own_account(deployment, "ecs:*")],
        "ssm": [_own_account(deployment, "ssm:*")],
        "ssmmessages": [_own_account(deployment, "ssmmessages:*")],
        "logs": [_write_log(deployment, log)],
        "mlflow": [_call_mlflow(deployment, tracking)],
        "sagemaker.api": [_open_mlflow(deployment, tracking)],
        "secretsmanager": [_read_hashes(deployment, tokens)],
        "s3": [
            _artifacts(deployment, tracking, artifacts, studio=studio),
            *_existing_location(deployment, tracking, artifacts),
            _image_layers(deployment),
        ],
    }
    if tracking.assume_role_arn is not None:
        statements["sts"] = [_own_account(deployment, "sts:AssumeRole", to=[tracking.assume_role_arn])]
    if deployment.kms_key_arn is not None:
        statements["kms"] = [
            _own_account(deployment, "kms:Decrypt", "kms:GenerateDataKey", to=[deployment.kms_key_arn])
        ]
    if studio:
        # The actions of notebooks are not known. The studio endpoint carries browser sessions, which have no principal.
        statements["logs"] = [_own_account(deployment, "logs:*")]
        statements["sts"] = [_own_account(deployment, "sts:*")]
        statements["sagemaker.api"] = statements["sagemaker.runtime"] = [_own_account(deployment, "sagemaker:*")]
    return statements


def _own_account(deployment: Deployment, *actions: str, to: Sequence[pulumi.Input[str]] = ("*",)) -> Statement:
    """Allow actions for principals of this account only."""
    return _of_account(deployment.account, *actions, to=to)


def _of_account(account: pulumi.Input[str], *actions: str, to: Sequence[pulumi.Input[str]]) -> Statement:
    return {**allow(actions, to, StringEquals={"aws:PrincipalAccount": account}), "Principal": "*"}


def _of_proxy(
    deployment: Deployment, tracking: Tracking, *actions: str, to: Sequence[pulumi.Input[str]] | None = None
) -> Statement:
    """Allow actions, by default on the target, for the account whose role the proxy uses: this one, or that of the
    assumed role.
    """
    role = tracking.assume_role_arn
    account = (
        deployment.account if role is None else pulumi.Output.from_input(role).apply(lambda known: known.split(":")[4])
    )
    return _of_account(account, *actions, to=to or [tracking.policy_arn])


def _pull(deployment: Deployment, image: Image) -> list[Statement]:
    # Docker's calls (ecr.dkr) need the same actions as the API (Amazon ECR, interface VPC endpoints).
    actions = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
    repository = image.repository_arn
    return [
        _own_account(deployment, "ecr:GetAuthorizationToken"),
        _own_account(deployment, *actions, to=["*"] if repository is None else [repository]),
    ]


def _write_log(deployment: Deployment, log: ProxyLog) -> Statement:
    streams = pulumi.Output.concat(log.arn, ":*")
    return _own_account(
        deployment, "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents", to=[streams]
    )


def _call_mlflow(deployment: Deployment, tracking: Tracking) -> Statement:
    # SageMaker AI, "Create a VPC Endpoint Policy for SageMaker AI MLflow". Apps have one action for their whole API.
    action = "sagemaker:CallMlflowAppApi" if tracking.serverless else "sagemaker-mlflow:*"
    return _of_proxy(deployment, tracking, action)


def _open_mlflow(deployment: Deployment, tracking: Tracking) -> Statement:
    presign = "CreatePresignedMlflowAppUrl" if tracking.serverless else "CreatePresignedMlflowTrackingServerUrl"
    return _of_proxy(deployment, tracking, f"sagemaker:{presign}")


def _read_hashes(deployment: Deployment, tokens: Tokens) -> Statement:
    return _own_account(
        deployment, "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", to=[tokens.hashes_secret_arn]
    )


def _artifacts(
    deployment: Deployment, tracking: Tracking, artifacts: ArtifactLocation | None, *, studio: bool
) -> Statement:
    objects = ("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject")
    if tracking.bucket_arn is not None and not studio:
        within = pulumi.Output.concat(tracking.bucket_arn, "/", tracking.artifact_prefix, "/*")
        actions = objects if artifacts is None else [f"s3:{action}" for action in SERVED_ARTIFACTS]
        return _own_account(deployment, "s3:ListBucket", *actions, to=[tracking.bucket_arn, within])
    # The buckets of an existing target and of notebooks are not known: all buckets of this account.
    owner = {"aws:PrincipalAccount": deployment.account, "aws:ResourceAccount": deployment.account}
    every = pulumi.Output.concat("arn:", deployment.partition, ":s3:::*")
    actions = ["s3:ListBucket", *objects, "s3:DeleteObject"]
    return {**allow(actions, [every], StringEquals=owner), "Principal": "*"}


def _existing_location(
    deployment: Deployment, tracking: Tracking, artifacts: ArtifactLocation | None
) -> list[Statement]:
    """The artifacts of an existing target, which may be in the bucket of another account."""
    if artifacts is None or tracking.bucket_arn is not None:
        return []
    within = pulumi.Output.concat(artifacts.bucket_arn, "/", artifacts.prefix, "/*")
    actions = ["s3:ListBucket", *(f"s3:{action}" for action in SERVED_ARTIFACTS)]
    return [_of_proxy(deployment, tracking, *actions, to=[artifacts.bucket_arn, within])]


def _image_layers(deployment: Deployment) -> Statement:
    """ECR returns presigned URLs of a regional bucket that belongs to another account.

    Instances need nothing else from S3: the ECS-optimized AMI contains the agents (aws/amazon-ecs-init#83), and Session
    Manager needs no bucket. Patching and agent updates by Systems Manager would; these instances get a new AMI instead.
    """
    bucket = pulumi.Output.concat(
        "arn:", deployment.partition, ":s3:::prod-", deployment.region, "-starport-layer-bucket/*"
    )
    return {**allow(["s3:GetObject"], [bucket]), "Principal": "*"}
