"""An existing VPC, and what AWS offers in its availability zones."""

from typing import Any

from botocore.exceptions import ClientError

from preview.graph import as_list

from ..model import Fault, check
from ..subject import Subject
from .account import zones
from .api import error_code

_BALANCER = "aws:lb/loadBalancer:LoadBalancer"
_SERVICE = "aws:ec2/getVpcEndpointService:getVpcEndpointService"
_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#subnets-load-balancer
_BALANCER_ADDRESSES = 8


def _existing(subject: Subject) -> bool:
    return isinstance(subject.setting("aws.network.vpcId"), str)


def _subnets(subject: Subject) -> dict[str, str]:
    """Setting by ID of each subnet of the existing VPC."""
    return {
        str(subnet): f"network.{name}"
        for name in ("privateSubnetIds", "publicSubnetIds")
        for subnet in as_list(subject.setting(f"aws.network.{name}"))
    }


@check("aws existing VPC", types=(_BALANCER,), when=_existing, concerns="`network.vpcId`")
def existing_vpc(subject: Subject) -> str | list[Fault]:
    """The VPC exists, has the range of `network.vpcCidr`, and resolves the names of VPC endpoints."""
    vpc_id = str(subject.setting("aws.network.vpcId"))
    try:
        vpc = subject.aws.call("ec2", "describe_vpcs", VpcIds=[vpc_id])["Vpcs"][0]
    except ClientError as error:
        if error_code(error) != "InvalidVpcID.NotFound":
            raise
        return [Fault(f"there is no VPC {vpc_id} in {subject.aws.region}", "set network.vpcId to a VPC of the region")]
    faults: list[Fault] = []
    ranges = [str(one["CidrBlock"]) for one in vpc.get("CidrBlockAssociationSet", [])] or [str(vpc["CidrBlock"])]
    if subject.setting("aws.network.vpcCidr") not in ranges:
        faults.append(
            Fault(
                f"the VPC's range is {', '.join(ranges)}, not {subject.setting('aws.network.vpcCidr')}",
                "set network.vpcCidr to the VPC's range",
            )
        )
    if subject.setting("aws.network.egress") == "endpoints" or subject.created("aws:ec2/vpcEndpoint:VpcEndpoint"):
        for attribute, key in (("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames")):
            found = subject.aws.call("ec2", "describe_vpc_attribute", VpcId=vpc_id, Attribute=attribute)
            if not found[key]["Value"]:
                faults.append(
                    Fault(
                        f"{attribute} is off in the VPC, and the private DNS names of VPC endpoints need it",
                        f"run `aws ec2 modify-vpc-attribute --vpc-id {vpc_id} --{_kebab(attribute)} Value=true`",
                    )
                )
    return faults or vpc_id


def _kebab(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)


@check("aws subnets", types=(_BALANCER,), when=_existing, concerns="`network.vpcId`")
def subnets(subject: Subject) -> str | list[Fault]:
    """The existing subnets are in the VPC, in different availability zones, and have free addresses."""
    settings, vpc_id = _subnets(subject), subject.setting("aws.network.vpcId")
    try:
        found = subject.aws.call("ec2", "describe_subnets", SubnetIds=list(settings))["Subnets"]
    except ClientError as error:
        if error_code(error) != "InvalidSubnetID.NotFound":
            raise
        return [Fault(str(error), "correct the subnet IDs")]
    faults: list[Fault] = []
    by_zone: dict[tuple[str, str], str] = {}
    for subnet in sorted(found, key=lambda one: list(settings).index(str(one["SubnetId"]))):
        name, zone = str(subnet["SubnetId"]), str(subnet["AvailabilityZone"])
        setting = settings[name]
        if subnet["VpcId"] != vpc_id:
            faults.append(Fault(f"{name} is in {subnet['VpcId']}, not in {vpc_id}", f"correct {setting}"))
        other = by_zone.setdefault((setting, zone), name)
        if other != name:
            faults.append(
                Fault(f"{other} and {name} are both in {zone}", f"choose one subnet per availability zone in {setting}")
            )
        needed = _BALANCER_ADDRESSES + (_instances(subject) if setting.endswith("privateSubnetIds") else 0)
        if subnet["AvailableIpAddressCount"] < needed:
            faults.append(
                Fault(
                    f"{name} has {subnet['AvailableIpAddressCount']} free addresses, {needed} are needed",
                    f"choose a larger subnet in {setting}",
                )
            )
    return faults or ", ".join(settings)


