"""The permissions of the deployer, simulated by IAM, and service-linked roles."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from ..model import Fault, check
from ..runner import in_parallel
from ..subject import Subject
from .account import AWS, principal_arn, root
from .api import error_code
from .provider_calls.graph_requests import Request, iam_requests

_SHOWN = 12
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_aws-services-that-work-with-iam.html
_LINKED_ROLES = {
    "autoscaling.amazonaws.com": "AWSServiceRoleForAutoScaling",
    "ecs.amazonaws.com": "AWSServiceRoleForECS",
    "ecs.application-autoscaling.amazonaws.com": "AWSServiceRoleForApplicationAutoScaling_ECSService",
    "elasticloadbalancing.amazonaws.com": "AWSServiceRoleForElasticLoadBalancing",
    "sagemaker.amazonaws.com": "AWSServiceRoleForAmazonSageMakerNotebooks",
    "wafv2.amazonaws.com": "AWSServiceRoleForWAFV2Logging",
}
_POLICIES = "attach the policies docs/deployer-policy*.json (docs/aws.md#permissions-of-the-deployer)"


def _requests(subject: Subject) -> Mapping[Request, str]:
    aws = subject.aws
    return iam_requests(subject.graph, account=aws.account, region=aws.region, partition=aws.partition)


@check("aws permissions", types=AWS, concerns="every AWS stack")
def permissions(subject: Subject) -> str | list[Fault]:
    """IAM's policy simulator allows every request from the first `up` to `destroy`. Resource policies are not
    simulated."""
    needed = {request: what for request, what in _requests(subject).items() if _service_role(request) is None}
    denied = _denied(subject, needed)
    if not denied:
        return "every request is allowed"
    by_action: dict[str, str] = {}
    for request in denied:
        by_action.setdefault(request.action, needed[request])
    shown = [f"{action} (for {what})" for action, what in sorted(by_action.items())][:_SHOWN]
    rest = f" and {len(by_action) - _SHOWN} more" if len(by_action) > _SHOWN else ""
    return [Fault(f"IAM denies {', '.join(shown)}{rest}", _POLICIES)]


@check("aws service-linked roles", types=AWS, concerns="every AWS stack")
def service_linked_roles(subject: Subject) -> str | list[Fault]:
    """The service-linked roles of the stack's services exist, or the deployer may create them."""
    needed = {service: request for request in _requests(subject) if (service := _service_role(request)) is not None}
    absent = [service for service in sorted(needed) if not _exists(subject, _LINKED_ROLES[service])]
    denied = {request.action: request for request in _denied(subject, [needed[service] for service in absent])}
    if denied:
        return [
            Fault(
                f"the service-linked role {_LINKED_ROLES[service]} does not exist, and IAM denies creating it",
                f"an administrator runs `aws iam create-service-linked-role --aws-service-name {service}`",
            )
            for service in absent
        ]
    return f"{len(needed) - len(absent)} exist" + (f", {len(absent)} will be created" if absent else "")


def _service_role(request: Request) -> str | None:
    return str(dict(request.context)["iam:AWSServiceName"]) if request.action == "iam:CreateServiceLinkedRole" else None


def _exists(subject: Subject, role: str) -> bool:
    try:
        subject.aws.call("iam", "get_role", RoleName=role)
    except ClientError as error:
        if error_code(error) == "NoSuchEntity":
            return False
        raise
    return True


def _denied(subject: Subject, requests: Iterable[Request]) -> list[Request]:
    """The requests that IAM's policy simulator does not allow, with one call for each resource and context."""
    groups: dict[tuple[str, Any], list[Request]] = defaultdict(list)
    for request in requests:
        groups[request.resource, request.context].append(request)
    if not groups or root(str(subject.aws.identity()["Arn"])):
        return []
    principal = principal_arn(subject)

    def simulate(group: list[Request]) -> list[Request]:
        context = [
            {
                "ContextKeyName": key,
                "ContextKeyValues": [value] if isinstance(value, str) else list(value),
                "ContextKeyType": "string" if isinstance(value, str) else "stringList",
            }
            for key, value in (*group[0].context, ("aws:RequestedRegion", subject.aws.region))
        ]
        results = subject.aws.call(
            "iam",
            "simulate_principal_policy",
            PolicySourceArn=principal,
            ActionNames=[request.action for request in group],
            ResourceArns=[group[0].resource],
            ContextEntries=context,
        )["EvaluationResults"]
        allowed = {str(found["EvalActionName"]).lower() for found in results if found["EvalDecision"] == "allowed"}
        return [request for request in group if request.action.lower() not in allowed]

    return [request for denied in in_parallel(simulate, groups.values()) for request in denied]
