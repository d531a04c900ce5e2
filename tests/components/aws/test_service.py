"""The ECS service: deployments, scaling, dependencies, and ECS Exec."""

from typing import Any

import pytest

from preview.graph import Graph

from .helpers import KEY, only, record_stack, transitive_dependencies

SERVICE = "aws:ecs/service:Service"
CLUSTER = "aws:ecs/cluster:Cluster"
TARGET = "aws:appautoscaling/target:Target"
POLICY = "aws:appautoscaling/policy:Policy"


def inputs(**service: Any) -> dict[str, Any]:
    return only(record_stack({"service": service}), SERVICE).inputs


@pytest.mark.parametrize("tasks", [1, 3])
def test_deployment_starts_new_tasks_before_it_stops_old_ones(tasks: int) -> None:
    service = inputs(minTasks=tasks, maxTasks=tasks)
    assert service["deploymentMinimumHealthyPercent"] == 100
    assert service["deploymentMaximumPercent"] == 200
    group = only(record_stack({"service": {"minTasks": tasks, "maxTasks": tasks}}), "aws:autoscaling/group:Group")
    # Each task runs on its own instance, also during a deployment.
    assert service["placementConstraints"] == [{"type": "distinctInstance"}]
    assert group.inputs["maxSize"] >= 2 * tasks


def test_tasks_are_spread_over_zones_and_rebalanced() -> None:
    service = inputs(minTasks=2)
    assert service["orderedPlacementStrategies"] == [{"type": "spread", "field": "attribute:ecs.availability-zone"}]
    assert service["availabilityZoneRebalancing"] == "ENABLED"
    assert len(service["networkConfiguration"]["subnets"]) >= 2
    assert service["networkConfiguration"]["assignPublicIp"] is False


