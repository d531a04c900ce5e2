"""The stacks of AwsMlflowProxy for snapshots and invariants."""

import functools
import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_docker_build as docker_build
import pulumi_random as random

from components import AwsMlflowProxy
from preview.stack_files import read_stack

from .. import scenario
from ..scenario import ROOT

CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
OIDC_CLIENT_SECRET = "planted-oidc-client-secret"
_OIDC_SECRET_KEY = "mlflow:awsOidcClientSecret"
_REGION = {"aws:region": "eu-west-1"}
Scenario = functools.partial(scenario.Scenario, cloud="aws")


def config(settings: Mapping[str, Any], secret: str | None = None) -> dict[str, str]:
    """The config of a stack with these settings."""
    return {**_REGION, "mlflow:aws": json.dumps(settings), **({_OIDC_SECRET_KEY: secret} if secret else {})}


def _two() -> None:
    for name in ("first", "second"):
        AwsMlflowProxy(name, {"network": {"cidr": "10.1.0.0/16" if name == "first" else "10.2.0.0/16"}})


def _with_providers() -> None:
    opts = pulumi.ResourceOptions(
        providers=[
            aws.Provider("mine", region="eu-north-1"),
            random.Provider("mine-random"),
            docker_build.Provider("mine-docker"),
        ]
    )
    certificate = CERTIFICATE.replace("eu-west-1", "eu-north-1")
    AwsMlflowProxy("proxy", {"environment": "production", "load_balancer": {"certificate_arn": certificate}}, opts)


OIDC: Mapping[str, Any] = {
    "issuer": "https://login.example.com",
    "authorizationEndpoint": "https://login.example.com/authorize",
    "tokenEndpoint": "https://login.example.com/token",
    "userInfoEndpoint": "https://login.example.com/userinfo",
    "clientId": "mlflow-dev",
}
SCENARIOS = (
    Scenario(
        name="development",
        base=None,
        about="Pulumi.dev.yaml",
        config=read_stack(ROOT, "dev").config,
    ),
    Scenario(
        name="production",
        base=None,
        about="Pulumi.prod.yaml",
        config=read_stack(ROOT, "prod").config,
        stack="prod",
    ),
    Scenario(
        name="tracking-server",
        about="a tracking server with every setting of its own",
        config=config(
            {
                "tracking": {
                    "kind": "server",
                    "serverSize": "Medium",
                    "mlflowVersion": "3.0",
                    "maintenanceWindow": "Tue:03:30",
                    "automaticModelRegistration": True,
                    "artifactPrefix": "team/runs",
                }
            }
        ),
    ),
    Scenario(
        name="production-server",
        base="production",
        about="production with a tracking server",
        config=config(
            {
                "environment": "production",
                "tracking": {"kind": "server", "automaticModelRegistration": True, "maintenanceWindow": "Sun:02:00"},
                "loadBalancer": {"certificateArn": CERTIFICATE, "hostName": "mlflow.example.com"},
            }
        ),
        stack="prod",
    ),
    Scenario(
        name="existing-vpc",
        about="a VPC that is there, without internet, with some of the endpoints",
        config=config(
            {
                "network": {
                    "egress": "endpoints",
                    "vpcId": "vpc-0123456789abcdef0",
                    "vpcCidr": "172.16.0.0/16",
                    "privateSubnetIds": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
                    "privateRouteTableIds": ["rtb-0123456789abcdef0"],
                    "existingEndpoints": ["ssm", "ssmmessages", "logs"],
                }
            }
        ),
    ),
    Scenario(
        name="public-domain",
        about="public, with a name and a certificate of its own, a NAT in each of three zones, WAF",
        config=config(
            {
                "network": {"egress": "nat-per-az", "azCount": 3},
                "loadBalancer": {
                    "public": True,
                    "domain": {"name": "mlflow.example.com", "zoneId": "Z0123456789ABCDEFGHIJ"},
                    "waf": True,
                },
                "monitoring": {"alarmEmail": "ops@example.com"},
            }
        ),
    ),
    Scenario(
        name="oidc",
        about="public for some addresses, sign-in beside tokens",
        config=config(
            {
                "loadBalancer": {
                    "public": True,
                    "allowedCidrs": ["198.51.100.0/24", "203.0.113.0/24"],
                    "certificateArn": CERTIFICATE,
                    "hostName": "mlflow.example.com",
                    "oidc": OIDC,
                },
                "access": {"roles": {"viewer": ["domain:example.com"], "admin": ["group:ml-admins"]}},
            },
            OIDC_CLIENT_SECRET,
        ),
    ),
    Scenario(
        name="internal-domain",
        about="internal, with a name in a private zone",
        config=config(
            {
                "loadBalancer": {
                    "domain": {
                        "name": "mlflow.corp.example.com",
                        "zoneId": "Z0123456789ABCDEFGHIJ",
                        "privateZoneId": "Z9876543210ABCDEFGHIJ",
                    }
                }
            }
        ),
    ),
    Scenario(
        name="prebuilt-image",
        about="an image of this account's ECR, for amd64",
        config=config(
            {
                "image": {
                    "imageUri": f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/proxy@sha256:{'0' * 64}",
                    "architecture": "amd64",
                },
                "service": {"enableExecuteCommand": True},
            }
        ),
    ),
    Scenario(
        name="customer-key",
        base="production",
        about="production with a customer key, a boundary and further tags",
        config=config(
            {
                "environment": "production",
                "kmsKeyArn": KEY,
                "permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary",
                "tags": {"CostCentre": "4711"},
                "loadBalancer": {"certificateArn": CERTIFICATE},
            }
        ),
        stack="prod",
    ),
    Scenario(
        name="studio",
        about="with a SageMaker Studio domain, without internet",
        config=config({"network": {"egress": "endpoints"}, "studio": {"userProfile": "ann"}}),
    ),
    Scenario(
        name="existing-target",
        about="a SageMaker MLflow that is there, without MLflow's UI",
        config=config(
            {
                "tracking": {
                    "targetArn": "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/theirs",
                    "kind": "server",
                },
                "artifacts": {"uri": "s3://their-bucket/team/mlflow", "presignedTransfers": True},
                "limits": {"requestsPerSecond": 20, "maxRequests": 16},
                "ui": {"enabled": False},
                "service": {"taskMemoryMib": 512},
            }
        ),
    ),
    Scenario(
        name="schedule",
        about="stopped at night and at weekends",
        config=config(
            {"service": {"schedule": {"start": "08:00", "stop": "20:00", "timeZone": "Europe/Berlin"}}},
        ),
    ),
    Scenario(
        name="other-account",
        base="production",
        about="a serverless app of another account",
        config=config(
            {
                "environment": "production",
                "tracking": {
                    "targetArn": "arn:aws:sagemaker:eu-west-1:210987654321:mlflow-app/app-ABCDEF123456",
                    "assumeRoleArn": "arn:aws:iam::210987654321:role/mlflow-proxy",
                },
                "loadBalancer": {"certificateArn": CERTIFICATE, "hostName": "mlflow.example.com"},
            }
        ),
        stack="prod",
    ),
    Scenario(
        name="two-in-one-stack",
        about="two components in a separate program",
        config=_REGION,
        program=_two,
        reviewed=False,
    ),
    Scenario(
        name="explicit-providers",
        about="production in a separate program, with explicit providers",
        config=_REGION,
        program=_with_providers,
        reviewed=False,
    ),
)
