"""VPC resources. Order of deletion: Amazon VPC's user guide, "Delete your VPC"."""

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...kind import ACCOUNT, REGION, CloudError, CreateRequest, Kind, Name, Problems, Reference, Values, with_id
from ...paths import values_at
from ..common import among, exactly_one, known, matches
from .policies import policy_problems

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

VPC = "aws:ec2/vpc:Vpc"
SUBNET = "aws:ec2/subnet:Subnet"
INTERNET_GATEWAY = "aws:ec2/internetGateway:InternetGateway"
EIP = "aws:ec2/eip:Eip"
NAT_GATEWAY = "aws:ec2/natGateway:NatGateway"
ROUTE_TABLE = "aws:ec2/routeTable:RouteTable"
SECURITY_GROUP = "aws:ec2/securityGroup:SecurityGroup"
DEFAULT_SECURITY_GROUP = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
VPC_ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
RULES = (
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
)
SECURITY_GROUPS = (SECURITY_GROUP, DEFAULT_SECURITY_GROUP)

# CreateSecurityGroup and IpRange in EC2's API reference: only these characters.
_DESCRIPTION = r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}"
_IN_VPC = Reference(path="vpcId", kinds=(VPC,))


def _owner(_making: CreateRequest, _made: str) -> str:
    return ACCOUNT


def _vpc(request: CreateRequest) -> tuple[str, dict[str, object]]:
    resource_id = f"vpc-0{request.hex_digits(16)}"
    return resource_id, {
        "arn": request.arn("ec2", f"vpc/{resource_id}"),
        "ownerId": ACCOUNT,
        "defaultSecurityGroupId": f"sg-0{request.hex_digits(16, 'sg')}",
        "defaultRouteTableId": f"rtb-0{request.hex_digits(16, 'rtb')}",
        "mainRouteTableId": f"rtb-0{request.hex_digits(16, 'rtb')}",
        "defaultNetworkAclId": f"acl-0{request.hex_digits(16, 'acl')}",
    }


def _subnet_fits(resource: "Resource", cloud: "Cloud") -> None:
    own = ipaddress.ip_network(resource.inputs["cidrBlock"])
    vpc = next((vpc for vpc in cloud.of(VPC) if vpc.id == resource.inputs["vpcId"]), None)
    if vpc is not None and not own.subnet_of(ipaddress.ip_network(vpc.inputs["cidrBlock"])):  # type: ignore[arg-type]
        raise CloudError(f"InvalidSubnet.Range: the CIDR {own} is invalid.")
    for other in cloud.of(SUBNET):
        same = other.inputs["vpcId"] == resource.inputs["vpcId"]
        if same and own.overlaps(ipaddress.ip_network(other.inputs["cidrBlock"])):
            raise CloudError(f"InvalidSubnet.Conflict: the CIDR {own} conflicts with {other}.")


def _no_public_address(resource: "Resource", cloud: "Cloud") -> None:
    # A gateway cannot be detached, and so not deleted, while the VPC has mapped public addresses.
    subnets = {subnet.id for subnet in cloud.of(SUBNET) if subnet.inputs["vpcId"] == resource.inputs.get("vpcId")}
    for other in cloud:
        public = other.kind.token == NAT_GATEWAY and other.inputs.get("connectivityType") != "private"
        internet_facing = other.kind.token.endswith(":LoadBalancer") and not other.inputs.get("internal")
        if (public and other.inputs["subnetId"] in subnets) or (
            internet_facing and subnets & set(other.inputs.get("subnets", []))
        ):
            raise CloudError(f"DependencyViolation: the network of {resource} has mapped public addresses: {other}.")


def _gateway_moves(resource: "Resource", cloud: "Cloud") -> None:
    before = next(gateway for gateway in cloud.of(INTERNET_GATEWAY) if gateway.id == resource.id)
    if before.inputs.get("vpcId") != resource.inputs.get("vpcId"):
        _no_public_address(before, cloud)


