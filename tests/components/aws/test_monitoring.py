"""Metrics from the proxy's log, alarms, the SNS topic and the dashboard."""

import ast
import functools
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pulumi
import pulumi_aws as aws
import pytest

import proxy_app
from components.aws.load_balancer import LoadBalancer
from components.aws.load_balancer_settings import LoadBalancerSettings
from components.aws.metrics import METRICS
from components.aws.monitoring import Monitoring
from components.aws.network import Network
from components.aws.network_settings import NetworkSettings
from components.aws.proxy_log import ProxyLog
from components.aws.service import Service
from components.aws.settings import MonitoringSettings
from components.validation import SettingsError, validate_args
from preview.aws.mock_outputs import arn
from preview.graph import SECRET, Graph, Resource, strings_in
from preview.recorder import record
from proxy_app.access_log import AccessLog
from proxy_app.auth import ROLES, Principal, Role
from proxy_app.context import RequestRecord
from proxy_app.logs import JsonFormatter
from tests.doubles.routes import match_route

from .filter_pattern import matches
from .helpers import KEY, TIMING, make_deployment, only, record_stack, statements

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
FILTER = "aws:cloudwatch/logMetricFilter:LogMetricFilter"
TOPIC = "aws:sns/topic:Topic"
# The status of each function in proxy_app/errors.py.
STATUSES = {"unauthenticated": 401, "forbidden": 403, "bad_request": 400, "bad_gateway": 502, "unavailable": 503}
SYNTAX = {"as", "by", "count", "desc", "fields", "filter", "ispresent", "limit", "max", "pct", "sort", "stats", "sum"}


class _Log(pulumi.ComponentResource):
    def __init__(self) -> None:
        super().__init__("mlflow:aws:ProxyLog", "proxy-log")
        self.name = pulumi.Output.from_input("/mlflow/dev/proxy")
        self.arn = pulumi.Output.from_input(arn("logs", "log-group:/mlflow/dev/proxy"))


class _Service(pulumi.ComponentResource):
    def __init__(self) -> None:
        super().__init__("mlflow:aws:Service", "proxy-service")
        aws.ecs.Cluster("proxy-cluster", opts=pulumi.ResourceOptions(parent=self))
        self.cluster_name = pulumi.Output.from_input("proxy-cluster")
        self.capacity_provider = pulumi.Output.from_input("instances-proxy")
        self.instances_group_name = pulumi.Output.from_input("proxy-instances")
        self.service_name = pulumi.Output.from_input("proxy-service")


CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
# The dimensions of each metric of AWS, with the values here.
DIMENSIONS: dict[tuple[str, str], dict[str, str]] = {
    ("AWS/CertificateManager", "DaysToExpiry"): {"CertificateArn": CERTIFICATE},
    ("AWS/WAFV2", "BlockedRequests"): {"WebACL": "dev-proxy-waf", "Region": "eu-west-1", "Rule": "ALL"},
    ("AWS/ECS/ManagedScaling", "CapacityProviderReservation"): {
        "ClusterName": "proxy-cluster",
        "CapacityProviderName": "instances-proxy",
    },
    ("AWS/AutoScaling", "GroupTerminatingInstances"): {"AutoScalingGroupName": "proxy-instances"},
}


def record_monitoring(
    *, kms_key_arn: str | None = None, load_balancer: dict[str, Any] | None = None, **args: Any
) -> Graph:
    def program() -> None:
        deployment = make_deployment(kms_key_arn=kms_key_arn)
        network = Network(deployment, NetworkSettings(), public=False)
        monitoring = Monitoring(
            deployment,
            MonitoringSettings(**args),
            log=cast("ProxyLog", _Log()),
            load_balancer=LoadBalancer(
                deployment,
                LoadBalancerSettings.model_validate(load_balancer or {}),
                network=network,
                timing=TIMING,
                oidc_client_secret=None,
            ),
            service=cast("Service", _Service()),
        )
        pulumi.export("dashboard_url", monitoring.dashboard_url)
        pulumi.export("topic_arn", monitoring.topic_arn)

    return record(program)


@functools.cache
def monitoring_graph() -> Graph:
    return record_monitoring(
        alarm_email="ops@example.com",
        latency_threshold_seconds=7,
        load_balancer={"certificate_arn": CERTIFICATE, "waf": True},
    )


def alarms() -> list[Resource]:
    return monitoring_graph().of(ALARM)


