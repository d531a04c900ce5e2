"""Instances, their groups, and ECS on them."""

import base64
import copy
import functools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import botocore.session

from ...kind import REGION, Kind, Making, Name, Problems, Refers, RefusedError, Values
from ...paths import values_at
from ..common import among, between, group, groups, json_in, known, matches
from .edge import LISTENER, RULE, TARGET_GROUP
from .identity import INSTANCE_PROFILE, ROLE
from .network import SECURITY_GROUPS, SUBNET, in_one_vpc

if TYPE_CHECKING:
    from ...cloud import Cloud, Thing

LAUNCH_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
GROUP = "aws:autoscaling/group:Group"
CLUSTER = "aws:ecs/cluster:Cluster"
CAPACITY_PROVIDER = "aws:ecs/capacityProvider:CapacityProvider"
CLUSTER_PROVIDERS = "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders"
TASK_DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"
SERVICE = "aws:ecs/service:Service"
SCALED = "aws:appautoscaling/target:Target"


def _new_version(thing: "Thing", _cloud: "Cloud") -> None:
    thing.computed["latestVersion"] += 1
    if thing.inputs.get("updateDefaultVersion"):
        thing.computed["defaultVersion"] = thing.computed["latestVersion"]


def _template_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "name", r"[a-zA-Z0-9().\-/_]{3,128}")
    yield from matches(inputs, "imageId", r"ami-[0-9a-f]{8,17}|resolve:ssm:\S+")
    if inputs.get("vpcSecurityGroupIds") and inputs.get("networkInterfaces"):
        yield "vpcSecurityGroupIds", "with networkInterfaces the groups belong there"
    data = known(inputs, "userData")
    if data is not None:
        try:
            base64.b64decode(data, validate=True)
        except ValueError:
            yield "userData", "it is not base64"


def _group(making: Making) -> tuple[str, dict[str, object]]:
    name = str(making.inputs["name"])
    return name, {
        "arn": making.arn(
            "autoscaling",
            f"autoScalingGroup:{making.hexes(8)}-0000-4000-8000-{making.hexes(12)}:autoScalingGroupName/{name}",
        ),
    }


def _group_problems(inputs: Values) -> Problems:
    least, most, wanted = (known(inputs, field) for field in ("minSize", "maxSize", "desiredCapacity"))
    if least is not None and most is not None and least > most:
        yield "minSize", "it is above maxSize"
    if wanted is not None and least is not None and most is not None and not least <= wanted <= most:
        yield "desiredCapacity", "it is not between minSize and maxSize"
    if bool(inputs.get("launchTemplate")) == bool(
        inputs.get("mixedInstancesPolicy") or inputs.get("launchConfiguration")
    ):
        yield "launchTemplate", "exactly one of launchTemplate, mixedInstancesPolicy, launchConfiguration is wanted"
    if bool(inputs.get("vpcZoneIdentifiers")) == bool(inputs.get("availabilityZones")):
        yield "vpcZoneIdentifiers", "exactly one of vpcZoneIdentifiers, availabilityZones is wanted"


def _group_template(thing: "Thing", cloud: "Cloud") -> "Thing | None":
    named = [*values_at(thing.inputs, "launchTemplate.id"), *values_at(thing.inputs, "launchTemplate.name")]
    named += values_at(thing.inputs, "mixedInstancesPolicy.launchTemplate.launchTemplateSpecification.launchTemplateId")
    return next((one for one in cloud.of(LAUNCH_TEMPLATE) if {one.id, one.inputs.get("name")} & set(named)), None)


def _group_fits(thing: "Thing", cloud: "Cloud") -> None:
    template = _group_template(thing, cloud)
    if template is None:
        raise RefusedError("ValidationError: the launch template does not exist.")
    in_one_vpc(thing, cloud, values_at(thing.inputs, "vpcZoneIdentifiers[*]"), _groups_in(template))
    for version in values_at(thing.inputs, "launchTemplate.version"):
        if version not in ("$Latest", "$Default") and not 1 <= int(version) <= template.computed["latestVersion"]:
            raise RefusedError(f"ValidationError: {template} has no version {version}.")


