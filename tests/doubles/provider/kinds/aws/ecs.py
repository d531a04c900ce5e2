"""ECS on EC2 instances, and the scaling of its services."""

import functools
import json
from typing import TYPE_CHECKING, Any, cast

import botocore.session

from ...kind import REGION, CloudError, CreateRequest, Kind, Name, Problems, Reference, Values
from ...paths import values_at
from ..common import among, between, group, groups, json_in, known, matches
from .identity import ROLE
from .instances import GROUP
from .load_balancer import LISTENER, RULE, TARGET_GROUP
from .network import SECURITY_GROUPS, SUBNET, in_one_vpc

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

CLUSTER = "aws:ecs/cluster:Cluster"
CAPACITY_PROVIDER = "aws:ecs/capacityProvider:CapacityProvider"
CLUSTER_PROVIDERS = "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders"
TASK_DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"
SERVICE = "aws:ecs/service:Service"
SCALED = "aws:appautoscaling/target:Target"
SCHEDULED_ACTION = "aws:appautoscaling/scheduledAction:ScheduledAction"
# Minutes, hours, day of month or ?, month, days of the week or ?, year:
# https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html
_CRON = r"cron\([0-9]{1,2} [0-9]{1,2} (\?|\*) \* (\?|[A-Z]{3}(,[A-Z]{3})*) \*\)"


def _by_name(service: str, resource: str) -> Any:
    def make(request: CreateRequest) -> tuple[str, dict[str, object]]:
        arn = request.arn(service, f"{resource}/{request.inputs['name']}")
        return arn, {"arn": arn}

    return make


def _scheduled_action_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "schedule", _CRON)


def _provider_fits(resource: "Resource", cloud: "Cloud") -> None:
    settings = group(resource.inputs, "autoScalingGroupProvider")
    instances = cloud.find(settings.get("autoScalingGroupArn"), (GROUP,), ("arn",))
    if settings.get("managedTerminationProtection") == "ENABLED":
        if not instances.inputs.get("protectFromScaleIn"):
            raise CloudError(
                "InvalidParameterException: managed termination protection needs a group with protectFromScaleIn."
            )
        if group(settings, "managedScaling").get("status") != "ENABLED":
            raise CloudError("InvalidParameterException: managed termination protection needs managed scaling.")


def _cluster_providers_unused(resource: "Resource", cloud: "Cloud") -> None:
    for service in cloud.of(SERVICE):
        if _cluster_of(service, cloud) == resource.inputs["clusterName"]:
            raise CloudError(f"ResourceInUseException: a capacity provider of {resource.id} is in use by {service}.")


def _cluster_of(service: "Resource", cloud: "Cloud") -> str:
    return str(cloud.find(service.inputs.get("cluster"), (CLUSTER,)).inputs["name"])


@functools.cache
def _container_shape() -> Any:
    untyped: Any = botocore.session.Session()
    return untyped.get_service_model("ecs").shape_for("ContainerDefinition")


def _shape_problems(shape: Any, value: Any, path: str) -> Problems:
    """Check with the ECS API model of botocore."""
    if shape.type_name == "structure":
        if not isinstance(value, dict):
            yield path, "expected an object"
            return
        for name, member in cast("dict[str, Any]", value).items():
            if name not in shape.members:
                yield f"{path}.{name}", "unknown field"
            else:
                yield from _shape_problems(shape.members[name], member, f"{path}.{name}")
    elif shape.type_name == "list":
        for index, member in enumerate(cast("list[Any]", value) if isinstance(value, list) else []):
            yield from _shape_problems(shape.member, member, f"{path}[{index}]")
        if not isinstance(value, list):
            yield path, "expected a list"
    elif shape.type_name == "map":
        if not isinstance(value, dict):
            yield path, "expected an object"
    elif not isinstance(
        value, {"string": str, "boolean": bool, "integer": int, "long": int}.get(shape.type_name, object)
    ):
        yield path, f"got {value!r}, expected {shape.type_name}"
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield path, f"got {value!r}, expected {', '.join(shape.enum)}"


def _task_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "family", r"[a-zA-Z0-9_-]{1,255}")
    yield from among(inputs, "networkMode", ("bridge", "host", "awsvpc", "none"))
    try:
        containers: Any = json_in(inputs, "containerDefinitions")
    except ValueError:
        yield "containerDefinitions", "not valid JSON"
        return
    if containers is None:
        return
    for index, container in enumerate(containers):
        path = f"containerDefinitions[{index}]"
        yield from _shape_problems(_container_shape(), container, path)
        for field in ("name", "image"):
            if not container.get(field):
                yield path, f"{field} is required"
        if not any((container.get("memory"), container.get("memoryReservation"), inputs.get("memory"))):
            yield path, "memory is required, here or in the task definition"
        if container.get("stopTimeout", 0) > 120 and "FARGATE" in (inputs.get("requiresCompatibilities") or []):
            yield path, "stopTimeout is greater than 120"
        secrets = {secret.get("name") for secret in container.get("secrets", [])}
        doubled = secrets & {variable.get("name") for variable in container.get("environment", [])}
        if doubled:
            yield path, f"{doubled.pop()} is in environment and in secrets"
        if container.get("secrets") and not inputs.get("executionRoleArn"):
            yield "executionRoleArn", "required for secrets"


