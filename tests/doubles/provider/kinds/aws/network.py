"""The VPC and what is in it. Order of deletion: Amazon VPC's user guide, "Delete your VPC"."""

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...kind import ACCOUNT, REGION, Kind, Making, Name, Problems, Refers, RefusedError, Values, with_id
from ...paths import values_at
from ..common import among, exactly_one, known, matches
from .policies import policy_problems

if TYPE_CHECKING:
    from ...cloud import Cloud, Thing

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

# CreateSecurityGroup and IpRange in EC2's API reference: these and no other characters.
_DESCRIPTION = r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}"
_IN_VPC = Refers(path="vpcId", kinds=(VPC,))


def _owner(_making: Making, _made: str) -> str:
    return ACCOUNT


def _vpc(making: Making) -> tuple[str, dict[str, object]]:
    made = f"vpc-0{making.hexes(16)}"
    return made, {
        "arn": making.arn("ec2", f"vpc/{made}"),
        "ownerId": ACCOUNT,
        "defaultSecurityGroupId": f"sg-0{making.hexes(16, 'sg')}",
        "defaultRouteTableId": f"rtb-0{making.hexes(16, 'rtb')}",
        "mainRouteTableId": f"rtb-0{making.hexes(16, 'rtb')}",
        "defaultNetworkAclId": f"acl-0{making.hexes(16, 'acl')}",
    }


def _subnet_fits(thing: "Thing", cloud: "Cloud") -> None:
    own = ipaddress.ip_network(thing.inputs["cidrBlock"])
    vpc = next((one for one in cloud.of(VPC) if one.id == thing.inputs["vpcId"]), None)
    if vpc is not None and not own.subnet_of(ipaddress.ip_network(vpc.inputs["cidrBlock"])):  # type: ignore[arg-type]
        raise RefusedError(f"InvalidSubnet.Range: the CIDR {own} is invalid.")
    for other in cloud.of(SUBNET):
        same = other.inputs["vpcId"] == thing.inputs["vpcId"]
        if same and own.overlaps(ipaddress.ip_network(other.inputs["cidrBlock"])):
            raise RefusedError(f"InvalidSubnet.Conflict: the CIDR {own} conflicts with {other}.")


def _no_public_address(thing: "Thing", cloud: "Cloud") -> None:
    # A gateway is detached before it is deleted, and that wants a VPC without mapped public addresses.
    subnets = {one.id for one in cloud.of(SUBNET) if one.inputs["vpcId"] == thing.inputs.get("vpcId")}
    for one in cloud:
        public = one.kind.token == NAT_GATEWAY and one.inputs.get("connectivityType") != "private"
        facing = one.kind.token.endswith(":LoadBalancer") and not one.inputs.get("internal")
        if (public and one.inputs["subnetId"] in subnets) or (facing and subnets & set(one.inputs.get("subnets", []))):
            raise RefusedError(f"DependencyViolation: the network of {thing} has mapped public addresses: {one}.")


def _gateway_moves(thing: "Thing", cloud: "Cloud") -> None:
    before = next(one for one in cloud.of(INTERNET_GATEWAY) if one.id == thing.id)
    if before.inputs.get("vpcId") != thing.inputs.get("vpcId"):
        _no_public_address(before, cloud)


def vpcs_of(cloud: "Cloud", subnets: Iterable[Any]) -> set[str]:
    """The VPCs that subnets are in; those that were there before are in none that the double knows."""
    ids = set(subnets)
    return {one.inputs["vpcId"] for one in cloud.of(SUBNET) if one.id in ids}


def in_one_vpc(thing: "Thing", cloud: "Cloud", subnets: Iterable[Any], groups: Iterable[Any]) -> None:
    """Network interfaces have their security groups in the VPC of their subnets. Raises RefusedError."""
    wanted, asked = vpcs_of(cloud, subnets), set(groups)
    found = {one.inputs["vpcId"] for one in cloud.of(SECURITY_GROUP) if one.id in asked}
    if len(wanted | found) > 1:
        raise RefusedError(f"InvalidParameterValue: subnets and security groups of {thing} are of different VPCs.")


def _vpc_empty(thing: "Thing", cloud: "Cloud") -> None:
    left = [one for one in cloud.left_behind if thing.id in one]
    if left:
        raise RefusedError(f"DependencyViolation: {thing} has dependencies and cannot be deleted: {left[0]}.")


def _group_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "name", rf"(?!sg-){_DESCRIPTION}")
    yield from matches(inputs, "description", _DESCRIPTION)


def _rule_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "description", _DESCRIPTION)
    yield from exactly_one(inputs, "cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")
    if known(inputs, "ipProtocol") != "-1":
        for field in ("fromPort", "toPort"):
            if inputs.get(field) is None:
                yield field, "a protocol with ports needs it"


