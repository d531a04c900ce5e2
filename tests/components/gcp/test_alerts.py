"""Alerting policies and the notification channel."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pydantic.alias_generators import to_camel

from components.gcp.app_settings import AppSettings
from components.gcp.data_settings import DatabaseSettings
from components.gcp.log_bucket import service_log_filter
from preview.graph import strings_in

from .helpers import PROJECT, only
from .monitoring_filter import METRICS, NUMERIC, aggregate, metric_of
from .promql import selectors
from .recorded_monitoring import CHANNEL, INSTANCE, POLICY, conditions, default_graph, log_metrics, record_monitoring

ALERTS = {
    "no-instance",
    "canary",
    "max-instances",
    "container-exits",
    "stale-keys",
    "server-errors",
    "latency",
    "database-cpu",
    "database-disk",
    "database-connections",
}
PROMQL = "conditionPrometheusQueryLanguage"
FILTER_CONDITIONS = [
    (kind, name, condition)
    for kind in ("conditionThreshold", "conditionAbsent")
    for name, condition in conditions(default_graph(), kind)
]


def policy(name: str) -> Mapping[str, Any]:
    return only(default_graph(), POLICY, f"mlflow-alert-{name}").inputs


def condition(name: str, kind: str) -> Mapping[str, Any]:
    (alert_condition,) = policy(name)["conditions"]
    return alert_condition[kind]


def seconds(text: str) -> int:
    assert re.fullmatch(r"\d+s", text)
    return int(text[:-1])


def test_alerts_cover_the_service_and_the_database() -> None:
    assert {alert.name.removeprefix("mlflow-alert-") for alert in default_graph().of(POLICY)} == ALERTS


@pytest.mark.parametrize(
    ("kind", "name", "alert_condition"), FILTER_CONDITIONS, ids=[name for _, name, _ in FILTER_CONDITIONS]
)
def test_condition_is_valid_in_cloud_monitoring(kind: str, name: str, alert_condition: Mapping[str, Any]) -> None:
    metric = metric_of(alert_condition["filter"], log_metrics(default_graph()))
    (aggregation,) = alert_condition["aggregations"]
    assert aggregate(metric, aggregation)[1] in NUMERIC
    duration = seconds(alert_condition["duration"])
    assert duration % 60 == 0
    if kind == "conditionAbsent":
        assert duration >= 120
    else:
        # https://github.com/hashicorp/terraform-provider-google, website/docs/r/monitoring_alert_policy
        assert alert_condition["comparison"] in ("COMPARISON_GT", "COMPARISON_LT")
        # evaluationMissingData requires a duration.
        assert duration >= 60
        assert alert_condition["evaluationMissingData"] == "EVALUATION_MISSING_DATA_INACTIVE"


@pytest.mark.parametrize(
    ("kind", "name", "alert_condition"), FILTER_CONDITIONS, ids=[name for _, name, _ in FILTER_CONDITIONS]
)
def test_condition_selects_one_service_or_one_database(
    kind: str, name: str, alert_condition: Mapping[str, Any]
) -> None:
    filter_text = alert_condition["filter"]
    assert f'resource.labels.project_id = "{PROJECT}"' in filter_text
    database = f'resource.labels.database_id = "{PROJECT}:{INSTANCE}"'
    assert (database if "-database-" in name else 'resource.labels.module_id = "mlflow"') in filter_text
    # Aggregated to one time series: a changed label, such as the zone, would start another.
    (aggregation,) = alert_condition["aggregations"]
    assert "groupByFields" not in aggregation


def test_filters_use_no_log_based_metric() -> None:
    """Otherwise the first `up` fails: hashicorp/terraform-provider-google#11102."""
    for _, _, alert_condition in FILTER_CONDITIONS:
        metric_of(alert_condition["filter"], {})
    queries = dict(conditions(default_graph(), PROMQL))
    assert queries.keys() == {
        "mlflow-alert-canary",
        "mlflow-alert-container-exits",
        "mlflow-alert-stale-keys",
        "mlflow-alert-latency",
    }
    assert all(query["disableMetricValidation"] is True for query in queries.values())


