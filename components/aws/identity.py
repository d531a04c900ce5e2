"""Roles, and what each of them may do: one function for each, pure, with exact actions and ARNs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from .deployment import Deployment
from .mlflow_actions import DELETE, READ, WRITE

Statement = Mapping[str, Any]


def document(statements: Sequence[Statement]) -> pulumi.Output[str]:
    """An IAM policy document of statements, whose values may be Outputs."""
    return pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions: Sequence[str], resources: Sequence[pulumi.Input[str]], **condition: Any) -> Statement:
    """A statement; ``condition`` as IAM has it, such as ``StringEquals={...}``."""
    statement: dict[str, Any] = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return {**statement, "Condition": condition} if condition else statement


def service_role(
    deployment: Deployment,
    role: str,
    service: str,
    statements: Sequence[Statement],
    *,
    parent: pulumi.Resource,
    managed_policy_arns: Sequence[pulumi.Input[str]] = (),
) -> aws.iam.Role:
    """A role that one AWS service may assume, for this account only, with one inline policy."""
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
        # EC2 assumes an instance's role without saying for whom.
        **(
            {}
            if service.startswith("ec2.")
            else {"Condition": {"StringEquals": {"aws:SourceAccount": deployment.account}}}
        ),
    }
    made = aws.iam.Role(
        deployment.logical_name(role),
        description=f"{role} of {deployment.name} ({deployment.stack})",
        assume_role_policy=document([trust]),
        permissions_boundary=deployment.permissions_boundary_arn,
        managed_policy_arns=list(managed_policy_arns) or None,
        tags=deployment.tags_for(role),
        opts=pulumi.ResourceOptions(parent=parent),
    )
    if statements:
        role_policy(deployment, role, made, statements)
    return made


def role_policy(
    deployment: Deployment, role: str, made: aws.iam.Role, statements: Sequence[Statement]
) -> aws.iam.RolePolicy:
    """The inline policy of a role that was made without statements, for those who have to wait for it."""
    return aws.iam.RolePolicy(
        deployment.logical_name(role),
        role=made.name,
        policy=document(statements),
        opts=pulumi.ResourceOptions(parent=made),
    )


def flow_log_statements(log_group_arn: pulumi.Input[str]) -> list[Statement]:
    """For VPC flow logs: write that one log group.

    AWS's page also names CreateLogGroup and DescribeLogGroups on everything; deliveries work without (aws-cdk's
    vpc-flow-logs.ts). Without the first, a late delivery cannot bring the group back after it was destroyed.
    """
    streams = pulumi.Output.concat(log_group_arn, ":*")
    return [allow(["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], [streams])]


def tracking_statements(
    deployment: Deployment, *, bucket_arn: pulumi.Input[str], prefix: str, registers_models: bool
) -> list[Statement]:
    """For SageMaker's MLflow: its artifacts in the bucket and, if it registers models, SageMaker's model registry."""
    statements = artifact_statements(deployment, bucket_arn=bucket_arn, prefix=prefix)
    if registers_models:
        registry = [
            deployment.arn("sagemaker", "model-package-group/*"),
            deployment.arn("sagemaker", "model-package/*"),
        ]
        actions = ["CreateModelPackageGroup", "DescribeModelPackageGroup", "CreateModelPackage", "UpdateModelPackage"]
        statements.append(allow([f"sagemaker:{action}" for action in [*actions, "AddTags"]], registry))
    return statements


def artifact_statements(deployment: Deployment, *, bucket_arn: pulumi.Input[str], prefix: str) -> list[Statement]:
    """For whoever reads and writes artifacts; nobody deletes them."""
    statements = [
        allow(["s3:ListBucket"], [bucket_arn]),
        allow(["s3:GetObject", "s3:PutObject"], [pulumi.Output.concat(bucket_arn, f"/{prefix}/*")]),
    ]
    if deployment.kms_key_arn is not None:
        # Through S3, and for nothing else.
        s3 = pulumi.Output.concat("s3.", deployment.region, ".amazonaws.com")
        statements.append(
            allow(
                ["kms:Decrypt", "kms:GenerateDataKey"],
                [deployment.kms_key_arn],
                StringEquals={"kms:ViaService": s3},
            )
        )
    return statements


def mlflow_statements(
    *, target_arn: pulumi.Input[str], serverless: bool, deletes: bool, interface: bool
) -> list[Statement]:
    """For whoever calls SageMaker's MLflow, also to delete in it, also for links into its own ``interface``.

    An app's rights cannot tell reading from deleting: there, whoever forwards requests has to.
    """
    kind = "App" if serverless else "TrackingServer"
    links = [allow([f"sagemaker:CreatePresignedMlflow{kind}Url"], [target_arn])] if interface else []
    if serverless:
        return [allow(["sagemaker:CallMlflowAppApi"], [target_arn]), *links]
    if interface:
        # It takes no ARN.
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
    """For one Studio user: own private spaces with their apps, and to find the MLflow; AWS's page "Give your users
    access to spaces" gives the rights to spaces of everybody's domains.
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
        # They take no ARN.
        allow([f"sagemaker:{action}" for action in listed], ["*"]),
        allow(["sagemaker:DescribeDomain"], [named("domain")]),
        allow(["sagemaker:DescribeUserProfile", "sagemaker:CreatePresignedDomainUrl"], [profile]),
        allow(["sagemaker:DescribeSpace"], [spaces]),
        allow(["sagemaker:DescribeApp"], [apps]),
        allow(["sagemaker:CreateSpace", "sagemaker:UpdateSpace", "sagemaker:DeleteSpace"], [spaces], **own),
        allow(["sagemaker:CreateApp", "sagemaker:DeleteApp"], [apps], **own),
        # Studio tags what it makes.
        allow(["sagemaker:AddTags"], [spaces, apps], Null={"sagemaker:TaggingAction": "false"}),
        allow([f"sagemaker:DescribeMlflow{kind}"], [target_arn]),
    ]


