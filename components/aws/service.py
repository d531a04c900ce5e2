"""The ECS service of the proxy: cluster, task definition with its two roles, service and scaling.

Instances and security groups are child components.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import pulumi
from pulumi_aws import appautoscaling, ecs
from pulumi_aws.appautoscaling import PolicyTargetTrackingScalingPolicyConfigurationArgs as _Tracking
from pulumi_aws.appautoscaling import (
    PolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecificationArgs as _Metric,
)

from .. import proxy_environment
from ..failure_hint import failure_hint
from ..limit_settings import LimitSettings
from ..roles import RoleRules
from .artifacts import ArtifactLocation
from .deployment import Deployment
from .identity import Statement, execution_statements, proxy_statements, role_policy, service_role
from .image import Image
from .instances import Instances
from .load_balancer import LoadBalancer
from .network import Network
from .proxy_log import ProxyLog
from .schedule_settings import ScheduleSettings, cron_time
from .security_groups import SecurityGroups
from .settings import Architecture, ServiceSettings
from .task import CONTAINER, container, environment
from .tokens import Tokens
from .tracking import Tracking

_CPU: dict[Architecture, str] = {"arm64": "ARM64", "amd64": "X86_64"}


class _Role(NamedTuple):
    arn: pulumi.Output[str]
    rights: pulumi.Resource


class _Rolling(TypedDict):
    deployment_minimum_healthy_percent: int
    deployment_maximum_percent: int
    deployment_circuit_breaker: ecs.ServiceDeploymentCircuitBreakerArgs
    placement_constraints: list[ecs.ServicePlacementConstraintArgs]
    ordered_placement_strategies: list[ecs.ServiceOrderedPlacementStrategyArgs]
    availability_zone_rebalancing: str
    health_check_grace_period_seconds: int
    wait_for_steady_state: bool
    force_new_deployment: bool
    force_delete: bool


def _rolling() -> _Rolling:
    """Settings for rolling updates and for the placement of tasks.

    New tasks start beside the old ones, each on its own instance. The capacity provider adds instances for tasks that
    cannot be placed, and removes empty ones after 15 minutes, so this also works with a single task.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/managed-scaling-behavior.html
    """
    return {
        "deployment_minimum_healthy_percent": 100,
        "deployment_maximum_percent": 200,
        "deployment_circuit_breaker": ecs.ServiceDeploymentCircuitBreakerArgs(enable=True, rollback=True),
        "placement_constraints": [ecs.ServicePlacementConstraintArgs(type="distinctInstance")],
        "ordered_placement_strategies": [
            ecs.ServiceOrderedPlacementStrategyArgs(type="spread", field="attribute:ecs.availability-zone")
        ],
        "availability_zone_rebalancing": "ENABLED",
        "health_check_grace_period_seconds": 60,
        # A failed rolling update is an error of `pulumi up`, with ECS's reason.
        "wait_for_steady_state": True,
        # The provider requires it to change the capacity provider; all other changes start a deployment as well.
        "force_new_deployment": True,
        # Also during a deployment.
        "force_delete": True,
    }


class Service(pulumi.ComponentResource):
    """The proxy's ECS service with its instances and scaling."""

    cluster_name: pulumi.Output[str]
    service_name: pulumi.Output[str]
    instances_group_name: pulumi.Output[str]
    """The autoscaling group's."""
    capacity_provider: pulumi.Output[str]

    def __init__(
        self,
        deployment: Deployment,
        args: ServiceSettings,
        *,
        architecture: Architecture,
        roles: RoleRules,
        network: Network,
        limits: LimitSettings,
        tracking: Tracking,
        artifacts: ArtifactLocation | None,
        image: Image,
        tokens: Tokens,
        load_balancer: LoadBalancer,
        log: ProxyLog,
        ui: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlflow:aws:Service", deployment.component, {}, opts)
        inside = pulumi.ResourceOptions(parent=self)
        self._deployment, self._args, self._load_balancer = deployment, args, load_balancer
        cluster = self._cluster()
        security_groups = SecurityGroups(deployment, network=network, load_balancer=load_balancer, opts=inside)
        instances = Instances(
            deployment,
            args,
            architecture=architecture,
            network=network,
            security_groups=security_groups,
            cluster=cluster,
            opts=inside,
        )
        task_role = self._task_role(tracking, artifacts, tokens)
        execution_role = self._execution_role(image, log)
        settings = environment(
            args,
            region=deployment.region,
            target_arn=tracking.target_arn,
            ui=ui,
            assume_role_arn=tracking.assume_role_arn,
            tokens_secret_arn=tokens.hashes_secret_arn,
            timing=load_balancer.timing,
            roles=roles,
            further={
                **limits.environment,
                **(artifacts.environment if artifacts else {}),
                **load_balancer.proxy_settings,
            },
        )
        task = self._task(architecture, self._container(settings, image, log, ui=ui), task_role, execution_role)
        # Tasks need their permissions to start, and until they stop.
        dependencies = [
            task_role.rights,
            execution_role.rights,
            instances.in_cluster,
            *load_balancer.listeners,
            tokens.hashes_ready,
        ]
        service = self._service(
            cluster, task, instances, security_groups, network, log, [*dependencies, security_groups]
        )
        self._scaling(cluster, service)

        self.cluster_name = cluster.name
        self.service_name = service.name
        self.instances_group_name = instances.group_name
        self.capacity_provider = instances.capacity_provider
        self.register_outputs(
            {
                "cluster_name": self.cluster_name,
                "service_name": self.service_name,
                "instances_group_name": self.instances_group_name,
            }
        )

    def _cluster(self) -> ecs.Cluster:
        deployment, args = self._deployment, self._args
        sessions = ecs.ClusterConfigurationExecuteCommandConfigurationArgs(
            # Sessions are not recorded; CloudTrail records who starts one.
            logging="NONE",
            kms_key_id=deployment.kms_key_arn,
        )
        return ecs.Cluster(
            deployment.logical_name("cluster"),
            settings=[
                ecs.ClusterSettingArgs(
                    # Explicit, since accounts can enable it for new clusters by default.
                    name="containerInsights",
                    value="enabled" if args.container_insights else "disabled",
                )
            ],
            configuration=ecs.ClusterConfigurationArgs(execute_command_configuration=sessions)
            if args.enable_execute_command
            else None,
            tags=deployment.tags_for("cluster"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _task_role(self, tracking: Tracking, artifacts: ArtifactLocation | None, tokens: Tokens) -> _Role:
        """The task role, with the proxy's permissions."""
        statements = proxy_statements(
            self._deployment,
            target_arn=tracking.target_arn,
            serverless=tracking.serverless,
            assume_role_arn=tracking.assume_role_arn,
            artifacts=artifacts,
            tokens_secret_arn=tokens.hashes_secret_arn,
            enable_execute_command=self._args.enable_execute_command,
        )
        return self._role("proxy", statements)

    def _execution_role(self, image: Image, log: ProxyLog) -> _Role:
        """The task execution role, with the permissions that ECS needs to start a task."""
        return self._role("execution", execution_statements(repository_arn=image.repository_arn, log_group_arn=log.arn))

    def _role(self, role: str, statements: Sequence[Statement]) -> _Role:
        made = service_role(self._deployment, role, "ecs-tasks.amazonaws.com", [], parent=self)
        return _Role(made.arn, role_policy(self._deployment, role, made, statements, parent=self))

    def _container(
        self, settings: Mapping[str, pulumi.Input[str]], image: Image, log: ProxyLog, *, ui: bool
    ) -> Mapping[str, Any]:
        return container(
            self._args,
            image=image.uri,
            settings=settings,
            log_group=log.name,
            region=self._deployment.region,
            timing=self._load_balancer.timing,
            ui=ui,
        )

    def _task(
        self, architecture: Architecture, proxy: Mapping[str, Any], task_role: _Role, execution_role: _Role
    ) -> ecs.TaskDefinition:
        deployment, args = self._deployment, self._args
        return ecs.TaskDefinition(
            deployment.logical_name("proxy"),
            family=deployment.physical_name("proxy", 255),
            container_definitions=pulumi.Output.json_dumps([proxy]),
            requires_compatibilities=["EC2"],
            network_mode="awsvpc",
            cpu=str(args.task_cpu_units),
            memory=str(args.task_memory_mib),
            runtime_platform=ecs.TaskDefinitionRuntimePlatformArgs(
                cpu_architecture=_CPU[architecture], operating_system_family="LINUX"
            ),
            task_role_arn=task_role.arn,
            execution_role_arn=execution_role.arn,
            tags=deployment.tags_for("proxy"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _service(
        self,
        cluster: ecs.Cluster,
        task: ecs.TaskDefinition,
        instances: Instances,
        security_groups: SecurityGroups,
        network: Network,
        log: ProxyLog,
        dependencies: Sequence[pulumi.Resource],
    ) -> ecs.Service:
        deployment, args, load_balancer = self._deployment, self._args, self._load_balancer
        rollout = f"{load_balancer.timing.rollout}s"
        return ecs.Service(
            deployment.logical_name("proxy"),
            cluster=cluster.arn,
            task_definition=task.arn,
            desired_count=args.min_tasks,
            capacity_provider_strategies=[
                ecs.ServiceCapacityProviderStrategyArgs(capacity_provider=instances.capacity_provider, weight=1)
            ],
            network_configuration=ecs.ServiceNetworkConfigurationArgs(
                subnets=list(network.private_subnet_ids),
                security_groups=[security_groups.tasks],
                assign_public_ip=False,
            ),
            load_balancers=[
                ecs.ServiceLoadBalancerArgs(
                    target_group_arn=load_balancer.target_group_arn,
                    container_name=CONTAINER,
                    container_port=proxy_environment.PORT,
                )
            ],
            **_rolling(),
            enable_execute_command=args.enable_execute_command,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            tags=deployment.tags_for("proxy"),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=dependencies,
                # Auto scaling changes it, from args.min_tasks upwards.
                ignore_changes=["desired_count"],
                hooks=failure_hint(
                    deployment.logical_name("service-failed"),
                    pulumi.Output.concat(
                        "The proxy's log says why its tasks did not become healthy: aws logs tail ",
                        log.name,
                        ' --since 1h | grep -v \'"event": "request"\'',
                    ),
                ),
                custom_timeouts=pulumi.CustomTimeouts(create=rollout, update=rollout, delete=rollout),
            ),
        )

    def _scaling(self, cluster: ecs.Cluster, service: ecs.Service) -> None:
        deployment, args, load_balancer = self._deployment, self._args, self._load_balancer
        target = appautoscaling.Target(
            deployment.logical_name("proxy"),
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=pulumi.Output.concat("service/", cluster.name, "/", service.name),
            min_capacity=args.min_tasks,
            max_capacity=args.max_tasks,
            tags=deployment.tags_for("proxy"),
            opts=pulumi.ResourceOptions(
                parent=self,
                # The scheduled actions change them.
                ignore_changes=None if args.schedule is None else ["min_capacity", "max_capacity"],
            ),
        )
        if args.schedule is not None:
            self._schedule(target, args.schedule)
        label = pulumi.Output.concat(load_balancer.arn_suffix, "/", load_balancer.target_group_suffix)
        self._target_tracking(target, "requests", "ALBRequestCountPerTarget", args.requests_per_task, label)
        self._target_tracking(target, "cpu", "ECSServiceAverageCPUUtilization", args.cpu_target_percent)

    def _schedule(self, target: appautoscaling.Target, schedule: ScheduleSettings) -> None:
        """No tasks outside of the schedule; the capacity provider then removes the instances within 15 minutes."""
        args = self._args
        previous: list[pulumi.Resource] = []
        for role, time, minimum, maximum in (
            ("start", schedule.start, args.min_tasks, args.max_tasks),
            ("stop", schedule.stop, 0, 0),
        ):
            action = appautoscaling.ScheduledAction(
                self._deployment.logical_name(f"schedule-{role}"),
                service_namespace=target.service_namespace,
                scalable_dimension=target.scalable_dimension,
                resource_id=target.resource_id,
                schedule=f"cron({cron_time(time)} ? * {schedule.weekdays()} *)",
                timezone=schedule.time_zone,
                scalable_target_action=appautoscaling.ScheduledActionScalableTargetActionArgs(
                    min_capacity=minimum, max_capacity=maximum
                ),
                # One after the other: AWS refuses concurrent changes of a target (ConcurrentUpdateException).
                opts=pulumi.ResourceOptions(parent=self, depends_on=previous),
            )
            previous = [action]

    def _target_tracking(
        self,
        target: appautoscaling.Target,
        role: str,
        metric: str,
        value: int,
        label: pulumi.Input[str] | None = None,
    ) -> None:
        appautoscaling.Policy(
            self._deployment.logical_name(f"scale-by-{role}"),
            policy_type="TargetTrackingScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            target_tracking_scaling_policy_configuration=_Tracking(
                predefined_metric_specification=_Metric(predefined_metric_type=metric, resource_label=label),
                target_value=value,
                scale_in_cooldown=300,
                # About the start time of an instance: the effect of the last step is not visible before.
                scale_out_cooldown=180,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