def _rule_is_new(thing: "Thing", cloud: "Cloud") -> None:
    fields = (
        "securityGroupId",
        "ipProtocol",
        "fromPort",
        "toPort",
        "cidrIpv4",
        "prefixListId",
        "referencedSecurityGroupId",
    )
    for one in cloud.of(thing.kind.token):
        if one.id != thing.id and all(one.inputs.get(field) == thing.inputs.get(field) for field in fields):
            raise RefusedError(f"InvalidPermission.Duplicate: {one} allows the same.")


def _default_group(making: Making) -> tuple[str, dict[str, object]]:
    vpc = making.found(making.inputs["vpcId"], VPC)
    made = vpc.computed["defaultSecurityGroupId"]
    return made, {"arn": making.arn("ec2", f"security-group/{made}"), "name": "default", "ownerId": ACCOUNT}


def _flow_log_problems(inputs: Values) -> Problems:
    yield from exactly_one(inputs, "vpcId", "subnetId", "eniId", "transitGatewayId", "transitGatewayAttachmentId")
    to_s3 = known(inputs, "logDestinationType") == "s3"
    if not to_s3 and not inputs.get("iamRoleArn"):
        yield "iamRoleArn", "a flow log to CloudWatch Logs needs it"
    yield from among(inputs, "trafficType", ("ACCEPT", "REJECT", "ALL"))
    yield from among(inputs, "maxAggregationInterval", (60, 600))


def _endpoint_problems(inputs: Values) -> Problems:
    gateway = inputs.get("vpcEndpointType", "Gateway") == "Gateway"
    for field in ("subnetIds", "securityGroupIds", "privateDnsEnabled") if gateway else ("routeTableIds",):
        if inputs.get(field):
            yield field, f"it does not belong to an endpoint of type {'Gateway' if gateway else 'Interface'}"
    service = known(inputs, "serviceName")
    if service is not None and not re.match(rf"(com\.amazonaws|aws\.sagemaker)\.{REGION}\.", service):
        yield "serviceName", f"{service!r} is no service of this region"
    yield from policy_problems(inputs, "policy", principal=True)


def _endpoint_fits(thing: "Thing", cloud: "Cloud") -> None:
    vpc = next((one for one in cloud.of(VPC) if one.id == thing.inputs["vpcId"]), None)
    in_one_vpc(thing, cloud, values_at(thing.inputs, "subnetIds[*]"), values_at(thing.inputs, "securityGroupIds[*]"))
    private = thing.inputs.get("privateDnsEnabled")
    if private and vpc is not None and not vpc.inputs.get("enableDnsHostnames"):
        raise RefusedError("InvalidParameter: private DNS needs enableDnsSupport and enableDnsHostnames of the VPC.")
    for other in cloud.of(VPC_ENDPOINT):
        same = all(other.inputs.get(field) == thing.inputs.get(field) for field in ("vpcId", "serviceName"))
        if other.id != thing.id and same and private and other.inputs.get("privateDnsEnabled"):
            raise RefusedError(f"InvalidParameter: {other} has the same private DNS name.")
        tables = set(values_at(thing.inputs, "routeTableIds[*]")) & set(values_at(other.inputs, "routeTableIds[*]"))
        if other.id != thing.id and same and tables:
            raise RefusedError(f"RouteAlreadyExists: {other} is in the route table {tables.pop()} already.")


def _endpoint(making: Making) -> tuple[str, dict[str, object]]:
    made = f"vpce-0{making.hexes(16)}"
    outputs: dict[str, object] = {
        "arn": making.arn("ec2", f"vpc-endpoint/{made}"),
        "ownerId": ACCOUNT,
        "state": "available",
    }
    if making.inputs.get("vpcEndpointType", "Gateway") == "Gateway":
        return made, {**outputs, "prefixListId": f"pl-{making.hexes(8)}"}
    service = str(making.inputs["serviceName"]).rsplit(".", 1)[-1]
    name = f"{made}-{making.hexes(8)}.{service}.{REGION}.vpce.amazonaws.com"
    entries = [{"dnsName": name, "hostedZoneId": "Z38GZ743OKFT7T"}]
    interfaces = [f"eni-0{making.hexes(16, str(index))}" for index, _ in enumerate(making.inputs.get("subnetIds", []))]
    return made, {**outputs, "dnsEntries": entries, "networkInterfaceIds": interfaces}