def proxy_statements(
    deployment: Deployment,
    *,
    target_arn: pulumi.Input[str],
    serverless: bool,
    tokens_secret_arn: pulumi.Input[str],
    enable_execute_command: bool,
) -> list[Statement]:
    """For the proxy itself (the task role): all of that one MLflow, and to read the tokens' hashes.

    The proxy itself enforces the roles of its users. ``enable_execute_command`` adds the permissions of ECS Exec.
    """
    statements = [
        *mlflow_statements(target_arn=target_arn, serverless=serverless, deletes=True, interface=True),
        allow(["secretsmanager:GetSecretValue"], [tokens_secret_arn]),
    ]
    key = deployment.kms_key_arn
    if key is not None:
        secrets = pulumi.Output.concat("secretsmanager.", deployment.region, ".amazonaws.com")
        statements.append(allow(["kms:Decrypt"], [key], StringEquals={"kms:ViaService": secrets}))
    if enable_execute_command:
        statements.append(_sessions())
        if key is not None:
            # A session's own encryption, by the agent that ECS puts beside the proxy.
            statements.append(allow(["kms:Decrypt"], [key]))
    return statements


def execution_statements(
    *, repository_arn: pulumi.Input[str] | None, log_group_arn: pulumi.Input[str]
) -> list[Statement]:
    """For ECS to start the proxy (the execution role): pull its image and write its log.

    An image that is not in ECR needs no rights. ECR itself decrypts what a customer key has encrypted.
    """
    streams = pulumi.Output.concat(log_group_arn, ":log-stream:*")
    statements = [allow(["logs:CreateLogStream", "logs:PutLogEvents"], [streams])]
    if repository_arn is not None:
        pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        # It takes no ARN.
        statements += [allow(["ecr:GetAuthorizationToken"], ["*"]), allow(pull, [repository_arn])]
    return statements


def instance_statements(
    deployment: Deployment, *, cluster_arn: pulumi.Input[str], cluster_name: pulumi.Input[str]
) -> list[Statement]:
    """For the agents on an instance: to be a part of this one cluster, and to be reached by Session Manager.

    AmazonEC2ContainerServiceforEC2Role has every cluster, pulls and logs beside (here the execution role's), and rights
    that the agent does not use (amazon-ecs-agent's ecs_client.go). AmazonSSMManagedInstanceCore has Run Command,
    patching and every parameter beside; AWS names these as the least for Session Manager.
    """
    members = deployment.arn("ecs", pulumi.Output.concat("container-instance/", cluster_name, "/*"))
    states = [f"ecs:Submit{what}" for what in ("AttachmentStateChanges", "ContainerStateChange", "TaskStateChange")]
    return [
        # It takes no ARN.
        allow(["ecs:DiscoverPollEndpoint"], ["*"]),
        allow(["ecs:RegisterContainerInstance", *states], [cluster_arn]),
        allow(["ecs:Poll", "ecs:StartTelemetrySession"], [members]),
        allow(["ssm:UpdateInstanceInformation"], [deployment.arn("ec2", "instance/*")]),
        _sessions(),
    ]


def _sessions() -> Statement:
    """Systems Manager's sessions. They take no ARN: who may open one is said where people have their rights."""
    ways = ["CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel"]
    return allow([f"ssmmessages:{way}" for way in ways], ["*"])
