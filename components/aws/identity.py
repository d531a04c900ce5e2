"""IAM roles and their permissions: one pure function per role, with exact actions and ARNs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from .artifacts import ArtifactLocation
from .deployment import Deployment
from .mlflow_actions import DELETE, READ, WRITE

Statement = Mapping[str, Any]
# What the proxy does with objects. The last one lists the parts of an upload.
SERVED_ARTIFACTS = ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload", "ListMultipartUploadParts")


def document(statements: Sequence[Statement]) -> pulumi.Output[str]:
    """An IAM policy document of statements, whose values may be Outputs."""
    return pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions: Sequence[str], resources: Sequence[pulumi.Input[str]], **condition: Any) -> Statement:
    """An IAM statement that allows actions; ``condition`` is IAM's, such as ``StringEquals={...}``."""
    statement: dict[str, Any] = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return {**statement, "Condition": condition} if condition else statement


def service_role(
    deployment: Deployment,
    role: str,
    service: str,
    statements: Sequence[Statement],
    *,
    parent: pulumi.Resource,
) -> aws.iam.Role:
    """A role that one AWS service may assume, for this account only, with an inline policy."""
    trust: Statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    # EC2 does not send aws:SourceAccount when it assumes an instance's role.
    if not service.startswith("ec2."):
        # AWS's trust policy for SageMaker MLflow has no condition, so that SageMaker may not send the key
        # (https://docs.aws.amazon.com/sagemaker/latest/dg/mlflow-create-tracking-server-iam.html).
        operator = "StringEqualsIfExists" if service.startswith("sagemaker.") else "StringEquals"
        trust["Condition"] = {operator: {"aws:SourceAccount": deployment.account}}
    made = aws.iam.Role(
        deployment.logical_name(role),
        description=pulumi.Output.concat(f"{role} of ", deployment.title),
        assume_role_policy=document([trust]),
        permissions_boundary=deployment.permissions_boundary_arn,
        tags=deployment.tags_for(role),
        # Key policies and policies of other accounts name it; a new role with the same name is another principal.
        opts=pulumi.ResourceOptions(parent=parent, protect=deployment.deletion_protection),
    )
    if statements:
        role_policy(deployment, role, made, statements, parent=parent)
    return made


