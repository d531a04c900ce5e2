"""The settings of the network: a VPC of its own, or parts of one that is there, and the way to AWS."""

import ipaddress
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ..validation import Cidr, Text, ValidatedArgs
from .types import ResourceId

# What CloudWatch Logs takes.
Days = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]
Endpoint = Literal[
    "ecr.api",
    "ecr.dkr",
    "ecs",
    "ecs-agent",
    "ecs-telemetry",
    "ec2messages",
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


class NetworkArgs(ValidatedArgs):
    """A VPC of its own, or parts of one that is there."""

    production_defaults = {"egress": "endpoints"}

    cidr: Cidr = "10.42.0.0/16"
    """The new VPC's addresses, /16 to /22."""
    zones: int = Field(default=2, ge=2, le=4)
    """Availability zones of the new VPC: the region's first, chosen once."""
    egress: Literal["nat", "nat-per-zone", "endpoints"] = "nat"
    """How instances reach AWS: one NAT gateway, one in each zone, or VPC endpoints alone and no internet."""
    vpc_id: ResourceId | None = None
    """A VPC that is there, instead of a new one; its routes give the egress that `egress` names."""
    vpc_cidr: Cidr | None = None
    """The addresses of that VPC, which may reach an internal load balancer."""
    private_subnet_ids: list[ResourceId] = []
    """Its subnets for the load balancer (if internal) and the instances: one in a zone, in two zones or more."""
    public_subnet_ids: list[ResourceId] = []
    """Its subnets for a public load balancer: one in a zone, in two zones or more."""
    private_route_table_ids: list[ResourceId] = []
    """Route tables of the private subnets, for S3's gateway endpoint."""
    existing_endpoints: list[Endpoint] = []
    """Endpoints that the VPC has already (with their private DNS): they are not made again."""
    mlflow_endpoint_service: Text | None = None
    """The name of SageMaker MLflow's endpoint service, if AWS names it differently in this region."""
    flow_log_days: Days = 30
    """How long the new VPC's flow logs are kept, in days."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        try:
            network = ipaddress.ip_network(self.cidr)
            if not 16 <= network.prefixlen <= 22:
                yield "cidr", f"/{network.prefixlen} is given; allowed is /16 to /22."
            elif network.is_global:
                yield (
                    "cidr",
                    f"{network} is given; it is somebody's on the internet: take 10., 172.16. to 31. or 192.168.",
                )
        except ValueError as error:
            yield "cidr", f"{error}."
        of_a_vpc = ("vpc_cidr", "private_subnet_ids", "public_subnet_ids", "private_route_table_ids")
        if self.vpc_id is None:
            for name in of_a_vpc:
                if getattr(self, name):
                    yield name, "it belongs to a VPC that is there: give vpcId, too."
            return
        for name in ("cidr", "zones", "flow_log_days"):
            if getattr(self, name) != type(self).model_fields[name].default:
                yield name, "it is for a new VPC, and vpcId names one that is there."
        for name in ("private_subnet_ids", "public_subnet_ids"):
            known = [one for one in getattr(self, name) if isinstance(one, str)]
            if len(set(known)) < len(known):
                yield name, "a subnet is named twice."
        if len(self.private_subnet_ids) < 2:
            yield "private_subnet_ids", "a VPC that is there needs two or more of its private subnets."
        if self.vpc_cidr is None:
            yield "vpc_cidr", "it is missing; a VPC that is there needs it."
        if self.egress == "endpoints" and not self.private_route_table_ids and "s3" not in self.existing_endpoints:
            yield (
                "private_route_table_ids",
                "endpoints alone need S3's gateway endpoint: give the route tables, or name s3 in existingEndpoints.",
            )