def _groups_in(template: "Thing") -> set[Any]:
    interfaces = values_at(template.inputs, "networkInterfaces[*].securityGroups[*]")
    return {*values_at(template.inputs, "vpcSecurityGroupIds[*]"), *interfaces}


def _group_holds(thing: "Thing", cloud: "Cloud") -> Iterator["Thing"]:
    """Its instances' network interfaces hold their security groups, and run with their profile."""
    template = _group_template(thing, cloud)
    if template is None:
        return
    groups = _groups_in(template)
    for one in cloud:
        if one.kind.token in SECURITY_GROUPS and one.id in groups:
            yield one


def _group_drains(thing: "Thing", _cloud: "Cloud") -> None:
    # Without force_delete the provider sets the size to 0 and waits; protected instances never go.
    if thing.inputs.get("protectFromScaleIn") and not thing.inputs.get("forceDelete"):
        raise RefusedError(f"timeout while waiting for {thing} to drain: its instances are protected from scale-in.")


def _by_name(service: str, resource: str) -> Any:
    def make(making: Making) -> tuple[str, dict[str, object]]:
        arn = making.arn(service, f"{resource}/{making.inputs['name']}")
        return arn, {"arn": arn}

    return make


def _provider_fits(thing: "Thing", cloud: "Cloud") -> None:
    asked = group(thing.inputs, "autoScalingGroupProvider")
    instances = cloud.named(asked.get("autoScalingGroupArn"), (GROUP,), ("arn",))
    if asked.get("managedTerminationProtection") == "ENABLED":
        if not instances.inputs.get("protectFromScaleIn"):
            raise RefusedError("InvalidParameterException: managed termination protection needs a group that protects.")
        if group(asked, "managedScaling").get("status") != "ENABLED":
            raise RefusedError("InvalidParameterException: managed termination protection needs managed scaling.")


def _cluster_providers_unused(thing: "Thing", cloud: "Cloud") -> None:
    for service in cloud.of(SERVICE):
        if _cluster_of(service, cloud) == thing.inputs["clusterName"]:
            raise RefusedError(f"ResourceInUseException: a capacity provider of {thing.id} is in use by {service}.")


def _cluster_of(service: "Thing", cloud: "Cloud") -> str:
    return str(cloud.named(service.inputs.get("cluster"), (CLUSTER,)).inputs["name"])


@functools.cache
def _container_shape() -> Any:
    untyped: Any = botocore.session.Session()
    return untyped.get_service_model("ecs").shape_for("ContainerDefinition")


def _shape_problems(shape: Any, value: Any, path: str) -> Problems:
    """Against ECS's API model, as botocore ships it."""
    if shape.type_name == "structure":
        if not isinstance(value, dict):
            yield path, "an object is wanted"
            return
        for name, one in cast("dict[str, Any]", value).items():
            if name not in shape.members:
                yield f"{path}.{name}", "there is no such field"
            else:
                yield from _shape_problems(shape.members[name], one, f"{path}.{name}")
    elif shape.type_name == "list":
        for index, one in enumerate(cast("list[Any]", value) if isinstance(value, list) else []):
            yield from _shape_problems(shape.member, one, f"{path}[{index}]")
        if not isinstance(value, list):
            yield path, "a list is wanted"
    elif shape.type_name == "map":
        if not isinstance(value, dict):
            yield path, "an object is wanted"
    elif not isinstance(
        value, {"string": str, "boolean": bool, "integer": int, "long": int}.get(shape.type_name, object)
    ):
        yield path, f"{shape.type_name} is wanted, {value!r} is given"
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield path, f"{value!r} is given; allowed is {', '.join(shape.enum)}"