def role_policy(
    deployment: Deployment, role: str, made: aws.iam.Role, statements: Sequence[Statement], *, parent: pulumi.Resource
) -> aws.iam.RolePolicy:
    """The inline policy of a role, as a separate resource that others can depend on."""
    return aws.iam.RolePolicy(
        deployment.logical_name(role),
        role=made.name,
        policy=document(statements),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def flow_log_statements(log_group_arn: pulumi.Input[str]) -> list[Statement]:
    """Permissions of VPC flow logs: write to one log group.

    AWS also documents CreateLogGroup and DescribeLogGroups on all resources; delivery works without (aws-cdk,
    vpc-flow-logs.ts), and without CreateLogGroup a late delivery cannot recreate a deleted log group.
    """
    streams = pulumi.Output.concat(log_group_arn, ":*")
    return [allow(["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], [streams])]


def tracking_statements(
    deployment: Deployment, *, bucket_arn: pulumi.Input[str], prefix: str, registers_models: bool
) -> list[Statement]:
    """Permissions of SageMaker MLflow: its artifacts, and with ``registers_models`` the SageMaker Model Registry."""
    statements = artifact_statements(deployment, bucket_arn=bucket_arn, prefix=prefix)
    if registers_models:
        registry = [
            deployment.arn("sagemaker", "model-package-group/*"),
            deployment.arn("sagemaker", "model-package/*"),
        ]
        actions = ["CreateModelPackageGroup", "DescribeModelPackageGroup", "CreateModelPackage", "UpdateModelPackage"]
        statements.append(allow([f"sagemaker:{action}" for action in [*actions, "AddTags"]], registry))
        # The lineage of a registered model; without them SageMaker silently records none.
        lineage = [deployment.arn("sagemaker", f"{kind}/*") for kind in ("action", "artifact", "context")]
        statements.append(allow(["sagemaker:AddAssociation", "sagemaker:CreateAction"], lineage))
    return statements


def artifact_statements(deployment: Deployment, *, bucket_arn: pulumi.Input[str], prefix: str) -> list[Statement]:
    """Permissions to read and write artifacts, without deleting them."""
    statements = [
        allow(["s3:ListBucket"], [bucket_arn]),
        allow(["s3:GetObject", "s3:PutObject"], [pulumi.Output.concat(bucket_arn, f"/{prefix}/*")]),
    ]
    return [*statements, *_key_of_objects(deployment)]


def _key_of_objects(deployment: Deployment) -> list[Statement]:
    """Use of the customer managed key, if there is one, for requests through S3 only."""
    if deployment.kms_key_arn is None:
        return []
    s3 = pulumi.Output.concat("s3.", deployment.region, ".amazonaws.com")
    actions = ["kms:Decrypt", "kms:GenerateDataKey"]
    return [allow(actions, [deployment.kms_key_arn], StringEquals={"kms:ViaService": s3})]


def mlflow_statements(
    *, target_arn: pulumi.Input[str], serverless: bool, deletes: bool, interface: bool
) -> list[Statement]:
    """Permissions to call SageMaker MLflow; ``deletes`` adds deletion, ``interface`` presigned URLs of its UI.

    IAM does not distinguish reading and deleting for apps: the proxy enforces its roles itself.
    """
    kind = "App" if serverless else "TrackingServer"
    links = [allow([f"sagemaker:CreatePresignedMlflow{kind}Url"], [target_arn])] if interface else []
    if serverless:
        return [allow(["sagemaker:CallMlflowAppApi"], [target_arn]), *links]
    if interface:
        # Does not support resource ARNs.
        links.append(allow(["sagemaker-mlflow:AccessUI"], ["*"]))
    return [allow([*READ, *WRITE, *(DELETE if deletes else ())], [target_arn]), *links]


def studio_statements(
    deployment: Deployment,
    *,
    domain_id: pulumi.Input[str],
    user_profile: str,
    target_arn: pulumi.Input[str],
    serverless: bool,
) -> list[Statement]:
    """Permissions of one Studio user: private spaces with their apps, and to find SageMaker MLflow.

    The policy in AWS's "Give your users access to spaces" covers the spaces of all domains instead.
    """

    def named(kind: str, *name: str) -> pulumi.Output[str]:
        return pulumi.Output.concat(deployment.arn("sagemaker", f"{kind}/"), domain_id, *(f"/{part}" for part in name))

    profile, spaces, apps = named("user-profile", user_profile), named("space", "*"), named("app", "*")
    own = {
        "ArnLike": {"sagemaker:OwnerUserProfileArn": profile},
        "StringEquals": {"sagemaker:SpaceSharingType": ["Private"]},
    }
    kind = "App" if serverless else "TrackingServer"
    listed = ["ListApps", "ListDomains", "ListSpaces", "ListUserProfiles", f"ListMlflow{kind}s"]
    return [
        # Do not support resource ARNs.
        allow([f"sagemaker:{action}" for action in listed], ["*"]),
        allow(["sagemaker:DescribeDomain"], [named("domain")]),
        allow(["sagemaker:DescribeUserProfile", "sagemaker:CreatePresignedDomainUrl"], [profile]),
        allow(["sagemaker:DescribeSpace"], [spaces]),
        allow(["sagemaker:DescribeApp"], [apps]),
        allow(["sagemaker:CreateSpace", "sagemaker:UpdateSpace", "sagemaker:DeleteSpace"], [spaces], **own),
        allow(["sagemaker:CreateApp", "sagemaker:DeleteApp"], [apps], **own),
        # Studio tags the resources that it creates.
        allow(["sagemaker:AddTags"], [spaces, apps], Null={"sagemaker:TaggingAction": "false"}),
        allow([f"sagemaker:DescribeMlflow{kind}"], [target_arn]),
    ]


def proxy_statements(
    deployment: Deployment,
    *,
    target_arn: pulumi.Input[str],
    serverless: bool,
    assume_role_arn: pulumi.Input[str] | None,
    artifacts: ArtifactLocation | None,
    tokens_secret_arn: pulumi.Input[str],
    enable_execute_command: bool,
) -> list[Statement]:
    """Permissions of the task role: full access to one MLflow target and its artifacts, and reading the hashes of
    tokens.

    The proxy itself enforces the roles of its users. With ``assume_role_arn``, that role has the access to the target
    and its artifacts. ``enable_execute_command`` adds the permissions of ECS Exec.
    """
    if assume_role_arn is not None:
        target = [allow(["sts:AssumeRole"], [assume_role_arn])]
    else:
        target = mlflow_statements(target_arn=target_arn, serverless=serverless, deletes=True, interface=True)
        if artifacts is not None:
            target += _served_artifacts(deployment, artifacts)
    statements = [
        *target,
        allow(["secretsmanager:GetSecretValue"], [tokens_secret_arn]),
    ]
    key = deployment.kms_key_arn
    if key is not None:
        secrets = pulumi.Output.concat("secretsmanager.", deployment.region, ".amazonaws.com")
        statements.append(allow(["kms:Decrypt"], [key], StringEquals={"kms:ViaService": secrets}))
    if enable_execute_command:
        statements.append(_sessions())
        if key is not None:
            # The ECS Exec agent encrypts the session.
            statements.append(allow(["kms:Decrypt"], [key]))
    return statements


def _served_artifacts(deployment: Deployment, artifacts: ArtifactLocation) -> list[Statement]:
    """Permissions to list, read, write and delete objects below one prefix."""
    objects = pulumi.Output.concat(artifacts.bucket_arn, f"/{artifacts.prefix}/*")
    below = {"s3:prefix": f"{artifacts.prefix}/*"}
    return [
        allow(["s3:ListBucket"], [artifacts.bucket_arn], StringLike=below),
        allow([f"s3:{action}" for action in SERVED_ARTIFACTS], [objects]),
        *_key_of_objects(deployment),
    ]


def execution_statements(
    *, repository_arn: pulumi.Input[str] | None, log_group_arn: pulumi.Input[str]
) -> list[Statement]:
    """Permissions of the task execution role: pull the image and write the log.

    An image outside ECR needs no permissions. ECR itself decrypts images with a customer managed key.
    """
    streams = pulumi.Output.concat(log_group_arn, ":log-stream:*")
    statements = [allow(["logs:CreateLogStream", "logs:PutLogEvents"], [streams])]
    if repository_arn is not None:
        pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        # Does not support resource ARNs.
        statements += [allow(["ecr:GetAuthorizationToken"], ["*"]), allow(pull, [repository_arn])]
    return statements


def instance_statements(
    deployment: Deployment, *, cluster_arn: pulumi.Input[str], cluster_name: pulumi.Input[str]
) -> list[Statement]:
    """Permissions of the agents on an instance: join one cluster, and accept Session Manager sessions.

    AmazonEC2ContainerServiceforEC2Role also allows all clusters, image pulls and logs, and actions that the agent does
    not use (amazon-ecs-agent, ecs_client.go). AmazonSSMManagedInstanceCore also allows Run Command, patching and all
    parameters; AWS documents these actions as the minimum for Session Manager.
    """
    members = deployment.arn("ecs", pulumi.Output.concat("container-instance/", cluster_name, "/*"))
    states = [f"ecs:Submit{what}" for what in ("AttachmentStateChanges", "ContainerStateChange", "TaskStateChange")]
    return [
        # Does not support resource ARNs.
        allow(["ecs:DiscoverPollEndpoint"], ["*"]),
        allow(["ecs:RegisterContainerInstance", *states], [cluster_arn]),
        allow(["ecs:Poll", "ecs:StartTelemetrySession"], [members]),
        allow(["ssm:UpdateInstanceInformation"], [deployment.arn("ec2", "instance/*")]),
        _sessions(),
    ]


def _sessions() -> Statement:
    """Systems Manager sessions, without resource ARNs: users need permissions of their own to start one."""
    ways = ["CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel"]
    return allow([f"ssmmessages:{way}" for way in ways], ["*"])
