"""EC2 instances and Auto Scaling groups."""

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...kind import CloudError, CreateRequest, Kind, Name, Problems, Reference, Values
from ...paths import values_at
from ..common import known, matches
from .identity import INSTANCE_PROFILE
from .load_balancer import TARGET_GROUP
from .network import SECURITY_GROUPS, SUBNET, in_one_vpc

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

LAUNCH_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
GROUP = "aws:autoscaling/group:Group"


def _new_version(resource: "Resource", _cloud: "Cloud") -> None:
    resource.computed["latestVersion"] += 1
    if resource.inputs.get("updateDefaultVersion"):
        resource.computed["defaultVersion"] = resource.computed["latestVersion"]


def _template_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "name", r"[a-zA-Z0-9().\-/_]{3,128}")
    yield from matches(inputs, "imageId", r"ami-[0-9a-f]{8,17}|resolve:ssm:\S+")
    if inputs.get("vpcSecurityGroupIds") and inputs.get("networkInterfaces"):
        yield "vpcSecurityGroupIds", "conflicts with networkInterfaces, which have the security groups"
    data = known(inputs, "userData")
    if data is not None:
        try:
            base64.b64decode(data, validate=True)
        except ValueError:
            yield "userData", "not valid base64"


def _group(request: CreateRequest) -> tuple[str, dict[str, object]]:
    name = str(request.inputs["name"])
    return name, {
        "arn": request.arn(
            "autoscaling",
            f"autoScalingGroup:{request.hex_digits(8)}-0000-4000-8000-{request.hex_digits(12)}:autoScalingGroupName/{name}",
        ),
    }


def _group_problems(inputs: Values) -> Problems:
    least, most, desired = (known(inputs, field) for field in ("minSize", "maxSize", "desiredCapacity"))
    if least is not None and most is not None and least > most:
        yield "minSize", "greater than maxSize"
    if desired is not None and least is not None and most is not None and not least <= desired <= most:
        yield "desiredCapacity", "not between minSize and maxSize"
    if bool(inputs.get("launchTemplate")) == bool(
        inputs.get("mixedInstancesPolicy") or inputs.get("launchConfiguration")
    ):
        yield "launchTemplate", "expected exactly one of launchTemplate, mixedInstancesPolicy, launchConfiguration"
    if bool(inputs.get("vpcZoneIdentifiers")) == bool(inputs.get("availabilityZones")):
        yield "vpcZoneIdentifiers", "expected exactly one of vpcZoneIdentifiers, availabilityZones"


def _group_template(resource: "Resource", cloud: "Cloud") -> "Resource | None":
    named = [*values_at(resource.inputs, "launchTemplate.id"), *values_at(resource.inputs, "launchTemplate.name")]
    named += values_at(
        resource.inputs, "mixedInstancesPolicy.launchTemplate.launchTemplateSpecification.launchTemplateId"
    )
    return next(
        (template for template in cloud.of(LAUNCH_TEMPLATE) if {template.id, template.inputs.get("name")} & set(named)),
        None,
    )


def _group_fits(resource: "Resource", cloud: "Cloud") -> None:
    template = _group_template(resource, cloud)
    if template is None:
        raise CloudError("ValidationError: the launch template does not exist.")
    in_one_vpc(resource, cloud, values_at(resource.inputs, "vpcZoneIdentifiers[*]"), _groups_in(template))
    for version in values_at(resource.inputs, "launchTemplate.version"):
        if version not in ("$Latest", "$Default") and not 1 <= int(version) <= template.computed["latestVersion"]:
            raise CloudError(f"ValidationError: {template} has no version {version}.")


def _groups_in(template: "Resource") -> set[Any]:
    interfaces = values_at(template.inputs, "networkInterfaces[*].securityGroups[*]")
    return {*values_at(template.inputs, "vpcSecurityGroupIds[*]"), *interfaces}


def _group_holds(resource: "Resource", cloud: "Cloud") -> Iterator["Resource"]:
    """Instances use their security groups and instance profile, and so block their deletion."""
    template = _group_template(resource, cloud)
    if template is None:
        return
    groups = _groups_in(template)
    for other in cloud:
        if other.kind.token in SECURITY_GROUPS and other.id in groups:
            yield other


def _group_drains(resource: "Resource", _cloud: "Cloud") -> None:
    # Without force_delete the provider sets the size to 0 and waits; protected instances are never terminated.
    if resource.inputs.get("protectFromScaleIn") and not resource.inputs.get("forceDelete"):
        raise CloudError(f"timeout while waiting for {resource} to drain: its instances are protected from scale-in.")


KINDS = (
    Kind(
        token=LAUNCH_TEMPLATE,
        name=Name(),
        make=lambda request: (
            resource_id := f"lt-0{request.hex_digits(16)}",
            {"arn": request.arn("ec2", f"launch-template/{resource_id}"), "latestVersion": 1, "defaultVersion": 1},
        ),
        references=(
            Reference(path="vpcSecurityGroupIds[*]", kinds=SECURITY_GROUPS, blocks_delete=False),
            Reference(path="iamInstanceProfile.arn", kinds=(INSTANCE_PROFILE,), by=("arn",), blocks_delete=False),
            Reference(path="iamInstanceProfile.name", kinds=(INSTANCE_PROFILE,), by=("name",), blocks_delete=False),
        ),
        unique=(("name",),),
        check=_template_problems,
        on_update=_new_version,
        updated_outputs=("latestVersion", "defaultVersion"),
    ),
    Kind(
        token=GROUP,
        name=Name(),
        make=_group,
        references=(
            Reference(path="vpcZoneIdentifiers[*]", kinds=(SUBNET,)),
            Reference(path="targetGroupArns[*]", kinds=(TARGET_GROUP,), by=("arn",), blocks_delete=False),
        ),
        unique=(("name",),),
        check=_group_problems,
        on_create=_group_fits,
        on_update=_group_fits,
        on_delete=_group_drains,
        blocks_delete=_group_holds,
    ),
)