def test_promql_queries_use_log_metrics_of_this_stack() -> None:
    for name, alert_condition in conditions(default_graph(), PROMQL):
        for metric, labels in selectors(alert_condition["query"], log_metrics(default_graph())):
            assert metric in log_metrics(default_graph()), name
            assert labels["project_id"] == PROJECT
        assert seconds(alert_condition["evaluationInterval"]) % 30 == 0
        seconds(alert_condition["duration"])


def test_policy_has_one_condition() -> None:
    """A policy with a PromQL condition allows no other, and e-mails do not name the condition."""
    for alert in default_graph().of(POLICY):
        assert len(alert.inputs["conditions"]) == 1
        assert alert.inputs["combiner"] == "OR"


def test_only_absence_alert_stays_open_without_data() -> None:
    assert [name for name, _ in conditions(default_graph(), "conditionAbsent")] == ["mlflow-alert-no-instance"]
    for alert in default_graph().of(POLICY):
        auto_close = seconds(alert.inputs["alertStrategy"]["autoClose"])
        # Cloud Monitoring's limits.
        assert 1800 <= auto_close <= 7 * 86400
        assert (auto_close == 7 * 86400) == (alert.name == "mlflow-alert-no-instance")


def test_absence_duration_exceeds_metric_delay() -> None:
    """metricDescriptors.list documents a delay of 240 s and a sampling period of 60 s."""
    assert seconds(condition("no-instance", "conditionAbsent")["duration"]) > 240 + 60


def test_channel_is_notified_of_open_and_close_and_reminded_of_critical_alerts() -> None:
    channel = only(default_graph(), CHANNEL).outputs["name"]
    for alert in default_graph().of(POLICY):
        assert alert.inputs["notificationChannels"] == [channel]
        strategy = alert.inputs["alertStrategy"]
        assert strategy["notificationPrompts"] == ["OPENED", "CLOSED"]
        # Only log-match policies accept it.
        assert "notificationRateLimit" not in strategy
        reminders = strategy.get("notificationChannelStrategies", [])
        assert bool(reminders) == (alert.inputs["severity"] == "CRITICAL")
        for reminder in reminders:
            assert reminder["notificationChannelNames"] == [channel]
            assert 1800 <= seconds(reminder["renotifyInterval"]) <= 86400


def test_monitoring_without_email_has_no_channel() -> None:
    graph = record_monitoring(canary=True)
    assert graph.of(CHANNEL) == []
    assert len(graph.of(POLICY)) == len(ALERTS)
    for alert in graph.of(POLICY):
        assert not alert.inputs.get("notificationChannels")
        assert "notificationChannelStrategies" not in alert.inputs["alertStrategy"]


def test_channel_has_the_configured_address() -> None:
    channel = only(default_graph(), CHANNEL).inputs
    assert (channel["type"], channel["labels"]) == ("email", {"email_address": "ops@example.com"})


def test_only_outages_are_critical() -> None:
    severities = {
        alert.name.removeprefix("mlflow-alert-"): alert.inputs["severity"] for alert in default_graph().of(POLICY)
    }
    assert {name for name, severity in severities.items() if severity == "CRITICAL"} == {"no-instance", "canary"}
    assert {name for name, severity in severities.items() if severity == "ERROR"} == {
        "container-exits",
        "stale-keys",
        "server-errors",
        "database-disk",
    }
    assert set(severities.values()) == {"CRITICAL", "ERROR", "WARNING"}


def test_documentation_has_a_cause_sentence_and_a_check_sentence() -> None:
    for alert in default_graph().of(POLICY):
        document = alert.inputs["documentation"]
        assert document["mimeType"] == "text/markdown"
        first, second = re.split(r"(?<=\.) (?=[A-Z])", document["content"])
        assert first.endswith(".")
        assert second.startswith("Check ")
        assert second.endswith(".")
        assert len(document["content"]) < 8192