KINDS = (
    Kind(token=VPC, make=_vpc, deleting=_vpc_empty),
    Kind(
        token=SUBNET,
        make=with_id("subnet", arn=lambda making, made: making.arn("ec2", f"subnet/{made}"), ownerId=_owner),
        refers=(_IN_VPC,),
        made=_subnet_fits,
        check=lambda inputs: matches(inputs, "availabilityZone", rf"{REGION}[abc]"),
    ),
    Kind(
        token=INTERNET_GATEWAY,
        make=with_id("igw", arn=lambda making, made: making.arn("ec2", f"internet-gateway/{made}"), ownerId=_owner),
        refers=(_IN_VPC,),
        one_of=(("vpcId",),),
        deleting=_no_public_address,
        changed=_gateway_moves,
    ),
    Kind(
        token=EIP,
        make=with_id(
            "eipalloc",
            arn=lambda making, made: making.arn("ec2", f"elastic-ip/{made}"),
            allocationId=lambda _, made: made,
            publicIp=lambda making, _: f"198.51.100.{making.cloud.ticket() % 250 + 1}",
        ),
        check=lambda inputs: among(inputs, "domain", ("vpc",)),
    ),
    Kind(
        token=NAT_GATEWAY,
        make=with_id(
            "nat",
            publicIp=lambda making, _: making.found(making.inputs["allocationId"], EIP).computed["publicIp"],
            privateIp=lambda _making, _made: "10.42.0.9",
            networkInterfaceId=lambda making, _: f"eni-0{making.hexes(16)}",
        ),
        refers=(Refers(path="subnetId", kinds=(SUBNET,)), Refers(path="allocationId", kinds=(EIP,))),
        one_of=(("allocationId",),),
    ),
    Kind(
        token=ROUTE_TABLE,
        make=with_id("rtb", arn=lambda making, made: making.arn("ec2", f"route-table/{made}"), ownerId=_owner),
        refers=(_IN_VPC,),
    ),
    Kind(
        token="aws:ec2/route:Route",
        make=lambda making: (
            f"r-{making.inputs['routeTableId']}{making.hexes(10)}",
            {"origin": "CreateRoute", "state": "active"},
        ),
        refers=(
            Refers(path="routeTableId", kinds=(ROUTE_TABLE,), holds=False, within=True),
            Refers(path="gatewayId", kinds=(INTERNET_GATEWAY,), holds=False),
            Refers(path="natGatewayId", kinds=(NAT_GATEWAY,), holds=False),
        ),
        one_of=(("routeTableId", "destinationCidrBlock"), ("routeTableId", "destinationIpv6CidrBlock")),
        check=lambda inputs: exactly_one(
            inputs, "gatewayId", "natGatewayId", "egressOnlyGatewayId", "vpcEndpointId", "transitGatewayId"
        ),
    ),
    Kind(
        token="aws:ec2/routeTableAssociation:RouteTableAssociation",
        make=with_id("rtbassoc"),
        refers=(
            Refers(path="routeTableId", kinds=(ROUTE_TABLE,)),
            Refers(path="subnetId", kinds=(SUBNET,), holds=False, within=True),
        ),
        one_of=(("subnetId",),),
        check=lambda inputs: exactly_one(inputs, "subnetId", "gatewayId"),
    ),
    Kind(
        token=SECURITY_GROUP,
        name=Name(),
        make=with_id("sg", arn=lambda making, made: making.arn("ec2", f"security-group/{made}"), ownerId=_owner),
        refers=(_IN_VPC,),
        one_of=(("vpcId", "name"),),
        check=_group_problems,
    ),
    Kind(
        token=DEFAULT_SECURITY_GROUP,
        make=_default_group,
        refers=(Refers(path="vpcId", kinds=(VPC,), holds=False, within=True),),
    ),
    *(
        Kind(
            token=token,
            make=with_id(
                "sgr",
                arn=lambda making, made: making.arn("ec2", f"security-group-rule/{made}"),
                securityGroupRuleId=lambda _, made: made,
            ),
            refers=(
                Refers(path="securityGroupId", kinds=SECURITY_GROUPS, holds=False, within=True),
                Refers(path="referencedSecurityGroupId", kinds=SECURITY_GROUPS),
            ),
            check=_rule_problems,
            made=_rule_is_new,
            changed=_rule_is_new,
        )
        for token in RULES
    ),
    Kind(
        token="aws:ec2/flowLog:FlowLog",
        make=with_id("fl", arn=lambda making, made: making.arn("ec2", f"vpc-flow-log/{made}")),
        refers=(
            Refers(path="vpcId", kinds=(VPC,), holds=False, within=True),
            Refers(path="iamRoleArn", kinds=("aws:iam/role:Role",), by=("arn",), holds=False),
            Refers(
                path="logDestination",
                kinds=("aws:cloudwatch/logGroup:LogGroup", "aws:s3/bucket:Bucket"),
                by=("arn",),
                holds=False,
            ),
        ),
        check=_flow_log_problems,
    ),
    Kind(
        token=VPC_ENDPOINT,
        make=_endpoint,
        refers=(
            _IN_VPC,
            Refers(path="subnetIds[*]", kinds=(SUBNET,)),
            Refers(path="securityGroupIds[*]", kinds=SECURITY_GROUPS),
            Refers(path="routeTableIds[*]", kinds=(ROUTE_TABLE,), holds=False),
        ),
        check=_endpoint_problems,
        made=_endpoint_fits,
        changed=_endpoint_fits,
    ),
)
