"""SageMaker MLflow, the KMS key, names that are taken, the image's registry and the AMI."""

import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from preview.graph import as_list, strings_in

from ..errors import Unchecked
from ..model import Fault, check
from ..subject import Subject
from .api import error_code

_SERVER = "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer"
_APP = "aws:sagemaker/mlflowApp:MlflowApp"
_LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
_PARAMETER = "aws:ssm/getParameter:getParameter"


@check("aws SageMaker MLflow", types=(_SERVER, _APP))
def sagemaker_mlflow(subject: Subject) -> str | list[Fault]:
    """SageMaker offers its MLflow apps or tracking servers in the region."""
    app = bool(subject.created(_APP))
    operation, kind = (
        ("list_mlflow_apps", "MLflow apps") if app else ("list_mlflow_tracking_servers", "tracking servers")
    )
    try:
        subject.aws.call("sagemaker", operation)
    except ClientError as error:
        if error_code(error) not in ("UnknownOperationException", "ValidationException", "InvalidAction"):
            raise
        other = "tracking.kind: server" if app else "tracking.kind: app"
        return [
            Fault(
                f"SageMaker does not offer {kind} in {subject.aws.region} ({error_code(error)})",
                f"set aws:region to another region, or {other}",
            )
        ]
    return f"{kind} in {subject.aws.region}"


@check(
    "aws MLflow target",
    types=("aws:ecs/service:Service",),
    when=lambda subject: subject.setting("aws.tracking.targetArn") is not None,
    concerns="`tracking.targetArn`",
)
def mlflow_target(subject: Subject) -> str | list[Fault]:
    """The existing app or tracking server exists and is ready."""
    arn = str(subject.setting("aws.tracking.targetArn"))
    kind, _, name = arn.split(":")[5].partition("/")
    if arn.split(":")[4] != subject.aws.account:
        raise Unchecked(f"{arn} is in another account")
    try:
        if kind == "mlflow-app":
            status = subject.aws.call("sagemaker", "describe_mlflow_app", Arn=arn)["Status"]
        else:
            status = subject.aws.call("sagemaker", "describe_mlflow_tracking_server", TrackingServerName=name)[
                "TrackingServerStatus"
            ]
    except ClientError as error:
        if error_code(error) not in ("ResourceNotFound", "ResourceNotFoundException"):
            raise
        return [Fault(f"there is no {arn}", "correct tracking.targetArn")]
    if str(status).endswith("Failed") or status in ("Deleting", "Deleted", "Stopped", "Stopping"):
        return [Fault(f"the status of {name} is {status}", "start or replace it, or correct tracking.targetArn")]
    return f"{name} is {status}"