def vpcs_of(cloud: "Cloud", subnets: Iterable[Any]) -> set[str]:
    """The VPCs of subnets, without subnets that exist outside the stack."""
    ids = set(subnets)
    return {subnet.inputs["vpcId"] for subnet in cloud.of(SUBNET) if subnet.id in ids}


def in_one_vpc(resource: "Resource", cloud: "Cloud", subnets: Iterable[Any], groups: Iterable[Any]) -> None:
    """Require security groups of the subnets' VPC. Raises CloudError."""
    vpcs_of_subnets, group_ids = vpcs_of(cloud, subnets), set(groups)
    found = {group.inputs["vpcId"] for group in cloud.of(SECURITY_GROUP) if group.id in group_ids}
    if len(vpcs_of_subnets | found) > 1:
        raise CloudError(f"InvalidParameterValue: subnets and security groups of {resource} are of different VPCs.")


def _vpc_empty(resource: "Resource", cloud: "Cloud") -> None:
    left = [leftover for leftover in cloud.leftovers if resource.id in leftover]
    if left:
        raise CloudError(f"DependencyViolation: {resource} has dependencies and cannot be deleted: {left[0]}.")


def _group_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "name", rf"(?!sg-){_DESCRIPTION}")
    yield from matches(inputs, "description", _DESCRIPTION)


def _rule_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "description", _DESCRIPTION)
    yield from exactly_one(inputs, "cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")
    if known(inputs, "ipProtocol") != "-1":
        for field in ("fromPort", "toPort"):
            if inputs.get(field) is None:
                yield field, "required for a protocol with ports"


def _rule_is_new(resource: "Resource", cloud: "Cloud") -> None:
    fields = (
        "securityGroupId",
        "ipProtocol",
        "fromPort",
        "toPort",
        "cidrIpv4",
        "prefixListId",
        "referencedSecurityGroupId",
    )
    for other in cloud.of(resource.kind.token):
        if other.id != resource.id and all(other.inputs.get(field) == resource.inputs.get(field) for field in fields):
            raise CloudError(f"InvalidPermission.Duplicate: {other} is the same rule.")


def _default_group(request: CreateRequest) -> tuple[str, dict[str, object]]:
    vpc = request.find(request.inputs["vpcId"], VPC)
    resource_id = vpc.computed["defaultSecurityGroupId"]
    return resource_id, {
        "arn": request.arn("ec2", f"security-group/{resource_id}"),
        "name": "default",
        "ownerId": ACCOUNT,
    }


def _flow_log_problems(inputs: Values) -> Problems:
    yield from exactly_one(inputs, "vpcId", "subnetId", "eniId", "transitGatewayId", "transitGatewayAttachmentId")
    to_s3 = known(inputs, "logDestinationType") == "s3"
    if not to_s3 and not inputs.get("iamRoleArn"):
        yield "iamRoleArn", "required for a flow log to CloudWatch Logs"
    yield from among(inputs, "trafficType", ("ACCEPT", "REJECT", "ALL"))
    yield from among(inputs, "maxAggregationInterval", (60, 600))


def _endpoint_problems(inputs: Values) -> Problems:
    gateway = inputs.get("vpcEndpointType", "Gateway") == "Gateway"
    for field in ("subnetIds", "securityGroupIds", "privateDnsEnabled") if gateway else ("routeTableIds",):
        if inputs.get(field):
            yield field, f"not allowed for an endpoint of type {'Gateway' if gateway else 'Interface'}"
    service = known(inputs, "serviceName")
    if service is not None and not re.match(rf"(com\.amazonaws|aws\.sagemaker)\.{REGION}\.", service):
        yield "serviceName", f"got {service!r}, expected a service of this region"
    yield from policy_problems(inputs, "policy", principal=True)