def _task_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "family", r"[a-zA-Z0-9_-]{1,255}")
    yield from among(inputs, "networkMode", ("bridge", "host", "awsvpc", "none"))
    try:
        containers: Any = json_in(inputs, "containerDefinitions")
    except ValueError:
        yield "containerDefinitions", "it is not JSON"
        return
    if containers is None:
        return
    for index, container in enumerate(containers):
        path = f"containerDefinitions[{index}]"
        yield from _shape_problems(_container_shape(), container, path)
        for field in ("name", "image"):
            if not container.get(field):
                yield path, f"it has no {field}"
        if not any((container.get("memory"), container.get("memoryReservation"), inputs.get("memory"))):
            yield path, "neither it nor the task has memory"
        if container.get("stopTimeout", 0) > 120 and "FARGATE" in (inputs.get("requiresCompatibilities") or []):
            yield path, "its stopTimeout is above 120"
        secrets = {one.get("name") for one in container.get("secrets", [])}
        doubled = secrets & {one.get("name") for one in container.get("environment", [])}
        if doubled:
            yield path, f"{doubled.pop()} is in environment and in secrets"
        if container.get("secrets") and not inputs.get("executionRoleArn"):
            yield "executionRoleArn", "secrets need it"


def _task_normal_form(inputs: Values) -> Values:
    """ECS returns both lists of capabilities, an empty one for one that was left out.

    The provider (terraform-provider-aws, internal/service/ecs/container_definitions.go) does not take the two forms as
    equal, and the field forces a replacement: braintrustdata/terraform-aws-braintrust-data-plane#335.
    """
    containers = json.loads(inputs["containerDefinitions"])
    returned = copy.deepcopy(containers)
    for container in returned:
        linux = container.get("linuxParameters", {})
        if "capabilities" in linux:
            linux["capabilities"] = {"add": [], "drop": [], **linux["capabilities"]}
    return inputs if returned == containers else {**inputs, "containerDefinitions": json.dumps(returned)}


def _task(making: Making) -> tuple[str, dict[str, object]]:
    family = str(making.inputs["family"])
    revision = 1 + sum(one.inputs["family"] == family for one in making.cloud.of(TASK_DEFINITION))
    revision = making.cloud.ticket() if revision > 1 else revision
    arn = making.arn("ecs", f"task-definition/{family}")
    return family, {"arn": f"{arn}:{revision}", "arnWithoutRevision": arn, "revision": revision}


def _service(making: Making) -> tuple[str, dict[str, object]]:
    cluster = making.found(making.inputs.get("cluster"), CLUSTER)
    arn = making.arn("ecs", f"service/{cluster.inputs['name']}/{making.inputs['name']}")
    return arn, {"arn": arn}


def _service_problems(inputs: Values) -> Problems:
    if inputs.get("launchType") and inputs.get("capacityProviderStrategies"):
        yield "launchType", "it conflicts with capacityProviderStrategies"
    yield from between(inputs, "deploymentMinimumHealthyPercent", 0, 100)
    yield from among(inputs, "propagateTags", ("SERVICE", "TASK_DEFINITION", "NONE"))
    yield from among(inputs, "availabilityZoneRebalancing", ("ENABLED", "DISABLED"))
    balanced = known(inputs, "availabilityZoneRebalancing") == "ENABLED"
    if balanced and (known(inputs, "deploymentMaximumPercent") or 200) <= 100:
        yield "deploymentMaximumPercent", "zone rebalancing needs more than 100"