def _instances(subject: Subject) -> int:
    return max((int(group.inputs["maxSize"]) for group in subject.created("aws:autoscaling/group:Group")), default=0)


@check("aws routes", types=(_BALANCER,), when=_existing, concerns="`network.vpcId`")
def routes(subject: Subject) -> str | list[Fault]:
    """Private subnets have a default route unless `network.egress` is endpoints; public ones to an internet gateway."""
    tables = subject.aws.call(
        "ec2",
        "describe_route_tables",
        Filters=[{"Name": "vpc-id", "Values": [str(subject.setting("aws.network.vpcId"))]}],
    )["RouteTables"]
    production = subject.setting("aws.environment") == "production"
    egress = subject.setting("aws.network.egress") or ("endpoints" if production else "nat")
    faults: list[Fault] = []
    for subnet, setting in _subnets(subject).items():
        route = _default_route(tables, subnet)
        public = setting.endswith("publicSubnetIds")
        if public and not str((route or {}).get("GatewayId", "")).startswith("igw-"):
            faults.append(
                Fault(f"{subnet} ({setting}) has no default route to an internet gateway", "choose a public subnet")
            )
        if not public and egress != "endpoints" and route is None:
            faults.append(
                Fault(
                    f"{subnet} ({setting}) has no default route, and network.egress is {egress}",
                    "add a route to a NAT or transit gateway, or set network.egress to endpoints",
                )
            )
    return faults or f"of {len(_subnets(subject))} subnets"


def _default_route(tables: list[dict[str, Any]], subnet: str) -> dict[str, Any] | None:
    """The active default route of a subnet: of its own table, otherwise of the VPC's main table."""
    own = [table for table in tables if any(one.get("SubnetId") == subnet for one in table.get("Associations", []))]
    main = [table for table in tables if any(one.get("Main") for one in table.get("Associations", []))]
    for table in own or main:
        for route in table.get("Routes", []):
            if route.get("DestinationCidrBlock") == "0.0.0.0/0" and route.get("State") == "active":
                return route
    return None


def _zones(subject: Subject) -> list[str]:
    """The zones of the instances: those of the existing private subnets, or of the new VPC."""
    if not _existing(subject):
        return zones(subject)
    private = [subnet for subnet, setting in _subnets(subject).items() if setting.endswith("privateSubnetIds")]
    found = subject.aws.call("ec2", "describe_subnets", SubnetIds=private)["Subnets"]
    return sorted(str(subnet["AvailabilityZone"]) for subnet in found)


@check("aws endpoint services", types=(_SERVICE,))
def endpoint_services(subject: Subject) -> str | list[Fault]:
    """Each VPC endpoint's service is offered in an availability zone of the instances."""
    region = subject.aws.region
    mocked = str(subject.calls("aws:index/getRegion:getRegion")[0].result["region"])
    names = [str(call.args["serviceName"]) for call in subject.calls(_SERVICE)]
    wanted = {name.replace(f".{mocked}.", f".{region}.") for name in names}
    offered = {
        str(detail["ServiceName"]): set(map(str, detail["AvailabilityZones"]))
        for detail in subject.aws.call("ec2", "describe_vpc_endpoint_services")["ServiceDetails"]
    }
    here = _zones(subject)
    faults = [
        Fault(
            f"{name} is not offered in {', '.join(here) if name in offered else region}",
            "use subnets in other availability zones, or set network.egress to nat"
            + (", or network.mlflowEndpointService" if name.startswith("aws.sagemaker.") else ""),
        )
        for name in sorted(wanted)
        if not offered.get(name, set()) & set(here)
    ]
    return faults or f"{len(wanted)} services in {', '.join(here)}"


@check("aws instance type", types=(_TEMPLATE,))
def instance_type(subject: Subject) -> str | list[Fault]:
    """The instance type is offered in each availability zone of the instances."""
    here = _zones(subject)
    faults: list[Fault] = []
    for template in subject.created(_TEMPLATE):
        kind = str(template.inputs["instanceType"])
        found = subject.aws.call(
            "ec2",
            "describe_instance_type_offerings",
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": [kind]}],
        )["InstanceTypeOfferings"]
        absent = sorted(set(here) - {str(offer["Location"]) for offer in found})
        if absent:
            faults.append(
                Fault(f"{kind} is not offered in {', '.join(absent)}", "set service.instanceType to another type")
            )
    return faults or f"in {', '.join(here)}"