def _endpoint_fits(resource: "Resource", cloud: "Cloud") -> None:
    vpc = next((vpc for vpc in cloud.of(VPC) if vpc.id == resource.inputs["vpcId"]), None)
    in_one_vpc(
        resource, cloud, values_at(resource.inputs, "subnetIds[*]"), values_at(resource.inputs, "securityGroupIds[*]")
    )
    private = resource.inputs.get("privateDnsEnabled")
    if private and vpc is not None and not vpc.inputs.get("enableDnsHostnames"):
        raise CloudError("InvalidParameter: private DNS needs enableDnsSupport and enableDnsHostnames of the VPC.")
    for other in cloud.of(VPC_ENDPOINT):
        same = all(other.inputs.get(field) == resource.inputs.get(field) for field in ("vpcId", "serviceName"))
        if other.id != resource.id and same and private and other.inputs.get("privateDnsEnabled"):
            raise CloudError(f"InvalidParameter: {other} has the same private DNS name.")
        tables = set(values_at(resource.inputs, "routeTableIds[*]")) & set(values_at(other.inputs, "routeTableIds[*]"))
        if other.id != resource.id and same and tables:
            raise CloudError(f"RouteAlreadyExists: {other} is in the route table {tables.pop()} already.")


def _endpoint(request: CreateRequest) -> tuple[str, dict[str, object]]:
    resource_id = f"vpce-0{request.hex_digits(16)}"
    outputs: dict[str, object] = {
        "arn": request.arn("ec2", f"vpc-endpoint/{resource_id}"),
        "ownerId": ACCOUNT,
        "state": "available",
    }
    if request.inputs.get("vpcEndpointType", "Gateway") == "Gateway":
        return resource_id, {**outputs, "prefixListId": f"pl-{request.hex_digits(8)}"}
    service = str(request.inputs["serviceName"]).rsplit(".", 1)[-1]
    name = f"{resource_id}-{request.hex_digits(8)}.{service}.{REGION}.vpce.amazonaws.com"
    entries = [{"dnsName": name, "hostedZoneId": "Z38GZ743OKFT7T"}]
    interfaces = [
        f"eni-0{request.hex_digits(16, str(index))}" for index, _ in enumerate(request.inputs.get("subnetIds", []))
    ]
    return resource_id, {**outputs, "dnsEntries": entries, "networkInterfaceIds": interfaces}