def _service_fits(thing: "Thing", cloud: "Cloud") -> None:
    inputs = thing.inputs
    task = cloud.named(inputs.get("taskDefinition"), (TASK_DEFINITION,), ("arn", "family"))
    containers = {one["name"]: one for one in json.loads(task.inputs["containerDefinitions"])}
    awsvpc = task.inputs.get("networkMode") == "awsvpc"
    if awsvpc != bool(inputs.get("networkConfiguration")):
        raise RefusedError("InvalidParameterException: the network configuration belongs to the network mode awsvpc.")
    in_one_vpc(
        thing,
        cloud,
        values_at(inputs, "networkConfiguration.subnets[*]"),
        values_at(inputs, "networkConfiguration.securityGroups[*]"),
    )
    for entry in groups(inputs, "loadBalancers"):
        targets = cloud.named(entry["targetGroupArn"], (TARGET_GROUP,), ("arn",))
        used = any(targets.id in json.dumps(one.inputs) for one in cloud if one.kind.token in (LISTENER, RULE))
        if not used:
            raise RefusedError(
                f"InvalidParameterException: the target group {targets.id} does not have an associated load balancer."
            )
        if (targets.inputs.get("targetType") == "ip") != awsvpc:
            raise RefusedError("InvalidParameterException: the target group's type does not fit the network mode.")
        ports = [one.get("containerPort") for one in containers.get(entry["containerName"], {}).get("portMappings", [])]
        if entry["containerPort"] not in ports:
            raise RefusedError(f"InvalidParameterException: no port {entry['containerPort']} in {task}.")
    cluster = _cluster_of(thing, cloud)
    offered = {
        one
        for providers in cloud.of(CLUSTER_PROVIDERS)
        if providers.inputs["clusterName"] == cluster
        for one in values_at(providers.inputs, "capacityProviders[*]")
    }
    for name in values_at(inputs, "capacityProviderStrategies[*].capacityProvider"):
        if name not in offered:
            raise RefusedError(f"InvalidParameterException: the capacity provider {name} is not of cluster {cluster}.")


def _scaled_service(thing: "Thing", cloud: "Cloud") -> None:
    services = {f"service/{_cluster_of(one, cloud)}/{one.inputs['name']}" for one in cloud.of(SERVICE)}
    if thing.inputs["serviceNamespace"] == "ecs" and thing.inputs["resourceId"] not in services:
        raise RefusedError(f"ValidationException: ECS service doesn't exist: {thing.inputs['resourceId']}.")


def _scaled_target(thing: "Thing", cloud: "Cloud") -> None:
    fields = ("serviceNamespace", "resourceId", "scalableDimension")
    if not any(all(one.inputs[field] == thing.inputs[field] for field in fields) for one in cloud.of(SCALED)):
        raise RefusedError(f"ObjectNotFoundException: no scalable target for {thing.inputs['resourceId']}.")


def _policy_problems(inputs: Values) -> Problems:
    kind = inputs.get("policyType", "StepScaling")
    tracking = group(inputs, "targetTrackingScalingPolicyConfiguration")
    if (kind == "TargetTrackingScaling") != bool(inputs.get("targetTrackingScalingPolicyConfiguration")):
        yield "policyType", "TargetTrackingScaling and its configuration belong together"
    metric = group(tracking, "predefinedMetricSpecification")
    label = metric.get("resourceLabel")
    counts = metric.get("predefinedMetricType") == "ALBRequestCountPerTarget"
    if counts and not label:
        yield "targetTrackingScalingPolicyConfiguration", "ALBRequestCountPerTarget needs a resourceLabel"
    pattern = r"app/[\w-]+/[0-9a-f]+/targetgroup/[\w-]+/[0-9a-f]+"
    yield from matches({"resourceLabel": label} if counts else {}, "resourceLabel", pattern)