def test_settings_named_by_alerts_exist() -> None:
    groups = {"app": AppSettings, "database": DatabaseSettings}
    existing = {f"{group}.{to_camel(name)}" for group, args in groups.items() for name in args.model_fields}
    named = {
        word
        for alert in default_graph().of(POLICY)
        for word in re.findall(r"`([a-z]+\.[A-Za-z]+)`", alert.inputs["documentation"]["content"])
    }
    assert {"app.maxInstances", "database.tier"} <= named <= existing


def test_links_lead_to_the_console_of_the_project() -> None:
    for alert in default_graph().of(POLICY):
        for link in alert.inputs["documentation"]["links"]:
            address = urlsplit(str(link["url"]))
            assert (address.scheme, address.netloc) == ("https", "console.cloud.google.com")
            assert parse_qs(address.query)["project"] == [PROJECT]
            assert len(link["url"]) <= 2083
            assert 0 < len(link["displayName"]) <= 63
            if link["displayName"] == "Log":
                assert unquote(address.path.partition(";query=")[2]) == service_log_filter("mlflow")
            if link["displayName"] == "Database":
                assert f"/{INSTANCE}/" in address.path


def test_display_names_differ_between_stacks_and_components() -> None:
    deployments = (("dev", "a"), ("prod", "a"), ("dev", "b"))
    graphs = [record_monitoring(stack=stack, name=name, canary=True) for stack, name in deployments]
    display_names = [
        alert.inputs["displayName"] for monitoring_graph in graphs for alert in monitoring_graph.of(POLICY)
    ]
    assert len(display_names) == len(set(display_names)) == 3 * len(ALERTS)


def test_policies_and_channel_have_labels() -> None:
    for resource in [*default_graph().of(POLICY), *default_graph().of(CHANNEL)]:
        assert resource.inputs["userLabels"] == {"project": "mlflow", "stack": "dev", "component": "mlflow"}


def test_policies_depend_on_the_service() -> None:
    version_urn = only(default_graph(), "random:index/randomId:RandomId", "mlflow-version").urn
    assert all(version_urn in alert.dependencies for alert in default_graph().of(POLICY))


def test_alert_fires_at_the_maximum_of_instances() -> None:
    threshold = condition("max-instances", "conditionThreshold")
    assert (threshold["comparison"], threshold["thresholdValue"]) == ("COMPARISON_GT", AppSettings().max_instances - 1)
    assert threshold["aggregations"][0]["crossSeriesReducer"] == "REDUCE_COUNT"


def test_fixed_number_of_instances_has_no_alert() -> None:
    graph = record_monitoring(app=AppSettings(min_instances=3, max_instances=3), canary=True)
    assert {alert.name.removeprefix("mlflow-alert-") for alert in graph.of(POLICY)} == ALERTS - {"max-instances"}


def test_filters_name_the_configured_service() -> None:
    graph = record_monitoring(app=AppSettings(service="default"))
    strings = {text for resource in graph.resources for text in strings_in(resource.inputs)}
    assert any('module_id = "default"' in text for text in strings)
    assert not any('module_id = "mlflow"' in text for text in strings)


def test_latency_query_has_threshold_and_minimum_requests() -> None:
    query = condition("latency", PROMQL)["query"]
    assert query.startswith("histogram_quantile(0.95, ")
    assert re.search(r"\)\) > 7000 and on \(\) sum\(.*_count\{.*> 20$", query)


@pytest.mark.parametrize(
    ("tier", "max_connections"), [("db-f1-micro", 250), ("db-g1-small", 1000), ("db-custom-2-7680", 4000)]
)
def test_connection_threshold_depends_on_the_tier(tier: str, max_connections: int) -> None:
    (threshold,) = [
        threshold
        for name, threshold in conditions(record_monitoring(tier=tier), "conditionThreshold")
        if name.endswith("-connections")
    ]
    assert threshold["thresholdValue"] == 0.8 * max_connections


def test_monitoring_has_no_secret_inputs() -> None:
    assert not [
        resource.name for resource in default_graph().resources if "[secret]" in set(strings_in(resource.inputs))
    ]


VALID_FILTER = 'resource.type = "gae_app" AND metric.type = "appengine.googleapis.com/http/server/response_count"'
VALID_AGGREGATION = {"alignmentPeriod": "60s", "perSeriesAligner": "ALIGN_DELTA", "crossSeriesReducer": "REDUCE_SUM"}