@check(
    "aws KMS key",
    types=("aws:*",),
    when=lambda subject: subject.setting("aws.kmsKeyArn") is not None,
    concerns="`kmsKeyArn`",
)
def kms_key(subject: Subject) -> str | list[Fault]:
    """The customer managed key is enabled and symmetric, and its policy admits CloudWatch Logs, Auto Scaling and the
    other services that use it under their own name."""
    arn = str(subject.setting("aws.kmsKeyArn"))
    try:
        key = subject.aws.call("kms", "describe_key", KeyId=arn)["KeyMetadata"]
    except ClientError as error:
        if error_code(error) != "NotFoundException":
            raise
        return [Fault(f"there is no key {arn}", "correct kmsKeyArn")]
    faults: list[Fault] = []
    if key["KeyState"] != "Enabled":
        faults.append(Fault(f"the key's state is {key['KeyState']}", "enable the key, or choose another one"))
    if key.get("KeySpec", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
        faults.append(Fault(f"the key's spec is {key['KeySpec']}", "choose a symmetric encryption key"))
    policy = json.loads(subject.aws.call("kms", "get_key_policy", KeyId=arn, PolicyName="default")["Policy"])
    principals = _principals(policy)
    for principal, what in _key_users(subject).items():
        if not any(principal in found for found in principals) and "*" not in principals:
            faults.append(
                Fault(
                    f"the key's policy does not name {principal} ({what})",
                    "add it to the key's policy (docs/aws.md#use-a-customer-managed-key)",
                )
            )
    return faults or arn


def _key_users(subject: Subject) -> dict[str, str]:
    """Principals that use the key without a grant of the account's IAM policies, with the resource that needs them."""
    users: dict[str, str] = {}
    if any(group.inputs.get("kmsKeyId") for group in subject.created(_LOG_GROUP)):
        users[f"logs.{subject.aws.region}.amazonaws.com"] = "log groups"
    if subject.created("aws:autoscaling/group:Group"):
        users["AWSServiceRoleForAutoScaling"] = "volumes of the instances"
    if any(topic.inputs.get("kmsMasterKeyId") for topic in subject.created("aws:sns/topic:Topic")):
        users["cloudwatch.amazonaws.com"] = "alarms"
    return users


def _principals(policy: Any) -> set[str]:
    """The principals of the statements that allow; a role named in a condition counts as well."""
    statements = [one for one in as_list(policy.get("Statement")) if one.get("Effect") == "Allow"]
    return {text for one in statements for part in ("Principal", "Condition") for text in strings_in(one.get(part))}


@check("aws names", types=(_LOG_GROUP, _SERVER))
def names(subject: Subject) -> str | list[Fault]:
    """The names that the stack chooses itself (log groups, tracking server) are free, or in its state."""
    faults: list[Fault] = []
    for group in subject.created(_LOG_GROUP):
        if group.inputs.get("name"):
            name = str(group.inputs["name"])
            found = subject.aws.call("logs", "describe_log_groups", logGroupNamePrefix=name)["logGroups"]
            taken = any(one["logGroupName"] == name for one in found)
            faults += _taken(subject, group.urn, f"log group {name}", taken=taken)
    for server in subject.created(_SERVER):
        name = str(server.inputs["trackingServerName"])
        taken = _found(
            lambda name=name: subject.aws.call("sagemaker", "describe_mlflow_tracking_server", TrackingServerName=name)
        )
        faults += _taken(subject, server.urn, f"tracking server {name}", taken=taken)
    return faults or "free, or of this stack"


def _found(look_up: Callable[[], object]) -> bool:
    try:
        look_up()
    except ClientError as error:
        if error_code(error) in ("ResourceNotFound", "ResourceNotFoundException"):
            return False
        raise
    return True


def _taken(subject: Subject, urn: str, what: str, *, taken: bool) -> list[Fault]:
    if not taken or urn in subject.state.urns():
        return []
    return [Fault(f"the {what} exists, and is not in the stack's state", "delete it, or import it (`pulumi import`)")]


@check("aws image registry", types=("aws:ecr/getAuthorizationToken:getAuthorizationToken",))
def image_registry(subject: Subject) -> str | list[Fault]:
    """Amazon ECR issues the token with which the image is pushed, and accepts it from this machine."""
    data = subject.aws.call("ecr", "get_authorization_token")["authorizationData"][0]
    endpoint = str(data["proxyEndpoint"])
    # https://distribution.github.io/distribution/spec/api/#api-version-check
    response = subject.fetch(f"{endpoint}/v2/", headers={"Authorization": f"Basic {data['authorizationToken']}"})
    if response.status_code != 200:
        return [
            Fault(
                f"{endpoint} answers HTTP {response.status_code} to its own token",
                "look for a proxy or firewall between this machine and the registry",
            )
        ]
    return endpoint


@check("aws image parameter", types=(_PARAMETER,))
def image_parameter(subject: Subject) -> str | list[Fault]:
    """The SSM parameter with the ID of the ECS-optimized AMI exists in the region."""
    found: list[str] = []
    for call in subject.calls(_PARAMETER):
        name = str(call.args["name"])
        try:
            found.append(str(subject.aws.call("ssm", "get_parameter", Name=name)["Parameter"]["Value"]))
        except ClientError as error:
            if error_code(error) != "ParameterNotFound":
                raise
            return [Fault(f"there is no parameter {name} in {subject.aws.region}", "set service.ami to an AMI ID")]
    return ", ".join(found)
