"""Faults of a VPC, certificate and DNS zone on AWS."""

from collections.abc import Mapping
from typing import Any

from tests.preflight.aws_account import REGION, ApiError
from tests.preflight.faults.case import VPC, Case, certificate, routes, subnets, vpc
from tests.preflight.stacks import World

ZONE = "Z0123456789ABCDEFGHIJ"


DOMAIN: Mapping[str, Any] = {"loadBalancer": {"domain": {"name": "mlflow.acme.test", "zoneId": ZONE}}}


def hosted_zone(world: World, *, name: str = "acme.test.", private: bool = False) -> None:
    zone = {"Id": f"/hostedzone/{ZONE}", "Name": name, "CallerReference": "1", "Config": {"PrivateZone": private}}
    world.aws.overrides["route53:GetHostedZone"] = lambda _: {"HostedZone": zone}
    records(world)


def records(world: World, *names: str) -> None:
    sets = [{"Name": name, "Type": "A"} for name in names]
    response = {"ResourceRecordSets": sets, "IsTruncated": False, "MaxItems": "300"}
    world.aws.overrides["route53:ListResourceRecordSets"] = lambda _: response


CASES: Mapping[str, tuple[Case, ...]] = {
    "aws certificate": (
        Case(
            "prod",
            lambda world: world.aws.overrides.pop("acm:DescribeCertificate"),
            "there is no certificate",
            "certificateArn",
            prepare=certificate,
        ),
        Case(
            "prod",
            lambda world: certificate(world, status="PENDING_VALIDATION"),
            "PENDING_VALIDATION",
            "validation record",
            prepare=certificate,
        ),
        Case(
            "prod",
            lambda world: certificate(world, ("*.other.test",)),
            "not for mlflow.acme.test",
            "hostName",
            prepare=lambda world: certificate(world, ("acme.test", "*.acme.test")),
        ),
    ),
    "aws hosted zone": (
        Case(
            "dev",
            lambda world: world.aws.overrides.pop("route53:GetHostedZone"),
            "there is no hosted zone",
            "zoneId",
            DOMAIN,
            prepare=hosted_zone,
        ),
        Case(
            "dev",
            lambda world: hosted_zone(world, name="other.test."),
            "not in the zone other.test",
            "zoneId",
            DOMAIN,
            prepare=hosted_zone,
        ),
        Case(
            "dev",
            lambda world: hosted_zone(world, private=True),
            "is a private zone",
            "zoneId",
            DOMAIN,
            prepare=hosted_zone,
        ),
    ),
    "aws DNS name": (
        Case(
            "dev",
            lambda world: records(world, "mlflow.acme.test."),
            "has a record mlflow.acme.test",
            "delete that record",
            DOMAIN,
            prepare=lambda world: (hosted_zone(world), records(world, "www.acme.test.")),
        ),
    ),
    "aws availability zones": (
        Case(
            "dev",
            lambda world: world.aws.overrides.update(
                {
                    "ec2:DescribeAvailabilityZones": lambda _: {
                        "AvailabilityZones": [{"ZoneName": f"{REGION}a", "ZoneId": "euw1-az1", "State": "available"}]
                    }
                }
            ),
            "has 1 usable",
            "network.azCount",
        ),
    ),
    "aws existing VPC": (
        Case(
            "dev",
            lambda world: world.aws.errors.update({"ec2:DescribeVpcs": ApiError("InvalidVpcID.NotFound")}),
            "there is no VPC",
            "network.vpcId",
            VPC,
            prepare=vpc,
        ),
        Case(
            "dev",
            lambda world: vpc(world, cidr="10.7.0.0/16"),
            "10.7.0.0/16, not 10.0.0.0/16",
            "network.vpcCidr",
            VPC,
            prepare=vpc,
        ),
        Case(
            "dev",
            lambda world: vpc(world, dns=False),
            "enableDnsSupport is off",
            "--enable-dns-support Value=true",
            {
                **VPC,
                "network": {**VPC["network"], "egress": "endpoints", "privateRouteTableIds": ["rtb-0123456789abcdef0"]},
            },
            prepare=vpc,
        ),
    ),
    "aws subnets": (
        Case(
            "dev",
            lambda world: world.aws.errors.update(
                {"ec2:DescribeSubnets": ApiError("InvalidSubnetID.NotFound", "The subnet ID 'subnet-1' does not exist")}
            ),
            "does not exist",
            "correct",
            VPC,
            prepare=vpc,
        ),
        Case(
            "dev",
            lambda world: subnets(world, zones="aaab"),
            "are both in eu-west-1a",
            "privateSubnetIds",
            VPC,
            prepare=vpc,
        ),
        Case("dev", lambda world: subnets(world, free=9), "9 free addresses", "larger subnet", VPC, prepare=vpc),
    ),
    "aws routes": (
        Case(
            "dev",
            lambda world: routes(world, private=False),
            "no default route, and network.egress is nat",
            "NAT or transit gateway",
            VPC,
            prepare=vpc,
        ),
        Case(
            "dev",
            lambda world: routes(world, public=False),
            "no default route to an internet gateway",
            "public subnet",
            VPC,
            prepare=vpc,
        ),
    ),
    "aws endpoint services": (
        Case(
            "prod",
            lambda world: world.aws.endpoint_zones.pop(f"aws.sagemaker.{REGION}.experiments"),
            "experiments is not offered",
            "mlflowEndpointService",
        ),
        Case(
            "prod",
            lambda world: world.aws.endpoint_zones.update({f"com.amazonaws.{REGION}.ecs": [f"{REGION}c"]}),
            "ecs is not offered in eu-west-1a, eu-west-1b",
            "network.egress",
        ),
    ),
}
