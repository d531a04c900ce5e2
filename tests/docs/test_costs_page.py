"""docs/costs.md: quantities match the stacks, and sums are correct. The prices are not tested."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from preview.graph import Graph, as_list
from proxy_app.auth import ROLES
from proxy_app.settings import Settings

from ..components.aws.scenarios import SCENARIOS
from .cost_tables import HOURS, cents, kinds, monthly, only, rows, stated_total

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "costs.md").read_text()
STACKS = {"dev": "development", "prod": "production"}


def scenario(name: str) -> Graph:
    (found,) = [scenario for scenario in SCENARIOS if scenario.name == name]
    return found.graph()


def graph(stack: str) -> Graph:
    return scenario(STACKS[stack])


def tasks(graph: Graph) -> int:
    return int(only(graph, "aws:ecs/service:Service")["desiredCount"])


def instances(kind: str) -> Callable[[Graph], int]:
    """Return a function that counts instances of a type. Each task has its own instance."""
    return lambda graph: tasks(graph) * (only(graph, "aws:ec2/launchTemplate:LaunchTemplate")["instanceType"] == kind)


def gigabytes(graph: Graph) -> int:
    disks = as_list(only(graph, "aws:ec2/launchTemplate:LaunchTemplate")["blockDeviceMappings"])
    assert {disk["ebs"]["volumeType"] for disk in disks} == {"gp3"}
    return tasks(graph) * sum(int(disk["ebs"]["volumeSize"]) for disk in disks)


def endpoints_in_zones(graph: Graph) -> int:
    found = [endpoint.inputs for endpoint in graph.of("aws:ec2/vpcEndpoint:VpcEndpoint")]
    return sum(len(as_list(inputs["subnetIds"])) for inputs in found if inputs["vpcEndpointType"] == "Interface")


def metrics(graph: Graph) -> int:
    """Count custom metrics: a metric filter with dimensions creates one for each of their values."""
    found = [
        resource.inputs["metricTransformation"]
        for resource in graph.of("aws:cloudwatch/logMetricFilter:LogMetricFilter")
    ]
    assert {tuple(metric["dimensions"]) for metric in found if "dimensions" in metric} == {("Role",)}
    return sum(len(ROLES) if "dimensions" in metric else 1 for metric in found)


def scaling_alarms(graph: Graph) -> int:
    return 2 * (
        len(graph.of("aws:appautoscaling/policy:Policy")) + len(graph.of("aws:ecs/capacityProvider:CapacityProvider"))
    )


COUNTS: Mapping[str, Callable[[Graph], int]] = {
    "NAT gateway": kinds("aws:ec2/natGateway:NatGateway"),
    "public IPv4 address of the NAT gateway": kinds("aws:ec2/eip:Eip"),
    "interface endpoint, in each availability zone": endpoints_in_zones,
    "load balancer": kinds("aws:lb/loadBalancer:LoadBalancer"),
    "instance, t4g.small": instances("t4g.small"),
    "disk, GB of gp3": gigabytes,
    "serverless MLflow app": kinds("aws:sagemaker/mlflowApp:MlflowApp"),
    "tracking server, Small": lambda graph: len(
        [
            server
            for server in graph.of("aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer")
            if server.inputs["trackingServerSize"] == "Small"
        ]
    ),
    "secret": kinds("aws:secretsmanager/secret:Secret"),
    "calls of a task to read the tokens": tasks,
    "log-based metric": metrics,
    "alarm": kinds("aws:cloudwatch/metricAlarm:MetricAlarm"),
    "scaling alarm, created by AWS": scaling_alarms,
    "dashboard": kinds("aws:cloudwatch/dashboard:Dashboard"),
    "web ACL (WAF)": kinds("aws:wafv2/webAcl:WebAcl"),
    "web ACL rule": lambda graph: sum(len(as_list(acl.inputs["rules"])) for acl in graph.of("aws:wafv2/webAcl:WebAcl")),
}
# Resource types without a fixed price.
FREE = re.compile(
    r"pulumi:|random:|docker-build:|aws:(acm|iam|ecr|ecs|autoscaling|appautoscaling|s3|sns|vpc|route53)/"
    r"|aws:ec2/(vpc|subnet|route|routeTable|routeTableAssociation|internetGateway|securityGroup|defaultSecurityGroup"
    r"|flowLog|vpcEndpoint|launchTemplate):|aws:lb/(targetGroup|listener|listenerRule):|aws:secretsmanager/secretVersion:"
    r"|aws:cloudwatch/(alarmMuteRule|logGroup|logMetricFilter|logResourcePolicy):|aws:wafv2/webAcl(Association|LoggingConfiguration):"
)
PRICED = re.compile(
    r"aws:(ec2/(natGateway|eip)|lb/loadBalancer|sagemaker/mlflow(App|TrackingServer)|secretsmanager/secret"
    r"|cloudwatch/(metricAlarm|dashboard)|wafv2/webAcl):"
)


@pytest.mark.parametrize("stack", STACKS)
def test_quantities_match_the_stack(stack: str) -> None:
    counted = {item: count(graph(stack)) for item, count in COUNTS.items()}
    assert {item: row.number for item, row in rows(PAGE, stack).items()} == {
        item: number for item, number in counted.items() if number
    }


@pytest.mark.parametrize("stack", STACKS)
def test_every_resource_type_is_free_or_priced(stack: str) -> None:
    kinds_there = {resource.type for resource in graph(stack).resources if resource.custom and not resource.read}
    assert not {kind for kind in kinds_there if not FREE.match(kind) and not PRICED.match(kind)}


@pytest.mark.parametrize("stack", STACKS)
def test_sums_are_correct(stack: str) -> None:
    found = rows(PAGE, stack).values()
    for row in found:
        assert monthly(row.number, row.price, hourly=row.hourly) == row.sum
    assert sum(row.sum for row in found) == stated_total(PAGE, stack)


def test_savings_match_the_tables() -> None:
    dev, prod = rows(PAGE, "dev"), rows(PAGE, "prod")
    ((price, server),) = re.findall(
        r"tracking server, Small \(([\d.]+) per hour\), .* \| `tracking.kind: server` \| \+([\d.]+) \|", PAGE
    )
    assert monthly(1, Decimal(price), hourly=True) == Decimal(server)
    assert COUNTS["tracking server, Small"](scenario("production-server")) == 1
    endpoint = "interface endpoint, in each availability zone"
    more = endpoints_in_zones(scenario("other-account")) - prod[endpoint].number
    assert f"| `tracking.assumeRoleArn` | +{monthly(more, prod[endpoint].price, hourly=True)} |" in PAGE
    nat = (
        prod["interface endpoint, in each availability zone"].sum
        - dev["NAT gateway"].sum
        - dev["public IPv4 address of the NAT gateway"].sum
    )
    assert f"| `network.egress: nat` | -{nat} |" in PAGE
    assert f"| `loadBalancer.waf: false` | -{prod['web ACL (WAF)'].sum + prod['web ACL rule'].sum} |" in PAGE
    assert f"| `monitoring.dashboard: false` | -{prod['dashboard'].sum} |" in PAGE
    task = sum(
        dev[item].sum for item in ("instance, t4g.small", "disk, GB of gp3", "calls of a task to read the tokens")
    )
    assert f"| `service.minTasks: 2` | +{task} |" in PAGE
    # Monday to Friday, from 8 to 20, as in the scenario.
    stopped = cents(task * (1 - Decimal(5 * 12) / (7 * 24)))
    assert f"| `service.schedule` | -{stopped} |" in PAGE
    assert scenario("schedule").of("aws:appautoscaling/scheduledAction:ScheduledAction")


def test_token_reads_match_the_reload_interval() -> None:
    (every,) = re.findall(r"reads the secret with the tokens every (\d+) seconds: ([\d,]+) calls per month", PAGE)
    reload = next(
        float(default) for name, default, _ in Settings.table() if name == "MLFLOW_PROXY_TOKENS_RELOAD_SECONDS"
    )
    assert int(every[0]) == reload
    times = HOURS * 3600 / reload
    assert int(every[1].replace(",", "")) == times
    assert rows(PAGE, "dev")["calls of a task to read the tokens"].price == Decimal(str(times / 10000 * 0.05))


def test_stack_file_states_the_total() -> None:
    for stack in STACKS:
        stated = f"${stated_total(PAGE, stack):.0f} a month"
        assert stated in (ROOT / f"Pulumi.{stack}.yaml").read_text()
        assert stated in (ROOT / "README.md").read_text()