KINDS = (
    Kind(
        token=LAUNCH_TEMPLATE,
        name=Name(),
        make=lambda making: (
            made := f"lt-0{making.hexes(16)}",
            {"arn": making.arn("ec2", f"launch-template/{made}"), "latestVersion": 1, "defaultVersion": 1},
        ),
        refers=(
            Refers(path="vpcSecurityGroupIds[*]", kinds=SECURITY_GROUPS, holds=False),
            Refers(path="iamInstanceProfile.arn", kinds=(INSTANCE_PROFILE,), by=("arn",), holds=False),
            Refers(path="iamInstanceProfile.name", kinds=(INSTANCE_PROFILE,), by=("name",), holds=False),
        ),
        one_of=(("name",),),
        check=_template_problems,
        changed=_new_version,
        moves=("latestVersion", "defaultVersion"),
    ),
    Kind(
        token=GROUP,
        name=Name(),
        make=_group,
        refers=(
            Refers(path="vpcZoneIdentifiers[*]", kinds=(SUBNET,)),
            Refers(path="targetGroupArns[*]", kinds=(TARGET_GROUP,), by=("arn",), holds=False),
        ),
        one_of=(("name",),),
        check=_group_problems,
        made=_group_fits,
        changed=_group_fits,
        deleting=_group_drains,
        holds=_group_holds,
    ),
    Kind(
        token=CLUSTER,
        name=Name(),
        make=_by_name("ecs", "cluster"),
        one_of=(("name",),),
        check=lambda inputs: matches(inputs, "name", r"[a-zA-Z0-9_-]{1,255}"),
    ),
    Kind(
        token=CAPACITY_PROVIDER,
        name=Name(),
        make=_by_name("ecs", "capacity-provider"),
        refers=(Refers(path="autoScalingGroupProvider.autoScalingGroupArn", kinds=(GROUP,), by=("arn",)),),
        one_of=(("name",),),
        check=lambda inputs: matches(inputs, "name", r"(?!aws|ecs|fargate)[a-zA-Z0-9_-]{1,255}"),
        made=_provider_fits,
        changed=_provider_fits,
    ),
    Kind(
        token=CLUSTER_PROVIDERS,
        puts=True,
        make=lambda making: (str(making.inputs["clusterName"]), {}),
        refers=(
            Refers(path="clusterName", kinds=(CLUSTER,), by=("name",), holds=False, within=True),
            Refers(path="capacityProviders[*]", kinds=(CAPACITY_PROVIDER,), by=("name",)),
        ),
        one_of=(("clusterName",),),
        deleting=_cluster_providers_unused,
    ),
    Kind(
        token=TASK_DEFINITION,
        make=_task,
        key="arn",
        refers=(
            Refers(path="executionRoleArn", kinds=(ROLE,), by=("arn",), holds=False),
            Refers(path="taskRoleArn", kinds=(ROLE,), by=("arn",), holds=False),
        ),
        check=_task_problems,
        normal_form=_task_normal_form,
    ),
    Kind(
        token=SERVICE,
        name=Name(),
        make=_service,
        refers=(
            Refers(path="cluster", kinds=(CLUSTER,), by=("id", "arn", "name")),
            Refers(path="taskDefinition", kinds=(TASK_DEFINITION,), by=("arn", "family"), holds=False),
            Refers(path="loadBalancers[*].targetGroupArn", kinds=(TARGET_GROUP,), by=("arn",), holds=False),
            Refers(path="networkConfiguration.subnets[*]", kinds=(SUBNET,)),
            Refers(path="networkConfiguration.securityGroups[*]", kinds=SECURITY_GROUPS),
        ),
        one_of=(("cluster", "name"),),
        check=_service_problems,
        made=_service_fits,
        changed=_service_fits,
    ),
    Kind(
        token=SCALED,
        puts=True,
        make=lambda making: (
            str(making.inputs["resourceId"]),
            {"arn": making.arn("application-autoscaling", f"scalable-target/{making.hexes(32)}")},
        ),
        one_of=(("serviceNamespace", "resourceId", "scalableDimension"),),
        check=lambda inputs: among(inputs, "serviceNamespace", ("ecs", "sagemaker", "dynamodb", "ec2")),
        made=_scaled_service,
    ),
    Kind(
        token="aws:appautoscaling/policy:Policy",
        puts=True,
        name=Name(),
        make=lambda making: (
            str(making.inputs["name"]),
            {"arn": f"arn:aws:autoscaling:{REGION}:123456789012:scalingPolicy:{making.hexes(32)}", "alarmArns": []},
        ),
        one_of=(("name", "serviceNamespace", "resourceId"),),
        check=_policy_problems,
        made=_scaled_target,
    ),
)
