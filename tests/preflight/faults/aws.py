"""Faults of an AWS account."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.preflight.aws_account import REGION, ApiError
from tests.preflight.faults.case import Case, certificate, edited, setting
from tests.preflight.stacks import World

KEY = f"arn:aws:kms:{REGION}:123456789012:key/11111111-2222-3333-4444-555555555555"


SERVER = f"arn:aws:sagemaker:{REGION}:123456789012:mlflow-tracking-server/shared"


APP = f"arn:aws:sagemaker:{REGION}:123456789012:mlflow-app/app-ABCDEF123456"


def _deny(*actions: str) -> Callable[[World], None]:
    statement = {"Effect": "Allow", "Action": [f"{letter}*" for letter in "abcdefghjklmnopqrstuvwxyz"], "Resource": "*"}

    def change(world: World) -> None:
        # IAM's actions are the only ones with i: those are allowed one by one.
        kept = ["iam:Get*", "iam:Put*", "iam:Delete*", "iam:PassRole", "iam:Tag*", "iam:Untag*", "iam:Update*"]
        kept += ["iam:Add*", "iam:Remove*", "iam:List*", "iam:CreateRole", "iam:CreateInstanceProfile"]
        if actions == ("iam:CreateServiceLinkedRole",):
            world.aws.statements = [statement, {"Effect": "Allow", "Action": kept, "Resource": "*"}]
        else:
            world.aws.statements = [{"Effect": "Allow", "Action": ["iam:*", "logs:*"], "Resource": "*"}]

    return change


def _quota(code: str, value: float) -> Callable[[World], None]:
    return lambda world: world.aws.quotas.update({code: value})


def kms_key(world: World, principals: tuple[str, ...] | None = None, **metadata: Any) -> None:
    """A key whose policy has the statements of docs/aws.md."""
    role = "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    admitted = (f"logs.{REGION}.amazonaws.com", "cloudwatch.amazonaws.com", role) if principals is None else principals
    statements = [{"Effect": "Allow", "Principal": {"Service": name}, "Action": "kms:*"} for name in admitted]
    found = {"KeyId": KEY, "KeyState": "Enabled", "KeySpec": "SYMMETRIC_DEFAULT", **metadata}
    world.aws.overrides["kms:DescribeKey"] = lambda _: {"KeyMetadata": found}
    world.aws.overrides["kms:GetKeyPolicy"] = lambda _: {"Policy": json.dumps({"Statement": statements})}


def _instances(world: World) -> None:
    client = world.aws.session().client("ec2")
    image = client.register_image(Name="an-image")["ImageId"]
    client.run_instances(ImageId=image, InstanceType="t3.small", MinCount=1, MaxCount=1)


def _log_group(world: World) -> None:
    world.aws.session().client("logs").create_log_group(logGroupName="/mlflow/dev/mlflow")


def _addresses(world: World) -> None:
    client = world.aws.session().client("ec2")
    for _ in range(5):
        client.allocate_address(Domain="vpc")


def _vpcs(world: World) -> None:
    client = world.aws.session().client("ec2")
    for _ in range(4):
        client.create_vpc(CidrBlock="10.9.0.0/16")


def _gateways(world: World) -> None:
    client = world.aws.session().client("ec2")
    for _ in range(5):
        client.create_internet_gateway()


def _nat_gateways(world: World) -> None:
    client = world.aws.session().client("ec2")
    subnet = client.describe_subnets()["Subnets"][0]["SubnetId"]
    for _ in range(5):
        client.create_nat_gateway(SubnetId=subnet, ConnectivityType="private")


CASES: Mapping[str, tuple[Case, ...]] = {
    "aws credentials": (
        Case(
            "dev",
            lambda world: world.aws.errors.update({"sts:GetCallerIdentity": ApiError("ExpiredToken")}),
            "rejects the credentials",
            "log in again",
        ),
    ),
    "aws account": (
        Case("dev", edited(aws__allowedAccountIds='["111122223333"]'), "names the account 111122223333", "AWS_PROFILE"),
        Case(
            "prod",
            lambda world: world.aws.overrides.update(
                {
                    "sts:GetCallerIdentity": lambda _: {
                        "Account": "111122223333",
                        "Arn": "arn:aws:iam::111122223333:user/x",
                    }
                }
            ),
            "certificateArn names the account",
            "AWS_PROFILE",
        ),
    ),
    "aws region": (
        Case("dev", edited(aws__region="eu-west-9"), "no region eu-west-9", "set aws:region"),
        Case(
            "dev",
            lambda world: world.aws.overrides.update(
                {"ec2:DescribeRegions": lambda _: {"Regions": [{"RegionName": REGION, "OptInStatus": "not-opted-in"}]}}
            ),
            "not enabled",
            "enable it",
        ),
    ),
    "aws permissions": (
        Case(
            "dev",
            _deny("*"),
            r"IAM denies acm|IAM denies application-autoscaling:\w+ \(for \w+ mlflow-",
            "deployer-policy",
        ),
    ),
    "aws service-linked roles": (
        Case(
            "dev",
            _deny("iam:CreateServiceLinkedRole"),
            "AWSServiceRoleForECS does not exist",
            "create-service-linked-role",
        ),
    ),
    "aws names": (
        Case("dev", _log_group, "log group /mlflow/dev/mlflow exists", "import"),
        Case(
            "prod",
            lambda world: world.aws.tracking_servers.update({"prod-mlflow-tracking-7a8f1428": "Created"}),
            "tracking server prod-mlflow-tracking",
            "import",
            prepare=certificate,
        ),
    ),
    "aws SageMaker MLflow": (
        Case(
            "dev",
            lambda world: world.aws.errors.update({"sagemaker:ListMlflowApps": ApiError("UnknownOperationException")}),
            "does not offer MLflow apps",
            "tracking.kind: server",
        ),
        Case(
            "prod",
            lambda world: world.aws.errors.update(
                {"sagemaker:ListMlflowTrackingServers": ApiError("ValidationException")}
            ),
            "does not offer tracking servers",
            "tracking.kind: app",
        ),
    ),
    "aws MLflow target": (
        Case(
            "dev",
            lambda world: world.aws.apps.update({APP: "DeleteFailed"}),
            "DeleteFailed",
            "targetArn",
            {"tracking": {"targetArn": APP}},
            prepare=lambda world: world.aws.apps.update({APP: "Created"}),
        ),
        Case(
            "dev",
            lambda world: world.aws.tracking_servers.clear(),
            "there is no arn",
            "targetArn",
            {"tracking": {"targetArn": SERVER}},
            prepare=lambda world: world.aws.tracking_servers.update(shared="Created"),
        ),
        Case(
            "dev",
            lambda world: world.aws.tracking_servers.update(shared="CreateFailed"),
            "CreateFailed",
            "targetArn",
            {"tracking": {"targetArn": SERVER}},
            prepare=lambda world: world.aws.tracking_servers.update(shared="Created"),
        ),
    ),
    "aws quota of vCPUs": (
        Case("prod", _quota("L-1216C47A", 5), "0 are in use, and the stack needs 8 more", "service.minTasks"),
        # 2 x 2 for a rollout, and one t3.small that runs.
        Case(
            "dev",
            _instances,
            "2 are in use, and the stack needs 4 more",
            "Service Quotas",
            prepare=_quota("L-1216C47A", 5),
        ),
    ),
    "aws quota of addresses": (Case("dev", _addresses, "5 are in use", "network.egress"),),
    "aws quota of VPCs": (Case("dev", _vpcs, "5 are in use", "network.vpcId"),),
    "aws quota of internet gateways": (Case("dev", _gateways, "5 are in use", "network.egress"),),
    "aws quota of NAT gateways": (Case("dev", _nat_gateways, "5 are in use", "network.egress"),),
    "aws quota of load balancers": (
        Case("dev", _quota("L-53DA6B97", 0), "0 are in use, and the stack needs 1 more", "Service Quotas"),
    ),
    "aws quota of tracking servers": (
        Case(
            "prod", lambda world: world.aws.sagemaker_quotas.update({"L-TEST0001": 0}), "0 are in use", "tracking.kind"
        ),
    ),
    "aws quota of MLflow apps": (
        Case(
            "dev", lambda world: world.aws.sagemaker_quotas.update({"L-TEST0002": 0}), "0 are in use", "Service Quotas"
        ),
    ),
    "aws KMS key": (
        Case(
            "dev",
            lambda world: world.aws.errors.update({"kms:DescribeKey": ApiError("NotFoundException")}),
            "there is no key",
            "kmsKeyArn",
            {"kmsKeyArn": KEY},
            prepare=kms_key,
        ),
        Case(
            "dev",
            lambda world: kms_key(world, KeyState="PendingDeletion"),
            "PendingDeletion",
            "enable",
            {"kmsKeyArn": KEY},
            prepare=kms_key,
        ),
        Case(
            "dev",
            lambda world: kms_key(world, KeySpec="RSA_2048"),
            "RSA_2048",
            "symmetric",
            {"kmsKeyArn": KEY},
            prepare=kms_key,
        ),
        Case(
            "dev",
            lambda world: kms_key(world, ("arn:aws:iam::123456789012:root",)),
            "does not name logs",
            "use-a-customer-managed-key",
            {"kmsKeyArn": KEY},
            prepare=kms_key,
        ),
    ),
    "aws instance type": (
        Case(
            "dev",
            lambda world: world.aws.overrides.update(
                {
                    "ec2:DescribeInstanceTypeOfferings": lambda _: {
                        "InstanceTypeOfferings": [{"InstanceType": "t4g.small", "Location": f"{REGION}a"}]
                    }
                }
            ),
            "t4g.small is not offered in eu-west-1b",
            "service.instanceType",
        ),
    ),
    "aws image registry": (Case("dev", setting("web", registry_status=401), "HTTP 401", "firewall"),),
    "aws image parameter": (
        Case(
            "dev",
            lambda world: world.aws.errors.update({"ssm:GetParameter": ApiError("ParameterNotFound")}),
            "there is no parameter",
            "service.ami",
        ),
    ),
}
