"""Settings of the network: a new or an existing VPC, and its outbound connectivity."""

import ipaddress
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ..validation import Cidr, Text, ValidatedArgs
from .types import ResourceId

# The values that CloudWatch Logs accepts.
RetentionDays = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]
# Names of AWS services with a VPC endpoint.
Endpoint = Literal[
    "ecr.api",
    "ecr.dkr",
    "ecs",
    "ecs-agent",
    "ecs-telemetry",
    "kms",
    "logs",
    "mlflow",
    "s3",
    "sagemaker.api",
    "sagemaker.runtime",
    "secretsmanager",
    "ssm",
    "ssmmessages",
    "sts",
    "studio",
]


class NetworkSettings(ValidatedArgs):
    """A new VPC, or an existing one, and its outbound connectivity."""

    production_defaults = {"egress": "endpoints"}

    cidr: Cidr = "10.42.0.0/16"
    """IPv4 range of the new VPC, /16 to /22."""
    az_count: int = Field(default=2, ge=2, le=4)
    """Number of availability zones of the new VPC. Subnets keep the zones of their creation."""
    egress: Literal["nat", "nat-per-az", "endpoints"] = "nat"
    """How instances reach AWS APIs: through one NAT gateway, one per availability zone, or VPC endpoints only (no
    internet access)."""
    vpc_id: ResourceId | None = None
    """Use an existing VPC instead of creating one. Its routes must provide the connectivity that `egress` names."""
    vpc_cidr: Cidr | None = None
    """IPv4 range of the existing VPC; clients in it can reach an internal load balancer."""
    private_subnet_ids: list[ResourceId] = []
    """Private subnets of the existing VPC for instances and an internal load balancer: one per availability zone, at
    least two."""
    public_subnet_ids: list[ResourceId] = []
    """Public subnets of the existing VPC for a public load balancer: one per availability zone, at least two."""
    private_route_table_ids: list[ResourceId] = []
    """Route tables of the private subnets, for the S3 gateway endpoint."""
    existing_endpoints: list[Endpoint] = []
    """VPC endpoints (with private DNS) that the VPC already has and that are not created."""
    mlflow_endpoint_service: Text | None = None
    """Service name of the SageMaker MLflow endpoint, where the region uses another one."""
    flow_log_retention_days: RetentionDays = 30
    """Retention of the new VPC's flow logs in days."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for each invalid range, and for settings of a new VPC beside an existing one."""
        try:
            network = ipaddress.ip_network(self.cidr)
            if not 16 <= network.prefixlen <= 22:
                yield "cidr", f"got a /{network.prefixlen} network, expected /16 to /22."
            elif network.is_global:
                yield (
                    "cidr",
                    f"{network} is a public range: use RFC 1918 space (10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16).",
                )
        except ValueError as error:
            yield "cidr", f"{error}."
        of_existing_vpc = ("vpc_cidr", "private_subnet_ids", "public_subnet_ids", "private_route_table_ids")
        if self.vpc_id is None:
            for name in of_existing_vpc:
                if getattr(self, name):
                    yield name, "applies to an existing VPC only: set vpcId."
            return
        for name in ("cidr", "az_count", "flow_log_retention_days"):
            if getattr(self, name) != type(self).model_fields[name].default:
                yield name, "applies to a new VPC only: remove it, or remove vpcId."
        for name in ("private_subnet_ids", "public_subnet_ids"):
            known = [subnet for subnet in getattr(self, name) if isinstance(subnet, str)]
            if len(set(known)) < len(known):
                yield name, "contains a subnet twice."
        if len(self.private_subnet_ids) < 2:
            yield "private_subnet_ids", "an existing VPC (vpcId) requires at least two private subnets."
        if self.vpc_cidr is None:
            yield "vpc_cidr", "missing; an existing VPC (vpcId) requires it."
        if self.egress == "endpoints" and not self.private_route_table_ids and "s3" not in self.existing_endpoints:
            yield (
                "private_route_table_ids",
                "egress endpoints requires the S3 gateway endpoint: set the route tables, or add s3 to "
                "existingEndpoints.",
            )
