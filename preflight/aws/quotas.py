"""Service quotas: what the account has left, against what the stack creates."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import ClientError

from ..model import Check, Fault, check
from ..subject import Subject
from .api import error_code

_GROUP = "aws:autoscaling/group:Group"
_TARGET = "aws:appautoscaling/target:Target"
_BALANCER = "aws:lb/loadBalancer:LoadBalancer"
_SERVER = "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer"
_APP = "aws:sagemaker/mlflowApp:MlflowApp"
# The families of the quota "Running On-Demand Standard instances".
_STANDARD = re.compile(r"[acdhimrtz]\d")


def _quota(
    name: str,
    sentence: str,
    types: tuple[str, ...],
    *,
    value: Callable[[Subject], float],
    used: Callable[[Subject], int],
    needed: Callable[[Subject], int] | None = None,
    unit: str,
    remedy: str = "",
) -> Check:
    """Make a check: used + needed must not exceed the quota; ``needed`` is by default the resources of the types."""

    def function(subject: Subject) -> str | list[Fault]:
        wanted = needed(subject) if needed else len(subject.missing(*types))
        if not wanted:
            return f"no new {unit}"
        limit, in_use = value(subject), used(subject)
        if in_use + wanted > limit:
            return [
                Fault(
                    f"the quota is {limit:g} {unit} in {subject.aws.region}: {in_use} are in use, and the stack needs "
                    f"{wanted} more",
                    "request an increase in the Service Quotas console" + remedy,
                )
            ]
        if limit == math.inf:
            return f"{in_use} {unit} in use; Service Quotas lists no limit"
        return f"{in_use} of {limit:g} {unit} in use, {wanted} needed"

    function.__doc__ = sentence
    return check(name, types=types)(function)


def _by_code(service: str, code: str) -> Callable[[Subject], float]:
    """The quota of the account; AWS's default if the account has no value of its own."""

    def value(subject: Subject) -> float:
        parameters = {"ServiceCode": service, "QuotaCode": code}
        try:
            found = subject.aws.call("service-quotas", "get_service_quota", **parameters)
        except ClientError as error:
            if error_code(error) != "NoSuchResourceException":
                raise
            found = subject.aws.call("service-quotas", "get_aws_default_service_quota", **parameters)
        return float(found["Quota"]["Value"])

    return value


def _by_name(service: str, pattern: str) -> Callable[[Subject], float]:
    """The quota whose name matches (its code is not in AWS's documentation); infinite if none is listed."""

    def value(subject: Subject) -> float:
        quotas = subject.aws.call("service-quotas", "list_service_quotas", ServiceCode=service)["Quotas"]
        found = [quota for quota in quotas if re.search(pattern, str(quota["QuotaName"]), re.IGNORECASE)]
        return float(found[0]["Value"]) if found else math.inf

    return value


def _count(service: str, operation: str, key: str, **parameters: Any) -> Callable[[Subject], int]:
    return lambda subject: len(subject.aws.call(service, operation, **parameters)[key])


def _cores(subject: Subject, kinds: Sequence[str]) -> dict[str, int]:
    found = subject.aws.call("ec2", "describe_instance_types", InstanceTypes=sorted(set(kinds)))["InstanceTypes"]
    return {str(one["InstanceType"]): int(one["VCpuInfo"]["DefaultVCpus"]) for one in found}


def _used_cores(subject: Subject) -> int:
    running = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    reservations = subject.aws.call("ec2", "describe_instances", Filters=running)["Reservations"]
    kinds = Counter(str(instance["InstanceType"]) for found in reservations for instance in found["Instances"])
    standard = {kind: count for kind, count in kinds.items() if _STANDARD.match(kind)}
    cores = _cores(subject, list(standard)) if standard else {}
    return sum(cores[kind] * count for kind, count in standard.items())


def _needed_cores(subject: Subject) -> int:
    """A rolling update runs the old and the new instances; managed scaling starts at least two from zero."""
    kinds = [
        str(template.inputs["instanceType"]) for template in subject.created("aws:ec2/launchTemplate:LaunchTemplate")
    ]
    least = max((int(target.inputs["minCapacity"]) for target in subject.created(_TARGET)), default=1)
    # Those of a deployed stack are in use already.
    instances = 2 * least if subject.missing(_GROUP) else least
    return sum(max(2, instances) * cores for kind, cores in _cores(subject, kinds).items() if _STANDARD.match(kind))


