"""Builders of the IAM requests in the other modules of this folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Replaced by the values of the account for which the requests are made.
PARTITION, ACCOUNT, REGION = "{partition}", "{account}", "{region}"
SUFFIX = "0a1b2c3"
ID = "0123456789abcdef"
LOAD_BALANCER = f"loadbalancer/app/{{balancer}}/{ID}"
LISTENER = f"listener/app/{{balancer}}/{ID}/{ID}"
TAG_ACTIONS = "TagResource UntagResource ListTagsForResource"
EC2_TAG_ACTIONS = "CreateTags DeleteTags"
RULE_ACTIONS = "DescribeSecurityGroupRules DescribeSecurityGroups"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Requests for several actions on one resource, with the request's condition keys in ``context``.

    ``resource`` and ``context`` may contain {partition}, {account}, {region}, {name}, {balancer}, {cluster}, {type} and
    {parameter}. ``tagged``: the
    resource has the program's tags at that time.
    """

    actions: tuple[str, ...]
    resource: str
    tagged: bool = False
    context: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict[str, "str | tuple[str, ...]"])


def on_resource(service: str, resource: str, actions: str, **context: str | tuple[str, ...]) -> Row:
    """Requests on one resource of this account and region; ``context`` with __ in place of a colon."""
    region = "" if service in ("iam", "route53", "s3") or resource.startswith("dashboard/") else REGION
    account = "" if service in ("route53", "s3") else ACCOUNT
    return Row(
        actions=tuple(f"{service}:{action}" for action in actions.split()),
        resource=f"arn:{PARTITION}:{service}:{region}:{account}:{resource}",
        context={key.replace("__", ":"): value for key, value in context.items()},
    )


def without_resource(service: str, actions: str) -> Row:
    """Requests without a resource."""
    return Row(actions=tuple(f"{service}:{action}" for action in actions.split()), resource="*")


def ec2(kind: str, *, create: str = "", change: str = "", read: str) -> tuple[Row, ...]:
    """Requests on an EC2 resource: the first of ``create`` sets the tags too, ``change`` needs a tagged resource."""
    arn = f"arn:{PARTITION}:ec2:{REGION}:{ACCOUNT}:{kind}/{ID}"
    create_actions = tuple(f"ec2:{action}" for action in create.split())
    change_actions = tuple(f"ec2:{action}" for action in change.split())
    return (
        Row(actions=create_actions, resource=arn),
        *(
            Row(actions=("ec2:CreateTags",), resource=arn, context={"ec2:CreateAction": action})
            for action in create.split()[:1]
        ),
        Row(actions=change_actions, resource=arn, tagged=True),
        without_resource("ec2", read),
    )


def pass_role(service: str) -> Row:
    """Pass a role to a service."""
    return on_resource("iam", f"role/mlflow-any-{SUFFIX}", "PassRole", iam__PassedToService=service)


def create_linked_role(service: str) -> Row:
    """Create the service-linked role of a service."""
    role = f"role/aws-service-role/{service}/AWSServiceRoleForIt"
    return on_resource("iam", role, "CreateServiceLinkedRole", iam__AWSServiceName=service)


def use_key(service: str, actions: str) -> Row:
    """Requests on a customer key that a service makes with the deployer's permissions."""
    return on_resource("kms", f"key/{ID}", actions, kms__ViaService=f"{service}.{REGION}.amazonaws.com")
