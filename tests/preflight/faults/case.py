"""A case of a check: a world in which it finds its fault."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.preflight.aws_account import REGION
from tests.preflight.stacks import CERTIFICATE, World

VPC: Mapping[str, Any] = {
    "network": {
        "vpcId": "vpc-0123456789abcdef0",
        "vpcCidr": "10.0.0.0/16",
        "privateSubnetIds": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        "publicSubnetIds": ["subnet-0123456789abcdef2", "subnet-0123456789abcdef3"],
    },
    "loadBalancer": {"public": True, "certificateArn": CERTIFICATE, "hostName": "mlflow.acme.test"},
}


@dataclass(frozen=True, slots=True)
class Case:
    """``prepare`` makes a world in which the check passes; ``break_it`` adds the fault, which ``found`` is part of.

    ``remedy`` is part of what to do.
    """

    stack: str
    break_it: Callable[[World], object]
    found: str
    remedy: str
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    config: Mapping[str, str] = field(default_factory=dict[str, str])
    prepare: Callable[[World], object] = lambda _: None


def setting(part: str, **values: Any) -> Callable[[World], None]:
    def change(world: World) -> None:
        for name, value in values.items():
            target = getattr(world, part)
            assert hasattr(target, name)
            setattr(target, name, value)

    return change


def certificate(world: World, names: tuple[str, ...] = ("mlflow.acme.test",), *, status: str = "ISSUED") -> None:
    """The certificate, in place of moto's, which is issued at once and has an ARN of its own."""
    found = {
        "CertificateArn": CERTIFICATE,
        "DomainName": names[0],
        "SubjectAlternativeNames": list(names),
        "Status": status,
    }
    world.aws.overrides["acm:DescribeCertificate"] = lambda _: {"Certificate": found}


def vpc(world: World, *, cidr: str = "10.0.0.0/16", dns: bool = True) -> None:
    certificate(world)
    network = VPC["network"]
    found = {"VpcId": network["vpcId"], "CidrBlock": cidr}
    world.aws.overrides["ec2:DescribeVpcs"] = lambda _: {"Vpcs": [found]}
    world.aws.overrides["ec2:DescribeVpcAttribute"] = lambda request: {
        request["Attribute"][0].upper() + request["Attribute"][1:]: {"Value": dns}
    }
    subnets(world)
    routes(world)


def subnets(world: World, *, zones: str = "abab", free: int = 200) -> None:
    names = [*VPC["network"]["privateSubnetIds"], *VPC["network"]["publicSubnetIds"]]
    found = [
        {
            "SubnetId": name,
            "VpcId": VPC["network"]["vpcId"],
            "AvailabilityZone": f"{REGION}{zone}",
            "AvailableIpAddressCount": free,
        }
        for name, zone in zip(names, zones, strict=True)
    ]
    world.aws.overrides["ec2:DescribeSubnets"] = lambda request: {
        "Subnets": [one for one in found if one["SubnetId"] in request["SubnetIds"]]
    }


def routes(world: World, *, private: bool = True, public: bool = True) -> None:
    def table(subnets: list[str], target: dict[str, str] | None) -> dict[str, Any]:
        default = [{"DestinationCidrBlock": "0.0.0.0/0", "State": "active", **target}] if target else []
        return {"Associations": [{"SubnetId": name} for name in subnets], "Routes": default}

    tables = [
        table(VPC["network"]["privateSubnetIds"], {"NatGatewayId": "nat-1"} if private else None),
        table(VPC["network"]["publicSubnetIds"], {"GatewayId": "igw-1"} if public else {"NatGatewayId": "nat-1"}),
    ]
    world.aws.overrides["ec2:DescribeRouteTables"] = lambda _: {"RouteTables": tables}


def edited(**config: str) -> Callable[[World], None]:
    return lambda world: world.replace_stack(
        {**world.stack.config, **{key.replace("__", ":"): value for key, value in config.items()}}
    )