def _nat_gateways(subject: Subject) -> int:
    found = subject.aws.call(
        "ec2", "describe_nat_gateways", Filters=[{"Name": "state", "Values": ["pending", "available"]}]
    )
    subnets = Counter(str(gateway["SubnetId"]) for gateway in found["NatGateways"])
    if not subnets:
        return 0
    zones = subject.aws.call("ec2", "describe_subnets", SubnetIds=sorted(subnets))["Subnets"]
    by_zone = Counter[str]()
    for subnet in zones:
        by_zone[str(subnet["AvailabilityZone"])] += subnets[str(subnet["SubnetId"])]
    return max(by_zone.values())


def _balancers(subject: Subject) -> int:
    found = subject.aws.call("elbv2", "describe_load_balancers")["LoadBalancers"]
    return sum(balancer.get("Type") == "application" for balancer in found)


# Codes: https://docs.aws.amazon.com/general/latest/gr/aws-service-information.html
QUOTAS = (
    _quota(
        "aws quota of vCPUs",
        "The quota of vCPUs suffices for a rolling update, which runs the old and the new instances.",
        (_GROUP,),
        value=_by_code("ec2", "L-1216C47A"),
        used=_used_cores,
        needed=_needed_cores,
        unit="vCPUs of standard instances",
        remedy=", or set service.minTasks to a smaller number",
    ),
    _quota(
        "aws quota of addresses",
        "The quota of Elastic IP addresses suffices for the NAT gateways.",
        ("aws:ec2/eip:Eip",),
        value=_by_code("ec2", "L-0263D0A3"),
        used=_count("ec2", "describe_addresses", "Addresses"),
        unit="Elastic IP addresses",
        remedy=", or set network.egress to endpoints",
    ),
    _quota(
        "aws quota of VPCs",
        "The quota of VPCs suffices for a new one.",
        ("aws:ec2/vpc:Vpc",),
        value=_by_code("vpc", "L-F678F1CE"),
        used=_count("ec2", "describe_vpcs", "Vpcs"),
        unit="VPCs",
        remedy=", or use an existing VPC (network.vpcId)",
    ),
    _quota(
        "aws quota of internet gateways",
        "The quota of internet gateways suffices for a new one.",
        ("aws:ec2/internetGateway:InternetGateway",),
        value=_by_code("vpc", "L-A4707A72"),
        used=_count("ec2", "describe_internet_gateways", "InternetGateways"),
        unit="internet gateways",
        remedy=", or set network.egress to endpoints",
    ),
    _quota(
        "aws quota of NAT gateways",
        "The quota of NAT gateways suffices in the availability zone that has the most.",
        ("aws:ec2/natGateway:NatGateway",),
        value=_by_code("vpc", "L-FE5A380F"),
        used=_nat_gateways,
        needed=lambda subject: 1 if subject.missing("aws:ec2/natGateway:NatGateway") else 0,
        unit="NAT gateways in an availability zone",
        remedy=", or set network.egress to endpoints",
    ),
    _quota(
        "aws quota of load balancers",
        "The quota of Application Load Balancers suffices for a new one.",
        (_BALANCER,),
        value=_by_code("elasticloadbalancing", "L-53DA6B97"),
        used=_balancers,
        unit="Application Load Balancers",
    ),
    _quota(
        "aws quota of tracking servers",
        "The quota of SageMaker MLflow tracking servers suffices for a new one.",
        (_SERVER,),
        value=_by_name("sagemaker", r"mlflow.*tracking server"),
        used=_count("sagemaker", "list_mlflow_tracking_servers", "TrackingServerSummaries"),
        unit="MLflow tracking servers",
        remedy=", or use a serverless app (tracking.kind: app)",
    ),
    _quota(
        "aws quota of MLflow apps",
        "The quota of SageMaker MLflow apps suffices for a new one.",
        (_APP,),
        value=_by_name("sagemaker", r"mlflow.*\bapp"),
        used=_count("sagemaker", "list_mlflow_apps", "Summaries"),
        unit="MLflow apps",
    ),
)