def test_failed_deployment_is_rolled_back_and_awaited() -> None:
    service = inputs()
    assert service["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
    assert service["waitForSteadyState"] is True


@pytest.mark.parametrize("seconds", [310, 3600])
def test_timeouts_are_longer_than_two_deregistration_delays(seconds: int) -> None:
    graph = record_stack({"service": {"longUpstreamTimeoutSeconds": seconds}})
    (target_group,) = graph.of("aws:lb/targetGroup:TargetGroup")
    timeouts = only(graph, SERVICE).timeouts
    assert timeouts.keys() == {"create", "update", "delete"}
    for timeout in timeouts.values():
        assert int(timeout.removesuffix("s")) > 2 * target_group.inputs["deregistrationDelay"]


def test_desired_count_is_ignored() -> None:
    assert only(record_stack(), SERVICE).ignore_changes == ("desiredCount",)


def test_scaling_has_minimum_maximum_and_targets_for_requests_and_cpu() -> None:
    graph = record_stack({"service": {"minTasks": 2, "maxTasks": 5, "requestsPerTask": 1200, "cpuTargetPercent": 40}})
    target = only(graph, TARGET).inputs
    assert (target["minCapacity"], target["maxCapacity"]) == (2, 5)
    policies = {
        resource.inputs["targetTrackingScalingPolicyConfiguration"]["predefinedMetricSpecification"][
            "predefinedMetricType"
        ]: resource.inputs["targetTrackingScalingPolicyConfiguration"]
        for resource in graph.of(POLICY)
    }
    requests, cpu = policies["ALBRequestCountPerTarget"], policies["ECSServiceAverageCPUUtilization"]
    assert (requests["targetValue"], cpu["targetValue"]) == (1200, 40)
    balancer = only(graph, "aws:lb/loadBalancer:LoadBalancer").outputs["arnSuffix"]
    target_group = only(graph, "aws:lb/targetGroup:TargetGroup").outputs["arnSuffix"]
    # As PredefinedMetricSpecification documents it: app/<name>/<id>/targetgroup/<name>/<id>.
    assert requests["predefinedMetricSpecification"]["resourceLabel"] == f"{balancer}/{target_group}"
    assert "resourceLabel" not in cpu["predefinedMetricSpecification"]
    cluster, service = only(graph, CLUSTER), only(graph, SERVICE)
    assert target["resourceId"] == f"service/{cluster.outputs['name']}/{service.outputs['name']}"


def dependencies_of_the_service(graph: Graph) -> set[str]:
    return transitive_dependencies(graph, only(graph, SERVICE))


def test_service_needs_role_policies_security_group_rules_tokens_and_listeners() -> None:
    graph = record_stack()
    needed = dependencies_of_the_service(graph)
    role_policies = [
        only(graph, "aws:iam/rolePolicy:RolePolicy", f"proxy-{role}") for role in ("proxy", "execution", "instance")
    ]
    rules = [
        resource
        for resource in graph.resources
        if resource.type.startswith("aws:vpc/securityGroup") and "SecurityGroups" in resource.parent
    ]
    hashes = only(graph, "aws:secretsmanager/secretVersion:SecretVersion", "proxy-tokens")
    listeners = graph.of("aws:lb/listener:Listener")
    assert len(rules) == 6
    assert listeners
    assert {resource.urn for resource in [*role_policies, *rules, hashes, *listeners]} <= needed


def test_service_is_deleted_before_instances_and_capacity_provider() -> None:
    graph = record_stack()
    needed = dependencies_of_the_service(graph)
    for kind in ("ecs/clusterCapacityProviders:ClusterCapacityProviders", "autoscaling/group:Group"):
        assert only(graph, f"aws:{kind}").urn in needed
    assert only(graph, SERVICE).inputs["forceDelete"] is True


def test_capacity_provider_change_forces_a_new_deployment() -> None:
    # terraform-provider-aws rejects the change otherwise (capacityProviderStrategyCustomizeDiff).
    assert inputs()["forceNewDeployment"] is True


def test_ecs_exec_is_disabled_unless_set() -> None:
    assert inputs()["enableExecuteCommand"] is False
    assert "configuration" not in only(record_stack(), CLUSTER).inputs
    assert inputs(enableExecuteCommand=True)["enableExecuteCommand"] is True


def test_ecs_exec_sessions_are_encrypted_with_the_customer_key() -> None:
    graph = record_stack({"kmsKeyArn": KEY, "service": {"enableExecuteCommand": True}})
    assert only(graph, CLUSTER).inputs["configuration"] == {
        "executeCommandConfiguration": {"kmsKeyId": KEY, "logging": "NONE"}
    }


@pytest.mark.parametrize(("enabled", "value"), [(False, "disabled"), (True, "enabled")])
def test_container_insights_are_set_explicitly(enabled: bool, value: str) -> None:
    graph = record_stack({"service": {"containerInsights": enabled}})
    assert only(graph, CLUSTER).inputs["settings"] == [{"name": "containerInsights", "value": value}]


def test_tags_are_propagated_to_tasks() -> None:
    service = inputs()
    assert service["propagateTags"] == "SERVICE"
    assert service["tags"]["Component"] == "proxy"


def test_only_what_names_the_target_to_the_proxy_waits_for_a_tracking_server() -> None:
    """Its creation takes up to 25 minutes: endpoints, cluster and instances fail, if they do, before."""
    settings = {"tracking": {"kind": "server"}, "network": {"egress": "endpoints"}}
    graph = record_stack(settings)
    server = only(graph, "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer")
    waiting = {
        resource.type
        for resource in graph.resources
        if resource.custom and server.urn in transitive_dependencies(graph, resource)
    }
    assert waiting == {
        # The permission of the task role, and the proxy's environment.
        "aws:iam/rolePolicy:RolePolicy",
        "aws:ecs/taskDefinition:TaskDefinition",
        SERVICE,
        "aws:appautoscaling/target:Target",
        "aws:appautoscaling/policy:Policy",
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        "aws:cloudwatch/dashboard:Dashboard",
    }
    (policy,) = [
        policy
        for policy in graph.of("aws:iam/rolePolicy:RolePolicy")
        if server.urn in transitive_dependencies(graph, policy)
    ]
    assert policy.name == "proxy-proxy"
