"""A new VPC with its subnets and outbound connectivity, or an existing one.

Peering, VPNs and custom DNS are not part of it. In an existing VPC, only VPC endpoints with their security group are
created, if `egress` is endpoints.
"""

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from .deployment import Deployment
from .network_settings import NetworkSettings
from .new_vpc import NewVpc

_HTTPS = 443


def allow_traffic(
    deployment: Deployment,
    role: str,
    *,
    source: pulumi.Input[str],
    target: pulumi.Input[str],
    port: int,
    parent: pulumi.Resource,
    out: str | None = None,
    into: str | None = None,
) -> list[pulumi.Resource]:
    """Allow TCP connections from one security group to another: an egress rule and an ingress rule.

    ``out`` and ``into`` are the descriptions of these rules.
    """
    name, tags, inside = deployment.logical_name(role), deployment.tags_for(role), pulumi.ResourceOptions(parent=parent)
    return [
        aws.vpc.SecurityGroupEgressRule(
            name,
            security_group_id=source,
            referenced_security_group_id=target,
            description=out,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            tags=tags,
            opts=inside,
        ),
        aws.vpc.SecurityGroupIngressRule(
            name,
            security_group_id=target,
            referenced_security_group_id=source,
            description=into,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            tags=tags,
            opts=inside,
        ),
    ]


class Network(pulumi.ComponentResource):
    """The network of load balancer and instances."""

    vpc_id: pulumi.Output[str]
    cidr: pulumi.Output[str]
    private_subnet_ids: Sequence[pulumi.Input[str]]
    private_zones: Sequence[pulumi.Input[str]]
    """Availability zones of these subnets, in the same order; not looked up in an existing VPC with a NAT gateway."""
    public_subnet_ids: Sequence[pulumi.Input[str]]
    """Empty if not needed."""
    private_route_table_ids: Sequence[pulumi.Input[str]]
    endpoints_security_group_id: pulumi.Output[str] | None
    """Security group of the VPC endpoints; None with a NAT gateway."""

    def __init__(
        self, deployment: Deployment, args: NetworkSettings, *, public: bool, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """``public``: create public subnets for the load balancer."""
        super().__init__("mlflow:aws:Network", deployment.component, {}, opts)
        self._deployment = deployment
        self._args = args
        self._invoke_options = pulumi.InvokeOptions(parent=self)
        if args.vpc_id is None:
            self._build(public=public)
        else:
            self._adopt(args.vpc_id)
        self.endpoints_security_group_id = self._endpoints_group() if args.egress == "endpoints" else None
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "cidr": self.cidr,
                "private_subnet_ids": list(self.private_subnet_ids),
                "public_subnet_ids": list(self.public_subnet_ids),
            }
        )

    def allow_egress(
        self, deployment: Deployment, role: str, security_group_id: pulumi.Input[str], parent: pulumi.Resource
    ) -> list[pulumi.Resource]:
        """Allow HTTPS from a security group: to the VPC endpoints, or to any address through the NAT gateway.

        ``role`` is part of the rules' names, and ``parent`` their parent. Resources that need the connectivity until
        they are deleted must depend on the returned rules. DNS, NTP and instance metadata need no rules.
        """

        def rule(target: str, description: str, **to: pulumi.Input[str]) -> pulumi.Resource:
            return aws.vpc.SecurityGroupEgressRule(
                deployment.logical_name(f"{role}-to-{target}"),
                security_group_id=security_group_id,
                description=description,
                ip_protocol="tcp",
                from_port=_HTTPS,
                to_port=_HTTPS,
                tags=deployment.tags_for(f"{role}-to-{target}"),
                opts=pulumi.ResourceOptions(parent=parent),
                **to,
            )

        group = self.endpoints_security_group_id
        if group is None:
            return [rule("internet", "HTTPS to AWS and to image registries", cidr_ipv4="0.0.0.0/0")]
        rules = [
            rule("endpoints", "HTTPS to the endpoints of AWS services", referenced_security_group_id=group),
            rule("s3", "HTTPS to S3 by its gateway endpoint", prefix_list_id=self._s3_addresses()),
        ]
        if self._args.vpc_id is not None and self._args.existing_endpoints:
            # Their security groups are not known.
            rules.append(rule("vpc", "HTTPS to existing endpoints of the VPC", cidr_ipv4=self.cidr))
        return rules

    def _build(self, *, public: bool) -> None:
        vpc = NewVpc(self._deployment, self._args, public=public, parent=self)
        self.vpc_id = vpc.id
        self.cidr = vpc.cidr
        self.private_subnet_ids = vpc.private_subnet_ids
        self.private_zones = vpc.private_zones
        self.public_subnet_ids = vpc.public_subnet_ids
        self.private_route_table_ids = vpc.private_route_table_ids

    def _adopt(self, vpc_id: pulumi.Input[str]) -> None:
        args = self._args
        self.vpc_id = pulumi.Output.from_input(vpc_id)
        # Validation requires it.
        self.cidr = pulumi.Output.from_input(args.vpc_cidr or "")
        self.private_subnet_ids = args.private_subnet_ids
        self.private_zones = (
            [
                aws.ec2.get_subnet_output(id=subnet, opts=self._invoke_options).availability_zone
                for subnet in args.private_subnet_ids
            ]
            if args.egress == "endpoints"
            else []
        )
        self.public_subnet_ids = args.public_subnet_ids
        self.private_route_table_ids = args.private_route_table_ids

    def _endpoints_group(self) -> pulumi.Output[str]:
        deployment = self._deployment
        inside = pulumi.ResourceOptions(parent=self)
        group = aws.ec2.SecurityGroup(
            deployment.logical_name("endpoints"),
            vpc_id=self.vpc_id,
            description="VPC endpoints of AWS services",
            tags=deployment.tags_for("endpoints"),
            opts=inside,
        )
        # From the whole VPC, since the endpoints' private DNS names apply to all workloads in it. Endpoints open no
        # connections and need no egress rules.
        aws.vpc.SecurityGroupIngressRule(
            deployment.logical_name("endpoints-from-vpc"),
            security_group_id=group.id,
            description="HTTPS from the VPC",
            ip_protocol="tcp",
            from_port=_HTTPS,
            to_port=_HTTPS,
            cidr_ipv4=self.cidr,
            tags=deployment.tags_for("endpoints-from-vpc"),
            opts=inside,
        )
        return group.id

    def _s3_addresses(self) -> pulumi.Output[str]:
        name = pulumi.Output.concat("com.amazonaws.", self._deployment.region, ".s3")
        return aws.ec2.get_managed_prefix_list_output(name=name, opts=self._invoke_options).id