def request_line(
    status: int, error: str = "", *, upstream_seconds: float | None = None, role: Role | None = None
) -> Any:
    """The access log line of a request, parsed."""
    lines: list[str] = []
    record = RequestRecord("0123456789abcdef", "POST")
    record.status, record.error, record.upstream_seconds = status, error, upstream_seconds
    record.route = match_route("POST", "/api/2.0/mlflow/runs/create")
    record.principal = Principal("ci", role, "token") if role else None
    AccessLog(lines.append).record(record)
    return json.loads(lines[0])


def event_line(event: str, level: int) -> Any:
    """The log line of an event, parsed."""
    line = logging.LogRecord("proxy_app", level, "", 0, "It happened.", None, None)
    line.event = event
    return json.loads(JsonFormatter().format(line))


def matching_metrics(line: Any) -> set[str]:
    """The metrics whose filter pattern matches a log line."""
    return {name for name, metric in METRICS.items() if matches(metric.pattern, line)}


def error_responses() -> Iterator[tuple[int, str]]:
    """(status, reason) of every error response with a literal reason in the proxy's source."""
    for file in Path(proxy_app.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            status = first if function == "ApiError" and isinstance(first, int) else STATUSES.get(function)
            for keyword in node.keywords:
                if keyword.arg == "reason" and isinstance(keyword.value, ast.Constant) and status is not None:
                    yield status, str(keyword.value.value)


FAILURES = sorted({(status, reason) for status, reason in error_responses() if status >= 500})


def test_source_scan_finds_known_error_responses() -> None:
    assert {
        (500, "internal-error"),
        (503, "aws-credentials-unavailable"),
        (502, "upstream-read-error"),
        (504, "upstream-timeout"),
    } <= set(FAILURES)


@pytest.mark.parametrize(("status", "reason"), FAILURES)
def test_every_5xx_reason_counts_as_proxy_error_or_upstream_error(status: int, reason: str) -> None:
    metrics = matching_metrics(request_line(status, reason)) & {"ProxyErrors", "UpstreamErrors"}
    assert len(metrics) == 1
    assert (metrics == {"UpstreamErrors"}) == (reason.startswith("upstream-") or reason == "ui-link-failed")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (500, ""),
        (503, ""),
        (200, "upstream-read-error"),
        (409, "outcome-unknown"),
        (403, "aws-error"),
        (503, "aws-error"),
    ],
)
def test_upstream_failure_counts_as_upstream_error(status: int, reason: str) -> None:
    assert matching_metrics(request_line(status, reason)) & {"ProxyErrors", "UpstreamErrors"} == {"UpstreamErrors"}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, ""),
        (404, ""),
        (401, "invalid-token"),
        (403, "role"),
        (429, "too-many-requests"),
        (429, "aws-error"),
        (499, "client-closed-request"),
    ],
)
def test_successful_or_client_error_response_counts_as_no_error(status: int, reason: str) -> None:
    assert not matching_metrics(request_line(status, reason)) & {"ProxyErrors", "UpstreamErrors"}


@pytest.mark.parametrize("reason", ["", "too-many-requests", "aws-error"])
def test_status_429_counts_as_throttled_with_any_reason(reason: str) -> None:
    assert "Throttled" in matching_metrics(request_line(429, reason))
    assert "Throttled" not in matching_metrics(request_line(200))


@pytest.mark.parametrize("role", ROLES)
def test_request_with_a_role_counts_by_role(role: Role) -> None:
    assert {"Requests", "RequestsByRole"} <= matching_metrics(request_line(200, role=role))


def test_unauthenticated_request_counts_without_a_role() -> None:
    assert matching_metrics(request_line(401, "invalid-token")) == {"Requests"}


def test_latency_counts_only_requests_sent_upstream() -> None:
    assert "Latency" in matching_metrics(request_line(200, upstream_seconds=0.0))
    assert "Latency" not in matching_metrics(request_line(401, "invalid-token"))
    assert METRICS["Latency"].value == "$.duration_ms"
    assert isinstance(request_line(200, upstream_seconds=1.5)["duration_ms"], float)


def test_credential_and_token_events_count_on_failure_and_not_on_recovery() -> None:
    assert matching_metrics(event_line("credentials", logging.WARNING)) == {"CredentialFailures"}
    assert matching_metrics(event_line("tokens", logging.ERROR)) == {"TokenReadFailures"}
    assert matching_metrics(event_line("not-ready", logging.WARNING)) == {"NotReady"}
    assert matching_metrics(event_line("ready", logging.INFO)) == set()
    assert (
        matching_metrics(event_line("credentials", logging.INFO))
        == matching_metrics(event_line("tokens", logging.INFO))
        == set()
    )


