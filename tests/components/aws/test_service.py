"""The service: how it rolls over, scales, and ends."""

from typing import Any

import pytest

from preview.graph import Graph

from .helpers import KEY, only, record_stack, urns_needed_by

SERVICE = "aws:ecs/service:Service"
CLUSTER = "aws:ecs/cluster:Cluster"
TARGET = "aws:appautoscaling/target:Target"
POLICY = "aws:appautoscaling/policy:Policy"


def inputs(**service: Any) -> dict[str, Any]:
    return only(record_stack({"service": service}), SERVICE).inputs


@pytest.mark.parametrize("tasks", [1, 3])
def test_no_proxy_ends_before_a_new_one_has_taken_over(tasks: int) -> None:
    made = inputs(minTasks=tasks, maxTasks=tasks)
    assert made["deploymentMinimumHealthyPercent"] == 100
    assert made["deploymentMaximumPercent"] == 200
    group = only(record_stack({"service": {"minTasks": tasks, "maxTasks": tasks}}), "aws:autoscaling/group:Group")
    # Each proxy has an instance of its own, the new ones too.
    assert made["placementConstraints"] == [{"type": "distinctInstance"}]
    assert group.inputs["maxSize"] >= 2 * tasks


def test_proxy_are_in_different_zones_and_get_back_there() -> None:
    made = inputs(minTasks=2)
    assert made["orderedPlacementStrategies"] == [{"type": "spread", "field": "attribute:ecs.availability-zone"}]
    assert made["availabilityZoneRebalancing"] == "ENABLED"
    assert len(made["networkConfiguration"]["subnets"]) >= 2
    assert made["networkConfiguration"]["assignPublicIp"] is False


def test_a_rollout_that_fails_is_undone_and_told() -> None:
    made = inputs()
    assert made["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
    assert made["waitForSteadyState"] is True


@pytest.mark.parametrize("idle_timeout_seconds", [180, 4000])
def test_a_rollout_has_the_time_that_draining_takes(idle_timeout_seconds: int) -> None:
    graph = record_stack({"loadBalancer": {"idleTimeoutSeconds": idle_timeout_seconds}})
    (proxies,) = graph.of("aws:lb/targetGroup:TargetGroup")
    for seconds in only(graph, SERVICE).timeouts.values():
        assert int(seconds.removesuffix("s")) > 2 * proxies.inputs["deregistrationDelay"]


def test_scaling_may_change_the_number_of_proxy() -> None:
    assert only(record_stack(), SERVICE).ignore_changes == ("desiredCount",)


def test_scaling_keeps_to_its_bounds_and_goes_by_requests_and_processor() -> None:
    graph = record_stack({"service": {"minTasks": 2, "maxTasks": 5, "requestsPerTask": 1200, "cpuTargetPercent": 40}})
    target = only(graph, TARGET).inputs
    assert (target["minCapacity"], target["maxCapacity"]) == (2, 5)
    policies = {
        one.inputs["targetTrackingScalingPolicyConfiguration"]["predefinedMetricSpecification"][
            "predefinedMetricType"
        ]: (one.inputs["targetTrackingScalingPolicyConfiguration"])
        for one in graph.of(POLICY)
    }
    requests, cpu = policies["ALBRequestCountPerTarget"], policies["ECSServiceAverageCPUUtilization"]
    assert (requests["targetValue"], cpu["targetValue"]) == (1200, 40)
    balancer = only(graph, "aws:lb/loadBalancer:LoadBalancer").outputs["arnSuffix"]
    proxies = only(graph, "aws:lb/targetGroup:TargetGroup").outputs["arnSuffix"]
    # As PredefinedMetricSpecification documents it: app/<name>/<id>/targetgroup/<name>/<id>.
    assert requests["predefinedMetricSpecification"]["resourceLabel"] == f"{balancer}/{proxies}"
    assert "resourceLabel" not in cpu["predefinedMetricSpecification"]
    cluster, service = only(graph, CLUSTER), only(graph, SERVICE)
    assert target["resourceId"] == f"service/{cluster.outputs['name']}/{service.outputs['name']}"


def kept_for_the_service(graph: Graph) -> set[str]:
    return urns_needed_by(graph, only(graph, SERVICE))


def test_a_proxy_has_its_rights_its_tokens_and_its_ways_from_start_to_end() -> None:
    graph = record_stack()
    kept = kept_for_the_service(graph)
    rights = [
        only(graph, "aws:iam/rolePolicy:RolePolicy", f"proxy-{role}") for role in ("proxy", "execution", "instance")
    ]
    rules = [
        one
        for one in graph.resources
        if one.type.startswith("aws:vpc/securityGroup") and "SecurityGroups" in one.parent
    ]
    hashes = only(graph, "aws:secretsmanager/secretVersion:SecretVersion", "proxy-tokens")
    listeners = graph.of("aws:lb/listener:Listener")
    assert len(rules) == 6
    assert listeners
    assert {one.urn for one in [*rights, *rules, hashes, *listeners]} <= kept


def test_the_service_ends_before_its_instances_and_their_capacity_provider() -> None:
    graph = record_stack()
    kept = kept_for_the_service(graph)
    for kind in ("ecs/clusterCapacityProviders:ClusterCapacityProviders", "autoscaling/group:Group"):
        assert only(graph, f"aws:{kind}").urn in kept
    assert only(graph, SERVICE).inputs["forceDelete"] is True


def test_another_capacity_provider_is_an_update_and_no_error() -> None:
    # terraform-provider-aws refuses it without (capacityProviderStrategyCustomizeDiff).
    assert inputs()["forceNewDeployment"] is True


def test_nobody_gets_into_a_proxy_unless_told_so() -> None:
    assert inputs()["enableExecuteCommand"] is False
    assert "configuration" not in only(record_stack(), CLUSTER).inputs
    assert inputs(enableExecuteCommand=True)["enableExecuteCommand"] is True


def test_sessions_are_encrypted_with_the_customer_key() -> None:
    graph = record_stack({"kmsKeyArn": KEY, "service": {"enableExecuteCommand": True}})
    assert only(graph, CLUSTER).inputs["configuration"] == {
        "executeCommandConfiguration": {"kmsKeyId": KEY, "logging": "NONE"}
    }


@pytest.mark.parametrize(("given", "said"), [(False, "disabled"), (True, "enabled")])
def test_container_insights_are_as_told_whatever_the_account_does(given: bool, said: str) -> None:
    graph = record_stack({"service": {"containerInsights": given}})
    assert only(graph, CLUSTER).inputs["settings"] == [{"name": "containerInsights", "value": said}]


def test_tasks_and_their_interfaces_carry_the_tags() -> None:
    made = inputs()
    assert made["propagateTags"] == "SERVICE"
    assert made["tags"]["Component"] == "proxy"
