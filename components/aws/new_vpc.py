"""A new VPC with private subnets and, if needed, public subnets with an internet gateway and NAT gateways."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from .deployment import Deployment
from .identity import flow_log_statements, service_role
from .network_settings import NetworkSettings

_MOST_ZONES = 4
_ANYWHERE = "0.0.0.0/0"
# This zone of us-east-1 has no t3 and t4g instances (RedHatGov/redhatgov.workshops#113).
_EXCLUDED_ZONE_IDS = ["use1-az3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Internet:
    """Public subnets and their NAT gateways."""

    subnets: Sequence[aws.ec2.Subnet] = ()
    nats: Sequence[aws.ec2.NatGateway] = ()


class NewVpc:
    """Resources are children of ``parent``. No IPv6, and no automatic public IP addresses."""

    def __init__(self, deployment: Deployment, args: NetworkSettings, *, public: bool, parent: pulumi.Resource) -> None:
        self._deployment = deployment
        self._args = args
        self._parent = parent
        self._inside = pulumi.ResourceOptions(parent=parent)
        self._vpc = aws.ec2.Vpc(
            deployment.logical_name("vpc"),
            cidr_block=args.cidr,
            # Private DNS of endpoints requires both.
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=deployment.tags_for("vpc"),
            opts=self._inside,
        )
        self._close_default_group()
        self._log_flows()
        private_ranges, public_ranges = ranges(args.cidr)
        zones = self._zones()
        nats = {"nat": 1, "nat-per-az": args.az_count, "endpoints": 0}[args.egress]
        fronts = zones if public else zones[:nats]
        internet = self._internet(fronts, public_ranges, nats=nats) if fronts else Internet()
        private = [
            self._subnet(f"private-{number}", zone, cidr)
            for number, (zone, cidr) in enumerate(zip(zones, private_ranges, strict=False), start=1)
        ]
        self.id = self._vpc.id
        self.cidr = self._vpc.cidr_block
        self.private_subnet_ids = [subnet.id for subnet in private]
        self.private_zones = [subnet.availability_zone for subnet in private]
        self.public_subnet_ids = [subnet.id for subnet in internet.subnets]
        self.private_route_table_ids = [
            self._private_table(number, subnet, internet.nats) for number, subnet in enumerate(private, start=1)
        ]

    def _close_default_group(self) -> None:
        # By default, it allows all traffic between its members and all outbound traffic.
        aws.ec2.DefaultSecurityGroup(
            self._deployment.logical_name("default"),
            vpc_id=self._vpc.id,
            ingress=[],
            egress=[],
            tags=self._deployment.tags_for("default"),
            opts=self._inside,
        )

    def _log_flows(self) -> None:
        deployment = self._deployment
        group = aws.cloudwatch.LogGroup(
            deployment.logical_name("flow-log"),
            retention_in_days=self._args.flow_log_retention_days,
            kms_key_id=deployment.kms_key_arn,
            tags=deployment.tags_for("flow-log"),
            opts=self._inside,
        )
        statements = flow_log_statements(group.arn)
        role = service_role(deployment, "flow-log", "vpc-flow-logs.amazonaws.com", statements, parent=self._parent)
        aws.ec2.FlowLog(
            deployment.logical_name("flow-log"),
            vpc_id=self._vpc.id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            tags=deployment.tags_for("flow-log"),
            opts=self._inside,
        )

    def _zones(self) -> list[pulumi.Output[str]]:
        """Names of the region's first availability zones when the subnets are created."""
        found = aws.get_availability_zones_output(
            state="available",
            exclude_zone_ids=_EXCLUDED_ZONE_IDS,
            filters=[
                # No local and wavelength zones, which lack load balancers, NAT gateways and endpoints.
                aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"]),
                aws.GetAvailabilityZonesFilterArgs(name="zone-type", values=["availability-zone"]),
            ],
            opts=pulumi.InvokeOptions(parent=self._parent),
        )
        wanted = self._args.az_count

        def pick(names: Sequence[str], index: int) -> str:
            if index >= len(names):
                raise pulumi.RunError(
                    f"network.azCount: got {wanted}, expected at most {len(names)} in this region: {', '.join(names)}."
                )
            return names[index]

        return [found.names.apply(lambda names, index=index: pick(names, index)) for index in range(wanted)]

    def _subnet(
        self, role: str, zone: pulumi.Input[str], cidr: str, after: Sequence[pulumi.Resource] = ()
    ) -> aws.ec2.Subnet:
        return aws.ec2.Subnet(
            self._deployment.logical_name(role),
            vpc_id=self._vpc.id,
            cidr_block=cidr,
            availability_zone=zone,
            map_public_ip_on_launch=False,
            tags=self._deployment.tags_for(role),
            # The zone is set at creation. AWS's list of zones changes over time, and would otherwise replace the
            # subnets with everything in them.
            opts=pulumi.ResourceOptions(
                parent=self._parent, ignore_changes=["availability_zone"], depends_on=list(after)
            ),
        )

    def _internet(self, zones: Sequence[pulumi.Output[str]], cidrs: Sequence[str], *, nats: int) -> Internet:
        deployment = self._deployment
        gateway = aws.ec2.InternetGateway(
            deployment.logical_name("internet"),
            vpc_id=self._vpc.id,
            tags=deployment.tags_for("internet"),
            opts=self._inside,
        )
        table = aws.ec2.RouteTable(
            deployment.logical_name("public"),
            vpc_id=self._vpc.id,
            tags=deployment.tags_for("public"),
            opts=self._inside,
        )
        route = aws.ec2.Route(
            deployment.logical_name("public"),
            route_table_id=table.id,
            destination_cidr_block=_ANYWHERE,
            gateway_id=gateway.id,
            opts=self._inside,
        )
        subnets: list[aws.ec2.Subnet] = []
        made: list[aws.ec2.NatGateway] = []
        for number, (zone, cidr) in enumerate(zip(zones, cidrs, strict=False), start=1):
            # After the internet gateway: a public load balancer requires one, and it cannot be detached while the load
            # balancer has public addresses. Load balancers depend on their subnets only.
            subnet = self._subnet(f"public-{number}", zone, cidr, after=[gateway])
            association = aws.ec2.RouteTableAssociation(
                deployment.logical_name(f"public-{number}"),
                subnet_id=subnet.id,
                route_table_id=table.id,
                opts=self._inside,
            )
            subnets.append(subnet)
            if number <= nats:
                made.append(self._nat(number, subnet, after=[gateway, route, association]))
        return Internet(subnets=subnets, nats=made)

    def _nat(self, number: int, subnet: aws.ec2.Subnet, after: Sequence[pulumi.Resource]) -> aws.ec2.NatGateway:
        role = f"nat-{number}"
        # On destroy: the NAT gateway, then its address, then the internet gateway, which cannot be detached before.
        held = pulumi.ResourceOptions(parent=self._parent, depends_on=list(after))
        address = aws.ec2.Eip(
            self._deployment.logical_name(role),
            domain="vpc",
            tags=self._deployment.tags_for(role),
            # Others may allow this address.
            opts=pulumi.ResourceOptions.merge(
                held, pulumi.ResourceOptions(protect=self._deployment.deletion_protection)
            ),
        )
        return aws.ec2.NatGateway(
            self._deployment.logical_name(role),
            subnet_id=subnet.id,
            allocation_id=address.id,
            tags=self._deployment.tags_for(role),
            opts=held,
        )

    def _private_table(
        self, number: int, subnet: aws.ec2.Subnet, nats: Sequence[aws.ec2.NatGateway]
    ) -> pulumi.Output[str]:
        """One route table per zone, for its own NAT gateway; without NAT gateways there is no default route."""
        role = f"private-{number}"
        table = aws.ec2.RouteTable(
            self._deployment.logical_name(role),
            vpc_id=self._vpc.id,
            tags=self._deployment.tags_for(role),
            opts=self._inside,
        )
        aws.ec2.RouteTableAssociation(
            self._deployment.logical_name(role), subnet_id=subnet.id, route_table_id=table.id, opts=self._inside
        )
        if nats:
            aws.ec2.Route(
                self._deployment.logical_name(role),
                route_table_id=table.id,
                destination_cidr_block=_ANYWHERE,
                nat_gateway_id=nats[(number - 1) % len(nats)].id,
                opts=self._inside,
            )
        return table.id


def ranges(cidr: str) -> tuple[list[str], list[str]]:
    """(private, public) ranges for four zones, independent of azCount, so that adding a zone renumbers nothing.

    A private range is an eighth of the VPC (in a /22: 123 addresses for load balancer, endpoints, instances and one
    network interface per task), a public one a 32nd (in a /22: a /27, the minimum for a load balancer).
    """
    network = ipaddress.ip_network(cidr)
    large = list(network.subnets(prefixlen_diff=3))
    small = list(network.subnets(prefixlen_diff=5))
    middle = len(small) // 2
    private, public = large[:_MOST_ZONES], small[middle : middle + _MOST_ZONES]
    return [str(block) for block in private], [str(block) for block in public]