def test_proxy_logs_failure_events_at_the_levels_that_count() -> None:
    source = {
        name: (Path(proxy_app.__path__[0]) / name).read_text(encoding="utf-8")
        for name in ("credentials.py", "auth/tokens.py", "outage.py")
    }
    assert re.search(r'log\.warning\([^\n]*extra=\{"event": "credentials"\}\)', source["credentials.py"])
    assert 'Outage(log, "tokens")' in source["auth/tokens.py"]
    assert re.search(r"log\.error\([^\n]*extra=self\._extra\)", source["outage.py"])


def test_metric_filters_read_the_proxy_log_and_have_the_namespace_of_the_deployment() -> None:
    filters = {
        resource.inputs["metricTransformation"]["name"]: resource.inputs for resource in monitoring_graph().of(FILTER)
    }
    assert filters.keys() == METRICS.keys()
    for inputs in filters.values():
        assert inputs["logGroupName"] == "/mlflow/dev/proxy"
        transformation = inputs["metricTransformation"]
        assert transformation["namespace"] == "MLflow/dev/proxy"
        # CloudWatch accepts only one of the two.
        assert not {"defaultValue", "dimensions"} <= transformation.keys()


def test_latency_has_no_default_value() -> None:
    (latency,) = [resource for resource in monitoring_graph().of(FILTER) if resource.name == "proxy-metric-Latency"]
    assert "defaultValue" not in latency.inputs["metricTransformation"]


def test_every_alarm_has_an_existing_metric() -> None:
    for alarm in alarms():
        inputs = alarm.inputs
        if inputs["namespace"] == "MLflow/dev/proxy":
            assert inputs["metricName"] in METRICS
            assert METRICS[inputs["metricName"]].dimensions is None
        elif inputs["namespace"] == "AWS/ApplicationELB":
            assert inputs["dimensions"]["LoadBalancer"].startswith("app/")
        else:
            assert inputs["dimensions"] == DIMENSIONS[inputs["namespace"], inputs["metricName"]]
    (acl,) = monitoring_graph().of("aws:wafv2/webAcl:WebAcl")
    assert acl.inputs["visibilityConfig"]["metricName"] == DIMENSIONS["AWS/WAFV2", "BlockedRequests"]["WebACL"]


def test_alarms_of_certificate_and_waf_exist_only_with_them() -> None:
    without = {alarm.name for alarm in record_monitoring().of(ALARM)}
    assert {alarm.name for alarm in alarms()} - without == {"proxy-alarm-certificate-expiry", "proxy-alarm-waf-blocks"}


def test_group_publishes_the_metric_of_the_alarm_for_old_instances() -> None:
    group = only(record_stack(), "aws:autoscaling/group:Group")
    assert group.inputs["enabledMetrics"] == ["GroupTerminatingInstances"]


def test_existing_topic_is_notified_instead_of_a_new_one() -> None:
    topic = arn("sns", "operations")
    graph = record_monitoring(alarm_topic_arn=topic)
    assert graph.of(TOPIC) == graph.of("aws:sns/topicPolicy:TopicPolicy") == []
    assert all(alarm.inputs["alarmActions"] == alarm.inputs["okActions"] == [topic] for alarm in graph.of(ALARM))
    with pytest.raises(SettingsError, match=r"alarmEmail: applies to a new topic only"):
        validate_args(
            MonitoringSettings, {"alarmEmail": "a@b.cd", "alarmTopicArn": topic}, "monitoring", production=False
        )


def test_every_alarm_has_a_description_with_first_steps_and_notifies_the_topic() -> None:
    topic = only(monitoring_graph(), TOPIC).outputs["arn"]
    for alarm in alarms():
        assert "Look at" in alarm.inputs["alarmDescription"]
        assert len(alarm.inputs["alarmDescription"]) <= 1024
        assert alarm.inputs["alarmActions"] == alarm.inputs["okActions"] == [topic]
        assert ("statistic" in alarm.inputs) != ("extendedStatistic" in alarm.inputs)


def test_missing_data_breaches_only_the_healthy_task_alarm() -> None:
    breaching = [resource.name for resource in alarms() if resource.inputs["treatMissingData"] == "breaching"]
    assert breaching == ["proxy-alarm-no-healthy-task"]


