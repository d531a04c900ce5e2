"""The CloudWatch dashboard: availability, usage and latency."""

from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_aws import cloudwatch

from .deployment import Deployment
from .load_balancer import LoadBalancer
from .metrics import namespace
from .proxy_log import ProxyLog
from .service import Service

# Columns of CloudWatch's grid.
_WHOLE, _HALF, _THIRD = 24, 12, 8
_CONSOLES = {"aws": "console.aws.amazon.com", "aws-us-gov": "console.amazonaws-us-gov.com"}

Widget = dict[str, Any]


def dashboard(
    deployment: Deployment,
    *,
    log: ProxyLog,
    load_balancer: LoadBalancer,
    service: Service,
    alarms: Sequence[cloudwatch.MetricAlarm],
    parent: pulumi.Resource,
) -> pulumi.Output[str]:
    """Create the dashboard and return its URL in the console."""
    made = cloudwatch.Dashboard(
        deployment.logical_name("dashboard"),
        # Dashboard names are unique per account, across all regions.
        dashboard_name=pulumi.Output.concat(deployment.physical_name("dashboard", 200), "-", deployment.region),
        dashboard_body=pulumi.Output.json_dumps(
            {
                "widgets": [
                    *_availability(deployment, load_balancer, service, alarms),
                    *_usage(deployment, log),
                    *_latency(deployment, log),
                ]
            }
        ),
        opts=pulumi.ResourceOptions(parent=parent),
    )
    console = deployment.partition.apply(lambda partition: _CONSOLES.get(partition, _CONSOLES["aws"]))
    return pulumi.Output.format(
        "https://{0}.{1}/cloudwatch/home?region={0}#dashboards/dashboard/{2}",
        deployment.region,
        console,
        made.dashboard_name,
    )


def _availability(
    deployment: Deployment, load_balancer: LoadBalancer, service: Service, alarms: Sequence[cloudwatch.MetricAlarm]
) -> list[Widget]:
    where = namespace(deployment)
    balancer = ["LoadBalancer", load_balancer.arn_suffix]
    targets = ["TargetGroup", load_balancer.target_group_suffix, *balancer]
    ecs = ["ClusterName", service.cluster_name, "ServiceName", service.service_name]
    return [
        _title("Is it up?"),
        {
            "type": "alarm",
            "width": _WHOLE,
            "height": 3,
            "properties": {"title": "Alarms", "alarms": [alarm.arn for alarm in alarms]},
        },
        _graph(
            deployment,
            "Tasks",
            [
                ["AWS/ApplicationELB", "HealthyHostCount", *targets, {"stat": "Maximum"}],
                ["AWS/ApplicationELB", "UnHealthyHostCount", *targets, {"stat": "Maximum"}],
            ],
        ),
        _graph(
            deployment,
            "Errors",
            [
                [where, "ProxyErrors"],
                [where, "UpstreamErrors"],
                [where, "Throttled"],
                [where, "CredentialFailures"],
                ["AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", *balancer],
            ],
        ),
        _graph(
            deployment,
            "CPU and memory, percent",
            [
                ["AWS/ECS", "CPUUtilization", *ecs, {"stat": "Average"}],
                ["AWS/ECS", "MemoryUtilization", *ecs, {"stat": "Maximum"}],
            ],
        ),
    ]


def _usage(deployment: Deployment, log: ProxyLog) -> list[Widget]:
    where = namespace(deployment)
    by_role = [[where, "RequestsByRole", "Role", role] for role in ("viewer", "editor", "admin")]
    return [
        _title("Who uses it?"),
        _graph(deployment, "Requests", [[where, "Requests"], *by_role], width=_HALF),
        _table(
            deployment,
            log,
            "Clients",
            "| stats count(*) as requests, sum(bytes_in + bytes_out) as bytes, max(@timestamp) as seen by "
            "principal, role "
            "| sort requests desc | limit 20",
        ),
        _table(
            deployment,
            log,
            "Rejected requests",
            "| filter ispresent(error) | stats count(*) as requests by error, status, principal "
            "| sort requests desc | limit 20",
            width=_WHOLE,
        ),
    ]


def _latency(deployment: Deployment, log: ProxyLog) -> list[Widget]:
    where = namespace(deployment)
    return [
        _title("What is slow?"),
        _graph(
            deployment,
            "Response time in milliseconds",
            [[where, "Latency", {"stat": stat}] for stat in ("p50", "p95", "p99")],
            width=_HALF,
        ),
        _table(
            deployment,
            log,
            "Routes by total time",
            "| stats count(*) as requests, pct(duration_ms, 95) as p95, pct(upstream_duration_ms, 95) as "
            "upstream_p95, sum(duration_ms) as total "
            "by route, method | sort total desc | limit 20",
        ),
        _table(
            deployment,
            log,
            "Slowest requests",
            "| fields @timestamp, duration_ms, upstream_duration_ms, attempts, status, principal, method, route, "
            "request_id "
            "| sort duration_ms desc | limit 20",
            width=_WHOLE,
        ),
    ]


def _title(text: str) -> Widget:
    return {"type": "text", "width": _WHOLE, "height": 1, "properties": {"markdown": f"## {text}"}}


def _graph(deployment: Deployment, title: str, metrics: list[list[Any]], *, width: int = _THIRD) -> Widget:
    return {
        "type": "metric",
        "width": width,
        "height": 6,
        "properties": {
            "title": title,
            "region": deployment.region,
            "metrics": metrics,
            "stat": "Sum",
            "period": 300,
            "yAxis": {"left": {"min": 0}},
        },
    }


def _table(deployment: Deployment, log: ProxyLog, title: str, query: str, *, width: int = _HALF) -> Widget:
    return {
        "type": "log",
        "width": width,
        "height": 6,
        "properties": {
            "title": title,
            "region": deployment.region,
            "view": "table",
            "query": pulumi.Output.concat("SOURCE '", log.name, '\' | filter event = "request" ', query),
        },
    }