@pytest.mark.parametrize(
    "invalid",
    [
        'metric.type = "appengine.googleapis.com/http/server/response_count"',
        'resource.type = "gae_instance" AND metric.type = "appengine.googleapis.com/http/server/response_count"',
        'resource.type = "gae_app" AND metric.type = "appengine.googleapis.com/system/instance_count"',
        f'{VALID_FILTER} AND resource.labels.service = "mlflow"',
        f'{VALID_FILTER} AND metric.labels.code >= "500"',
        f'{VALID_FILTER} AND metric.labels.loading >= "1"',
        f'{VALID_FILTER} AND metric.labels.response_code >= "5xx"',
        f"{VALID_FILTER} AND resource.labels.module_id = mlflow",
        f'{VALID_FILTER} OR resource.labels.module_id = "mlflow"',
        f'{VALID_FILTER} AND metric.type = "cloudsql.googleapis.com/database/cpu/utilization"',
    ],
)
def test_validator_rejects_invalid_filter(invalid: str) -> None:
    metric_of(VALID_FILTER, {})
    with pytest.raises(ValueError, match=r"."):
        metric_of(invalid, {})


@pytest.mark.parametrize(
    ("metric", "invalid"),
    [
        ("appengine.googleapis.com/flex/cpu/utilization", {"perSeriesAligner": "ALIGN_DELTA"}),
        ("appengine.googleapis.com/http/server/response_latencies", {"perSeriesAligner": "ALIGN_MEAN"}),
        ("appengine.googleapis.com/http/server/response_latencies", {"perSeriesAligner": "ALIGN_RATE"}),
        ("appengine.googleapis.com/http/server/response_latencies", {"crossSeriesReducer": "REDUCE_MAX"}),
        ("appengine.googleapis.com/http/server/response_count", {"perSeriesAligner": "ALIGN_PERCENTILE_95"}),
        ("appengine.googleapis.com/http/server/response_count", {"alignmentPeriod": "30s"}),
        ("appengine.googleapis.com/http/server/response_count", {"alignmentPeriod": "1m"}),
        ("appengine.googleapis.com/http/server/response_count", {"groupByFields": ["metric.label.status"]}),
        ("appengine.googleapis.com/http/server/response_count", {"crossSeriesReducer": "REDUCE_NONE"}),
    ],
)
def test_validator_rejects_invalid_aggregation(metric: str, invalid: dict[str, Any]) -> None:
    aggregate(METRICS["appengine.googleapis.com/http/server/response_count"], VALID_AGGREGATION)
    with pytest.raises(ValueError, match=r"."):
        aggregate(METRICS[metric], {**VALID_AGGREGATION, **invalid})


@pytest.mark.parametrize(
    "invalid",
    [
        'sum(increase(logging_googleapis_com:user_other{monitored_resource="gae_app"}[15m])) > 1',
        'sum(increase(logging_googleapis_com:user_dev_mlflow_exits{project_id="p"}[15m])) > 1',
        'sum(increase(logging_googleapis_com:user_dev_mlflow_exits{monitored_resource="gae_app",pod="p"}[15m])) > 1',
        'sum(increase(logging_googleapis_com:user_dev_mlflow_exits_bucket{monitored_resource="gae_app"}[15m])) > 1',
        'sum(increase(logging_googleapis_com:user_dev_mlflow_exits{monitored_resource="gae_app"}[15m]) > 1',
        'total(increase(logging_googleapis_com:user_dev_mlflow_exits{monitored_resource="gae_app"}[15m])) > 1',
        "1 > 2",
    ],
)
def test_validator_rejects_invalid_promql(invalid: str) -> None:
    selectors(
        'sum(increase(logging_googleapis_com:user_dev_mlflow_exits{monitored_resource="gae_app"}[15m])) > 1',
        log_metrics(default_graph()),
    )
    with pytest.raises(ValueError, match=r"."):
        selectors(invalid, log_metrics(default_graph()))