def _task(request: CreateRequest) -> tuple[str, dict[str, object]]:
    family = str(request.inputs["family"])
    revision = 1 + sum(task.inputs["family"] == family for task in request.cloud.of(TASK_DEFINITION))
    revision = request.cloud.next_number() if revision > 1 else revision
    arn = request.arn("ecs", f"task-definition/{family}")
    return family, {"arn": f"{arn}:{revision}", "arnWithoutRevision": arn, "revision": revision}


def _service(request: CreateRequest) -> tuple[str, dict[str, object]]:
    cluster = request.find(request.inputs.get("cluster"), CLUSTER)
    arn = request.arn("ecs", f"service/{cluster.inputs['name']}/{request.inputs['name']}")
    return arn, {"arn": arn}


def _service_problems(inputs: Values) -> Problems:
    if inputs.get("launchType") and inputs.get("capacityProviderStrategies"):
        yield "launchType", "conflicts with capacityProviderStrategies"
    yield from between(inputs, "deploymentMinimumHealthyPercent", 0, 100)
    yield from among(inputs, "propagateTags", ("SERVICE", "TASK_DEFINITION", "NONE"))
    yield from among(inputs, "availabilityZoneRebalancing", ("ENABLED", "DISABLED"))
    balanced = known(inputs, "availabilityZoneRebalancing") == "ENABLED"
    if balanced and (known(inputs, "deploymentMaximumPercent") or 200) <= 100:
        yield "deploymentMaximumPercent", "zone rebalancing requires more than 100"


def _service_fits(resource: "Resource", cloud: "Cloud") -> None:
    inputs = resource.inputs
    task = cloud.find(inputs.get("taskDefinition"), (TASK_DEFINITION,), ("arn", "family"))
    containers = {container["name"]: container for container in json.loads(task.inputs["containerDefinitions"])}
    awsvpc = task.inputs.get("networkMode") == "awsvpc"
    if awsvpc != bool(inputs.get("networkConfiguration")):
        raise CloudError("InvalidParameterException: the network configuration belongs to the network mode awsvpc.")
    in_one_vpc(
        resource,
        cloud,
        values_at(inputs, "networkConfiguration.subnets[*]"),
        values_at(inputs, "networkConfiguration.securityGroups[*]"),
    )
    for entry in groups(inputs, "loadBalancers"):
        targets = cloud.find(entry["targetGroupArn"], (TARGET_GROUP,), ("arn",))
        used = any(targets.id in json.dumps(other.inputs) for other in cloud if other.kind.token in (LISTENER, RULE))
        if not used:
            raise CloudError(
                f"InvalidParameterException: the target group {targets.id} does not have an associated load balancer."
            )
        if (targets.inputs.get("targetType") == "ip") != awsvpc:
            raise CloudError("InvalidParameterException: the target group's type does not fit the network mode.")
        ports = [
            mapping.get("containerPort")
            for mapping in containers.get(entry["containerName"], {}).get("portMappings", [])
        ]
        if entry["containerPort"] not in ports:
            raise CloudError(f"InvalidParameterException: no port {entry['containerPort']} in {task}.")
    cluster = _cluster_of(resource, cloud)
    offered = {
        name
        for providers in cloud.of(CLUSTER_PROVIDERS)
        if providers.inputs["clusterName"] == cluster
        for name in values_at(providers.inputs, "capacityProviders[*]")
    }
    for name in values_at(inputs, "capacityProviderStrategies[*].capacityProvider"):
        if name not in offered:
            raise CloudError(f"InvalidParameterException: the capacity provider {name} is not of cluster {cluster}.")


def _scaled_service(resource: "Resource", cloud: "Cloud") -> None:
    services = {f"service/{_cluster_of(service, cloud)}/{service.inputs['name']}" for service in cloud.of(SERVICE)}
    if resource.inputs["serviceNamespace"] == "ecs" and resource.inputs["resourceId"] not in services:
        raise CloudError(f"ValidationException: ECS service doesn't exist: {resource.inputs['resourceId']}.")


def _scaled_target(resource: "Resource", cloud: "Cloud") -> None:
    fields = ("serviceNamespace", "resourceId", "scalableDimension")
    if not any(all(target.inputs[field] == resource.inputs[field] for field in fields) for target in cloud.of(SCALED)):
        raise CloudError(f"ObjectNotFoundException: no scalable target for {resource.inputs['resourceId']}.")