KINDS = (
    Kind(token=VPC, make=_vpc, on_delete=_vpc_empty),
    Kind(
        token=SUBNET,
        make=with_id(
            "subnet", arn=lambda request, resource_id: request.arn("ec2", f"subnet/{resource_id}"), ownerId=_owner
        ),
        references=(_IN_VPC,),
        on_create=_subnet_fits,
        check=lambda inputs: matches(inputs, "availabilityZone", rf"{REGION}[abc]"),
    ),
    Kind(
        token=INTERNET_GATEWAY,
        make=with_id(
            "igw",
            arn=lambda request, resource_id: request.arn("ec2", f"internet-gateway/{resource_id}"),
            ownerId=_owner,
        ),
        references=(_IN_VPC,),
        unique=(("vpcId",),),
        on_delete=_no_public_address,
        on_update=_gateway_moves,
    ),
    Kind(
        token=EIP,
        make=with_id(
            "eipalloc",
            arn=lambda request, resource_id: request.arn("ec2", f"elastic-ip/{resource_id}"),
            allocationId=lambda _, resource_id: resource_id,
            publicIp=lambda request, _: f"198.51.100.{request.cloud.next_number() % 250 + 1}",
        ),
        check=lambda inputs: among(inputs, "domain", ("vpc",)),
    ),
    Kind(
        token=NAT_GATEWAY,
        make=with_id(
            "nat",
            publicIp=lambda request, _: request.find(request.inputs["allocationId"], EIP).computed["publicIp"],
            privateIp=lambda _making, _made: "10.42.0.9",
            networkInterfaceId=lambda request, _: f"eni-0{request.hex_digits(16)}",
        ),
        references=(Reference(path="subnetId", kinds=(SUBNET,)), Reference(path="allocationId", kinds=(EIP,))),
        unique=(("allocationId",),),
    ),
    Kind(
        token=ROUTE_TABLE,
        make=with_id(
            "rtb", arn=lambda request, resource_id: request.arn("ec2", f"route-table/{resource_id}"), ownerId=_owner
        ),
        references=(_IN_VPC,),
    ),
    Kind(
        token="aws:ec2/route:Route",
        make=lambda request: (
            f"r-{request.inputs['routeTableId']}{request.hex_digits(10)}",
            {"origin": "CreateRoute", "state": "active"},
        ),
        references=(
            Reference(path="routeTableId", kinds=(ROUTE_TABLE,), blocks_delete=False, deleted_with=True),
            Reference(path="gatewayId", kinds=(INTERNET_GATEWAY,), blocks_delete=False),
            Reference(path="natGatewayId", kinds=(NAT_GATEWAY,), blocks_delete=False),
        ),
        unique=(("routeTableId", "destinationCidrBlock"), ("routeTableId", "destinationIpv6CidrBlock")),
        check=lambda inputs: exactly_one(
            inputs, "gatewayId", "natGatewayId", "egressOnlyGatewayId", "vpcEndpointId", "transitGatewayId"
        ),
    ),
    Kind(
        token="aws:ec2/routeTableAssociation:RouteTableAssociation",
        make=with_id("rtbassoc"),
        references=(
            Reference(path="routeTableId", kinds=(ROUTE_TABLE,)),
            Reference(path="subnetId", kinds=(SUBNET,), blocks_delete=False, deleted_with=True),
        ),
        unique=(("subnetId",),),
        check=lambda inputs: exactly_one(inputs, "subnetId", "gatewayId"),
    ),
    Kind(
        token=SECURITY_GROUP,
        name=Name(),
        make=with_id(
            "sg", arn=lambda request, resource_id: request.arn("ec2", f"security-group/{resource_id}"), ownerId=_owner
        ),
        references=(_IN_VPC,),
        unique=(("vpcId", "name"),),
        check=_group_problems,
    ),
    Kind(
        token=DEFAULT_SECURITY_GROUP,
        make=_default_group,
        references=(Reference(path="vpcId", kinds=(VPC,), blocks_delete=False, deleted_with=True),),
    ),
    *(
        Kind(
            token=token,
            make=with_id(
                "sgr",
                arn=lambda request, resource_id: request.arn("ec2", f"security-group-rule/{resource_id}"),
                securityGroupRuleId=lambda _, resource_id: resource_id,
            ),
            references=(
                Reference(path="securityGroupId", kinds=SECURITY_GROUPS, blocks_delete=False, deleted_with=True),
                Reference(path="referencedSecurityGroupId", kinds=SECURITY_GROUPS),
            ),
            check=_rule_problems,
            on_create=_rule_is_new,
            on_update=_rule_is_new,
        )
        for token in RULES
    ),
    Kind(
        token="aws:ec2/flowLog:FlowLog",
        make=with_id("fl", arn=lambda request, resource_id: request.arn("ec2", f"vpc-flow-log/{resource_id}")),
        references=(
            Reference(path="vpcId", kinds=(VPC,), blocks_delete=False, deleted_with=True),
            Reference(path="iamRoleArn", kinds=("aws:iam/role:Role",), by=("arn",), blocks_delete=False),
            Reference(
                path="logDestination",
                kinds=("aws:cloudwatch/logGroup:LogGroup", "aws:s3/bucket:Bucket"),
                by=("arn",),
                blocks_delete=False,
            ),
        ),
        check=_flow_log_problems,
    ),
    Kind(
        token=VPC_ENDPOINT,
        make=_endpoint,
        references=(
            _IN_VPC,
            Reference(path="subnetIds[*]", kinds=(SUBNET,)),
            Reference(path="securityGroupIds[*]", kinds=SECURITY_GROUPS),
            Reference(path="routeTableIds[*]", kinds=(ROUTE_TABLE,), blocks_delete=False),
        ),
        check=_endpoint_problems,
        on_create=_endpoint_fits,
        on_update=_endpoint_fits,
    ),
)
