"""Metrics from the proxy's own lines, alarms, the topic and the dashboard."""

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
from preview.aws.mock_outputs import arn
from preview.graph import Graph, Resource, texts
from preview.recorder import record
from proxy_app.access_log import AccessLog
from proxy_app.auth import ROLES, Principal, Role
from proxy_app.context import RequestRecord
from proxy_app.logs import JsonFormatter
from tests.doubles.routes import match_route

from .filter_pattern import matches
from .helpers import KEY, make_deployment, only, statements

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
FILTER = "aws:cloudwatch/logMetricFilter:LogMetricFilter"
TOPIC = "aws:sns/topic:Topic"
# The statuses that proxy_app/errors.py gives by its functions' names.
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
        self.service_name = pulumi.Output.from_input("proxy-service")


def recorded(*, kms_key_arn: str | None = None, **args: Any) -> Graph:
    def program() -> None:
        deployment = make_deployment(kms_key_arn=kms_key_arn)
        network = Network(deployment, NetworkSettings(), public=False)
        monitoring = Monitoring(
            deployment,
            MonitoringSettings(**args),
            log=cast("ProxyLog", _Log()),
            load_balancer=LoadBalancer(deployment, LoadBalancerSettings(), network=network, oidc_client_secret=None),
            service=cast("Service", _Service()),
        )
        pulumi.export("dashboard_url", monitoring.dashboard_url)
        pulumi.export("topic_arn", monitoring.topic_arn)

    return record(program)


@functools.cache
def graph() -> Graph:
    return recorded(alarm_email="ops@example.com", latency_threshold_seconds=7)


def alarms() -> list[Resource]:
    return graph().of(ALARM)


def request_line(status: int, error: str = "", *, waited: float | None = None, role: Role | None = None) -> Any:
    """What the proxy writes for a request, read as JSON."""
    lines: list[str] = []
    record = RequestRecord("0123456789abcdef", "POST", status=status, error=error, upstream_seconds=waited)
    record.route = match_route("POST", "/api/2.0/mlflow/runs/create")
    record.principal = Principal("ci", role, "token") if role else None
    AccessLog(lines.append).record(record)
    return json.loads(lines[0])


def event_line(event: str, level: int) -> Any:
    """What the proxy writes of an event, read as JSON."""
    line = logging.LogRecord("proxy_app", level, "", 0, "It happened.", None, None)
    line.event = event
    return json.loads(JsonFormatter().format(line))


def counted(line: Any) -> set[str]:
    return {name for name, metric in METRICS.items() if matches(metric.pattern, line)}