def _policy_problems(inputs: Values) -> Problems:
    kind = inputs.get("policyType", "StepScaling")
    tracking = group(inputs, "targetTrackingScalingPolicyConfiguration")
    if (kind == "TargetTrackingScaling") != bool(inputs.get("targetTrackingScalingPolicyConfiguration")):
        yield "policyType", "TargetTrackingScaling requires its configuration, and other types exclude it"
    metric = group(tracking, "predefinedMetricSpecification")
    label = metric.get("resourceLabel")
    counts = metric.get("predefinedMetricType") == "ALBRequestCountPerTarget"
    if counts and not label:
        yield "targetTrackingScalingPolicyConfiguration", "ALBRequestCountPerTarget requires a resourceLabel"
    pattern = r"app/[\w-]+/[0-9a-f]+/targetgroup/[\w-]+/[0-9a-f]+"
    yield from matches({"resourceLabel": label} if counts else {}, "resourceLabel", pattern)


KINDS = (
    Kind(
        token=CLUSTER,
        name=Name(),
        make=_by_name("ecs", "cluster"),
        unique=(("name",),),
        check=lambda inputs: matches(inputs, "name", r"[a-zA-Z0-9_-]{1,255}"),
    ),
    Kind(
        token=CAPACITY_PROVIDER,
        name=Name(),
        make=_by_name("ecs", "capacity-provider"),
        references=(Reference(path="autoScalingGroupProvider.autoScalingGroupArn", kinds=(GROUP,), by=("arn",)),),
        unique=(("name",),),
        check=lambda inputs: matches(inputs, "name", r"(?!aws|ecs|fargate)[a-zA-Z0-9_-]{1,255}"),
        on_create=_provider_fits,
        on_update=_provider_fits,
    ),
    Kind(
        token=CLUSTER_PROVIDERS,
        overwrites=True,
        make=lambda request: (str(request.inputs["clusterName"]), {}),
        references=(
            Reference(path="clusterName", kinds=(CLUSTER,), by=("name",), blocks_delete=False, deleted_with=True),
            Reference(path="capacityProviders[*]", kinds=(CAPACITY_PROVIDER,), by=("name",)),
        ),
        unique=(("clusterName",),),
        on_delete=_cluster_providers_unused,
    ),
    Kind(
        token=TASK_DEFINITION,
        make=_task,
        key="arn",
        references=(
            Reference(path="executionRoleArn", kinds=(ROLE,), by=("arn",), blocks_delete=False),
            Reference(path="taskRoleArn", kinds=(ROLE,), by=("arn",), blocks_delete=False),
        ),
        check=_task_problems,
    ),
    Kind(
        token=SERVICE,
        name=Name(),
        make=_service,
        references=(
            Reference(path="cluster", kinds=(CLUSTER,), by=("id", "arn", "name")),
            Reference(path="taskDefinition", kinds=(TASK_DEFINITION,), by=("arn", "family"), blocks_delete=False),
            Reference(path="loadBalancers[*].targetGroupArn", kinds=(TARGET_GROUP,), by=("arn",), blocks_delete=False),
            Reference(path="networkConfiguration.subnets[*]", kinds=(SUBNET,)),
            Reference(path="networkConfiguration.securityGroups[*]", kinds=SECURITY_GROUPS),
        ),
        unique=(("cluster", "name"),),
        check=_service_problems,
        on_create=_service_fits,
        on_update=_service_fits,
    ),
    Kind(
        token=SCALED,
        overwrites=True,
        make=lambda request: (
            str(request.inputs["resourceId"]),
            {"arn": request.arn("application-autoscaling", f"scalable-target/{request.hex_digits(32)}")},
        ),
        unique=(("serviceNamespace", "resourceId", "scalableDimension"),),
        check=lambda inputs: among(inputs, "serviceNamespace", ("ecs", "sagemaker", "dynamodb", "ec2")),
        on_create=_scaled_service,
    ),
    Kind(
        token=SCHEDULED_ACTION,
        overwrites=True,
        name=Name(),
        make=lambda request: (
            "-".join(str(request.inputs[field]) for field in ("name", "serviceNamespace", "resourceId")),
            {"arn": request.arn("autoscaling", f"scheduledAction:{request.hex_digits(32)}")},
        ),
        unique=(("name", "serviceNamespace", "resourceId"),),
        check=_scheduled_action_problems,
        on_create=_scaled_target,
    ),
    Kind(
        token="aws:appautoscaling/policy:Policy",
        overwrites=True,
        name=Name(),
        make=lambda request: (
            str(request.inputs["name"]),
            {
                "arn": f"arn:aws:autoscaling:{REGION}:123456789012:scalingPolicy:{request.hex_digits(32)}",
                "alarmArns": [],
            },
        ),
        unique=(("name", "serviceNamespace", "resourceId"),),
        check=_policy_problems,
        on_create=_scaled_target,
    ),
)