def test_alarm_of_the_tokens_does_not_end_on_silence() -> None:
    """Lines without a failure set the metric to 0, which ends it; a log without lines says nothing of the tokens."""
    kept = [resource.name for resource in alarms() if resource.inputs["treatMissingData"] == "ignore"]
    assert kept == ["proxy-alarm-token-read-failures"]
    metric = next(
        resource.inputs["metricTransformation"]
        for resource in monitoring_graph().of(FILTER)
        if resource.inputs["metricTransformation"]["name"] == "TokenReadFailures"
    )
    assert metric["defaultValue"] == "0"


def test_alarms_depend_on_the_service() -> None:
    cluster_urn = only(monitoring_graph(), "aws:ecs/cluster:Cluster").urn
    assert all(cluster_urn in alarm.dependencies for alarm in alarms())


def test_latency_alarm_has_the_threshold_of_the_setting() -> None:
    alarm = only(monitoring_graph(), ALARM, "proxy-alarm-high-latency").inputs
    assert (alarm["threshold"], alarm["extendedStatistic"], alarm["comparisonOperator"]) == (
        7000,
        "p95",
        "GreaterThanThreshold",
    )


def test_topic_policy_allows_alarms_of_this_account_only() -> None:
    (statement,) = statements(only(monitoring_graph(), "aws:sns/topicPolicy:TopicPolicy").inputs["policy"])
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statement["Action"] == "sns:Publish"
    assert statement["Condition"]["ArnLike"] == {"aws:SourceArn": arn("cloudwatch", "alarm:*")}


def test_topic_uses_the_customer_key_or_no_kms_key() -> None:
    assert only(record_monitoring(kms_key_arn=KEY), TOPIC).inputs["kmsMasterKeyId"] == KEY
    assert "kmsMasterKeyId" not in only(monitoring_graph(), TOPIC).inputs


def test_only_alarm_email_adds_a_subscription() -> None:
    subscription = only(monitoring_graph(), "aws:sns/topicSubscription:TopicSubscription").inputs
    assert (subscription["protocol"], subscription["endpoint"]) == ("email", "ops@example.com")
    assert record_monitoring().of("aws:sns/topicSubscription:TopicSubscription") == []


def widgets() -> list[dict[str, Any]]:
    return json.loads(only(monitoring_graph(), "aws:cloudwatch/dashboard:Dashboard").inputs["dashboardBody"])["widgets"]


def test_dashboard_has_three_headings_and_shows_every_alarm() -> None:
    headings = [widget["properties"]["markdown"] for widget in widgets() if widget["type"] == "text"]
    assert headings == ["## Is it up?", "## Who uses it?", "## What is slow?"]
    (shown,) = [widget["properties"]["alarms"] for widget in widgets() if widget["type"] == "alarm"]
    assert shown == [alarm.outputs["arn"] for alarm in alarms()]


def test_dashboard_shows_existing_metrics_with_their_dimensions() -> None:
    series = [line for widget in widgets() if widget["type"] == "metric" for line in widget["properties"]["metrics"]]
    custom = [line for line in series if line[0] == "MLflow/dev/proxy"]
    assert custom
    assert {line[1] for line in custom} <= METRICS.keys()
    for line in custom:
        assert (METRICS[line[1]].dimensions is not None) == ("Role" in line)


def test_dashboard_queries_use_fields_of_the_access_log() -> None:
    fields = request_line(500, "internal-error").keys()
    queries = [widget["properties"]["query"] for widget in widgets() if widget["type"] == "log"]
    assert queries
    for query in queries:
        assert query.startswith("SOURCE '/mlflow/dev/proxy' | filter event = \"request\" |")
        words = set(re.findall(r"[a-z_]+", re.sub(r"SOURCE '[^']*'|\"[^\"]*\"|as \w+|@\w+", "", query)))
        aliases = set(re.findall(r"as (\w+)", query))
        assert words - aliases - SYNTAX <= fields


def test_dashboard_url_has_its_name_and_region() -> None:
    name = only(monitoring_graph(), "aws:cloudwatch/dashboard:Dashboard").inputs["dashboardName"]
    assert name == "dev-proxy-dashboard-eu-west-1"
    assert monitoring_graph().outputs["dashboard_url"] == (
        f"https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#dashboards/dashboard/{name}"
    )


def test_dashboard_false_creates_no_dashboard() -> None:
    graph = record_monitoring(dashboard=False)
    assert graph.of("aws:cloudwatch/dashboard:Dashboard") == []
    assert graph.outputs.get("dashboard_url") is None


def test_monitoring_inputs_contain_no_secret() -> None:
    assert not [
        resource.name for resource in monitoring_graph().resources if SECRET in set(strings_in(resource.inputs))
    ]