def refusals() -> Iterator[tuple[int, str]]:
    """(status, reason) of every refusal whose reason stands in the proxy's source."""
    for file in Path(proxy_app.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            status = first if called == "ApiError" and isinstance(first, int) else STATUSES.get(called)
            for keyword in node.keywords:
                if keyword.arg == "reason" and isinstance(keyword.value, ast.Constant) and status is not None:
                    yield status, str(keyword.value.value)


FAILURES = sorted({(status, reason) for status, reason in refusals() if status >= 500})


def test_the_proxy_source_tells_how_it_fails() -> None:
    assert {
        (500, "internal-error"),
        (503, "aws-credentials-unavailable"),
        (502, "upstream-read-error"),
        (504, "upstream-timeout"),
    } <= set(FAILURES)


@pytest.mark.parametrize(("status", "reason"), FAILURES)
def test_every_way_in_which_the_proxy_fails_a_request_is_the_proxy_or_mlflows(status: int, reason: str) -> None:
    failed = counted(request_line(status, reason)) & {"ProxyErrors", "UpstreamErrors"}
    assert len(failed) == 1
    assert (failed == {"UpstreamErrors"}) == (reason.startswith("upstream-") or reason == "ui-link-failed")


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
def test_what_mlflow_or_aws_did_is_not_the_proxy(status: int, reason: str) -> None:
    assert counted(request_line(status, reason)) & {"ProxyErrors", "UpstreamErrors"} == {"UpstreamErrors"}


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
def test_what_callers_did_is_nobodys_error(status: int, reason: str) -> None:
    assert not counted(request_line(status, reason)) & {"ProxyErrors", "UpstreamErrors"}


@pytest.mark.parametrize("reason", ["", "too-many-requests", "aws-error"])
def test_slowing_down_counts_whoever_asks_for_it(reason: str) -> None:
    assert "Throttled" in counted(request_line(429, reason))
    assert "Throttled" not in counted(request_line(200))


@pytest.mark.parametrize("role", ROLES)
def test_every_role_of_the_proxy_counts(role: Role) -> None:
    assert {"Requests", "RequestsByRole"} <= counted(request_line(200, role=role))


def test_nobody_has_no_role_but_counts() -> None:
    assert counted(request_line(401, "invalid-token")) == {"Requests"}


def test_only_answers_that_mlflow_was_asked_for_can_be_slow() -> None:
    assert "Latency" in counted(request_line(200, waited=0.0))
    assert "Latency" not in counted(request_line(401, "invalid-token"))
    assert METRICS["Latency"].value == "$.duration_ms"
    assert isinstance(request_line(200, waited=1.5)["duration_ms"], float)


def test_credentials_and_tokens_count_when_they_fail_and_not_when_they_come_back() -> None:
    assert counted(event_line("credentials", logging.WARNING)) == {"CredentialFailures"}
    assert counted(event_line("tokens", logging.ERROR)) == {"TokenReadFailures"}
    assert counted(event_line("credentials", logging.INFO)) == counted(event_line("tokens", logging.INFO)) == set()


def test_events_are_written_at_the_levels_that_count() -> None:
    source = {
        name: (Path(proxy_app.__path__[0]) / name).read_text(encoding="utf-8")
        for name in ("credentials.py", "auth/tokens.py")
    }
    assert re.search(r'log\.warning\([^\n]*extra=\{"event": "credentials"\}\)', source["credentials.py"])
    assert re.search(r'log\.error\([^\n]*extra=\{"event": "tokens"\}\)', source["auth/tokens.py"])


def test_each_metric_is_made_from_the_proxy_log_in_a_namespace_of_this_deployment() -> None:
    made = {one.inputs["metricTransformation"]["name"]: one.inputs for one in graph().of(FILTER)}
    assert made.keys() == METRICS.keys()
    for inputs in made.values():
        assert inputs["logGroupName"] == "/mlflow/dev/proxy"
        transformation = inputs["metricTransformation"]
        assert transformation["namespace"] == "MLflow/dev/proxy"
        # CloudWatch takes one of them.
        assert not {"defaultValue", "dimensions"} <= transformation.keys()


def test_no_latency_is_made_up_where_there_was_no_request() -> None:
    (latency,) = [one for one in graph().of(FILTER) if one.name == "proxy-metric-Latency"]
    assert "defaultValue" not in latency.inputs["metricTransformation"]


def test_every_alarm_watches_a_metric_that_is_there() -> None:
    for alarm in alarms():
        inputs = alarm.inputs
        if inputs["namespace"] == "MLflow/dev/proxy":
            assert inputs["metricName"] in METRICS
            assert METRICS[inputs["metricName"]].dimensions is None
        else:
            assert inputs["namespace"] == "AWS/ApplicationELB"
            assert inputs["dimensions"]["LoadBalancer"].startswith("app/")


def test_every_alarm_says_what_to_look_at_first_and_tells_somebody() -> None:
    topic = only(graph(), TOPIC).outputs["arn"]
    for alarm in alarms():
        assert "Look at" in alarm.inputs["alarmDescription"]
        assert len(alarm.inputs["alarmDescription"]) <= 1024
        assert alarm.inputs["alarmActions"] == alarm.inputs["okActions"] == [topic]
        assert ("statistic" in alarm.inputs) != ("extendedStatistic" in alarm.inputs)


def test_only_a_missing_proxy_is_alarming_when_nothing_is_measured() -> None:
    breaching = [one.name for one in alarms() if one.inputs["treatMissingData"] == "breaching"]
    assert breaching == ["proxy-alarm-no-healthy-task"]
    assert {one.inputs["treatMissingData"] for one in alarms()} == {"breaching", "notBreaching"}


def test_no_alarm_goes_off_for_a_service_that_is_not_there_yet_or_no_more() -> None:
    part_of_it = only(graph(), "aws:ecs/cluster:Cluster").urn
    assert all(part_of_it in alarm.dependencies for alarm in alarms())


def test_slow_is_what_the_setting_says() -> None:
    slow = only(graph(), ALARM, "proxy-alarm-high-latency").inputs
    assert (slow["threshold"], slow["extendedStatistic"], slow["comparisonOperator"]) == (
        7000,
        "p95",
        "GreaterThanThreshold",
    )


def test_only_alarms_of_this_account_may_tell_the_topic() -> None:
    (statement,) = statements(only(graph(), "aws:sns/topicPolicy:TopicPolicy").inputs["policy"])
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statement["Action"] == "sns:Publish"
    assert statement["Condition"]["ArnLike"] == {"aws:SourceArn": arn("cloudwatch", "alarm:*")}


def test_the_topic_uses_the_customers_key_and_never_one_that_alarms_cannot() -> None:
    assert only(recorded(kms_key_arn=KEY), TOPIC).inputs["kmsMasterKeyId"] == KEY
    assert "kmsMasterKeyId" not in only(graph(), TOPIC).inputs


def test_whoever_is_named_is_told_by_mail_and_nobody_else() -> None:
    told = only(graph(), "aws:sns/topicSubscription:TopicSubscription").inputs
    assert (told["protocol"], told["endpoint"]) == ("email", "ops@example.com")
    assert recorded().of("aws:sns/topicSubscription:TopicSubscription") == []


def widgets() -> list[dict[str, Any]]:
    return json.loads(only(graph(), "aws:cloudwatch/dashboard:Dashboard").inputs["dashboardBody"])["widgets"]


def test_the_dashboard_asks_the_three_questions_and_shows_every_alarm() -> None:
    asked = [one["properties"]["markdown"] for one in widgets() if one["type"] == "text"]
    assert asked == ["## Is it up?", "## Who uses it?", "## What is slow?"]
    (shown,) = [one["properties"]["alarms"] for one in widgets() if one["type"] == "alarm"]
    assert shown == [alarm.outputs["arn"] for alarm in alarms()]


def test_the_dashboard_shows_metrics_that_are_there() -> None:
    drawn = [line for one in widgets() if one["type"] == "metric" for line in one["properties"]["metrics"]]
    own = [line for line in drawn if line[0] == "MLflow/dev/proxy"]
    assert {line[1] for line in own} <= METRICS.keys()
    for line in own:
        assert (METRICS[line[1]].dimensions is not None) == ("Role" in line)


def test_the_dashboard_asks_the_log_for_fields_that_the_proxy_writes() -> None:
    fields = request_line(500, "internal-error").keys()
    queries = [one["properties"]["query"] for one in widgets() if one["type"] == "log"]
    assert queries
    for query in queries:
        assert query.startswith("SOURCE '/mlflow/dev/proxy' | filter event = \"request\" |")
        words = set(re.findall(r"[a-z_]+", re.sub(r"SOURCE '[^']*'|\"[^\"]*\"|as \w+|@\w+", "", query)))
        made = set(re.findall(r"as (\w+)", query))
        assert words - made - SYNTAX <= fields


def test_the_dashboards_address_names_it_and_its_region() -> None:
    name = only(graph(), "aws:cloudwatch/dashboard:Dashboard").inputs["dashboardName"]
    assert name == "dev-proxy-dashboard-eu-west-1"
    assert graph().outputs["dashboard_url"] == (
        f"https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#dashboards/dashboard/{name}"
    )


def test_a_dashboard_is_there_when_it_is_wanted_only() -> None:
    without = recorded(dashboard=False)
    assert without.of("aws:cloudwatch/dashboard:Dashboard") == []
    assert without.outputs.get("dashboard_url") is None


def test_nothing_that_is_watched_is_a_secret() -> None:
    assert not [one.name for one in graph().resources if "[secret]" in set(texts(one.inputs))]
