"""Alerting policies and the notification channel."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pydantic.alias_generators import to_camel

from components.gcp.data_settings import DatabaseSettings
from components.gcp.log_bucket import service_log_filter
from components.gcp.settings import AppSettings
from preview.graph import texts

from .helpers import PROJECT, only
from .monitoring_filter import METRICS, NUMERIC, aggregated, metric_of
from .promql import selectors
from .recorded_monitoring import CHANNEL, INSTANCE, POLICY, conditions, graph, own_metrics, recorded

ROLES = {
    "no-instance",
    "max-instances",
    "container-exits",
    "server-errors",
    "latency",
    "database-cpu",
    "database-disk",
    "database-connections",
}
QUERY = "conditionPrometheusQueryLanguage"
FILTERED = [
    (kind, name, condition)
    for kind in ("conditionThreshold", "conditionAbsent")
    for name, condition in conditions(graph(), kind)
]


def policy(role: str) -> Mapping[str, Any]:
    return only(graph(), POLICY, f"mlflow-alert-{role}").inputs


def condition(role: str, kind: str) -> Mapping[str, Any]:
    (found,) = policy(role)["conditions"]
    return found[kind]


def seconds(text: str) -> int:
    assert re.fullmatch(r"\d+s", text)
    return int(text[:-1])


def test_alerts_cover_the_service_and_the_database() -> None:
    assert {one.name.removeprefix("mlflow-alert-") for one in graph().of(POLICY)} == ROLES


@pytest.mark.parametrize(("kind", "name", "wanted"), FILTERED, ids=[name for _, name, _ in FILTERED])
def test_condition_is_valid_in_cloud_monitoring(kind: str, name: str, wanted: Mapping[str, Any]) -> None:
    metric = metric_of(wanted["filter"], own_metrics(graph()))
    (aggregation,) = wanted["aggregations"]
    assert aggregated(metric, aggregation)[1] in NUMERIC
    lasting = seconds(wanted["duration"])
    assert lasting % 60 == 0
    if kind == "conditionAbsent":
        assert lasting >= 120
    else:
        # https://github.com/hashicorp/terraform-provider-google, website/docs/r/monitoring_alert_policy
        assert wanted["comparison"] in ("COMPARISON_GT", "COMPARISON_LT")
        # evaluationMissingData requires a duration.
        assert lasting >= 60
        assert wanted["evaluationMissingData"] == "EVALUATION_MISSING_DATA_INACTIVE"


@pytest.mark.parametrize(("kind", "name", "wanted"), FILTERED, ids=[name for _, name, _ in FILTERED])
def test_condition_selects_one_service_or_one_database(kind: str, name: str, wanted: Mapping[str, Any]) -> None:
    given = wanted["filter"]
    assert f'resource.labels.project_id = "{PROJECT}"' in given
    database = f'resource.labels.database_id = "{PROJECT}:{INSTANCE}"'
    assert (database if "-database-" in name else 'resource.labels.module_id = "mlflow"') in given
    # Aggregated to one time series: a changed label, such as the zone, would start another.
    (aggregation,) = wanted["aggregations"]
    assert "groupByFields" not in aggregation


def test_filters_use_no_log_based_metric() -> None:
    """hashicorp/terraform-provider-google#11102: the first `up` would fail."""
    for _, _, wanted in FILTERED:
        metric_of(wanted["filter"], {})
    queries = dict(conditions(graph(), QUERY))
    assert queries.keys() == {"mlflow-alert-container-exits", "mlflow-alert-latency"}
    assert all(one["disableMetricValidation"] is True for one in queries.values())


def test_promql_queries_use_log_metrics_of_this_stack() -> None:
    for name, wanted in conditions(graph(), QUERY):
        for metric, labels in selectors(wanted["query"], own_metrics(graph())):
            assert metric in own_metrics(graph()), name
            assert labels["project_id"] == PROJECT
        assert seconds(wanted["evaluationInterval"]) % 30 == 0
        seconds(wanted["duration"])


def test_policy_has_one_condition() -> None:
    """A PromQL condition must be the only one, and e-mails do not tell conditions apart."""
    for one in graph().of(POLICY):
        assert len(one.inputs["conditions"]) == 1
        assert one.inputs["combiner"] == "OR"


def test_only_absence_alert_stays_open_without_data() -> None:
    assert [name for name, _ in conditions(graph(), "conditionAbsent")] == ["mlflow-alert-no-instance"]
    for one in graph().of(POLICY):
        closing = seconds(one.inputs["alertStrategy"]["autoClose"])
        # Cloud Monitoring's limits.
        assert 1800 <= closing <= 7 * 86400
        assert (closing == 7 * 86400) == (one.name == "mlflow-alert-no-instance")


def test_absence_duration_exceeds_metric_delay() -> None:
    """A delay of 240 s according to metricDescriptors.list, and a sampling period of 60 s."""
    assert seconds(condition("no-instance", "conditionAbsent")["duration"]) > 240 + 60


def test_channel_gets_open_and_close_and_reminders_of_critical_alerts() -> None:
    channel = only(graph(), CHANNEL).outputs["name"]
    for one in graph().of(POLICY):
        assert one.inputs["notificationChannels"] == [channel]
        strategy = one.inputs["alertStrategy"]
        assert strategy["notificationPrompts"] == ["OPENED", "CLOSED"]
        # Only log-match policies accept it.
        assert "notificationRateLimit" not in strategy
        again = strategy.get("notificationChannelStrategies", [])
        assert bool(again) == (one.inputs["severity"] == "CRITICAL")
        for reminder in again:
            assert reminder["notificationChannelNames"] == [channel]
            assert 1800 <= seconds(reminder["renotifyInterval"]) <= 86400


def test_without_email_there_is_no_channel() -> None:
    quiet = recorded()
    assert quiet.of(CHANNEL) == []
    assert len(quiet.of(POLICY)) == len(ROLES)
    for one in quiet.of(POLICY):
        assert not one.inputs.get("notificationChannels")
        assert "notificationChannelStrategies" not in one.inputs["alertStrategy"]


def test_channel_has_the_configured_address() -> None:
    channel = only(graph(), CHANNEL).inputs
    assert (channel["type"], channel["labels"]) == ("email", {"email_address": "ops@example.com"})


def test_only_absence_of_instances_is_critical() -> None:
    found = {one.name.removeprefix("mlflow-alert-"): one.inputs["severity"] for one in graph().of(POLICY)}
    assert {role for role, severity in found.items() if severity == "CRITICAL"} == {"no-instance"}
    assert {role for role, severity in found.items() if severity == "ERROR"} == {
        "container-exits",
        "server-errors",
        "database-disk",
    }
    assert set(found.values()) == {"CRITICAL", "ERROR", "WARNING"}


def test_documentation_has_a_cause_and_a_check() -> None:
    for one in graph().of(POLICY):
        document = one.inputs["documentation"]
        assert document["mimeType"] == "text/markdown"
        first, second = re.split(r"(?<=\.) (?=[A-Z])", document["content"])
        assert first.endswith(".")
        assert second.startswith("Check ")
        assert second.endswith(".")
        assert len(document["content"]) < 8192


def test_settings_named_by_alerts_exist() -> None:
    groups = {"app": AppSettings, "database": DatabaseSettings}
    known = {f"{group}.{to_camel(name)}" for group, args in groups.items() for name in args.model_fields}
    named = {
        word
        for one in graph().of(POLICY)
        for word in re.findall(r"`([a-z]+\.[A-Za-z]+)`", one.inputs["documentation"]["content"])
    }
    assert {"app.maxInstances", "database.tier"} <= named <= known


def test_links_lead_to_the_console_of_the_project() -> None:
    for one in graph().of(POLICY):
        for link in one.inputs["documentation"]["links"]:
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
    graphs = [recorded(stack=stack, name=name) for stack, name in (("dev", "a"), ("prod", "a"), ("dev", "b"))]
    shown = [one.inputs["displayName"] for each in graphs for one in each.of(POLICY)]
    assert len(shown) == len(set(shown)) == 3 * len(ROLES)


def test_policies_and_channel_have_labels() -> None:
    for one in [*graph().of(POLICY), *graph().of(CHANNEL)]:
        assert one.inputs["userLabels"] == {"project": "mlflow", "stack": "dev", "component": "mlflow"}


def test_policies_depend_on_the_service() -> None:
    part_of_it = only(graph(), "random:index/randomId:RandomId", "mlflow-version").urn
    assert all(part_of_it in one.dependencies for one in graph().of(POLICY))


def test_maximum_of_instances_raises_an_alert() -> None:
    wanted = condition("max-instances", "conditionThreshold")
    assert (wanted["comparison"], wanted["thresholdValue"]) == ("COMPARISON_GT", AppSettings().max_instances - 1)
    assert wanted["aggregations"][0]["crossSeriesReducer"] == "REDUCE_COUNT"


def test_fixed_number_of_instances_has_no_alert() -> None:
    fixed = recorded(app=AppSettings(min_instances=3, max_instances=3))
    assert {one.name.removeprefix("mlflow-alert-") for one in fixed.of(POLICY)} == ROLES - {"max-instances"}


def test_filters_name_the_configured_service() -> None:
    other = recorded(app=AppSettings(service="default"))
    said = {text for one in other.resources for text in texts(one.inputs)}
    assert any('module_id = "default"' in text for text in said)
    assert not any('module_id = "mlflow"' in text for text in said)


def test_latency_query_has_threshold_and_minimum_requests() -> None:
    query = condition("latency", QUERY)["query"]
    assert query.startswith("histogram_quantile(0.95, ")
    assert re.search(r"\)\) > 7000 and on \(\) sum\(.*_count\{.*> 20$", query)


@pytest.mark.parametrize(("tier", "most"), [("db-f1-micro", 250), ("db-g1-small", 1000), ("db-custom-2-7680", 4000)])
def test_connection_threshold_depends_on_the_tier(tier: str, most: int) -> None:
    (wanted,) = [
        one for name, one in conditions(recorded(tier=tier), "conditionThreshold") if name.endswith("-connections")
    ]
    assert wanted["thresholdValue"] == 0.8 * most


def test_monitoring_has_no_secret_inputs() -> None:
    assert not [one.name for one in graph().resources if "[secret]" in set(texts(one.inputs))]


GOOD = 'resource.type = "gae_app" AND metric.type = "appengine.googleapis.com/http/server/response_count"'
PLAIN = {"alignmentPeriod": "60s", "perSeriesAligner": "ALIGN_DELTA", "crossSeriesReducer": "REDUCE_SUM"}


@pytest.mark.parametrize(
    "wrong",
    [
        'metric.type = "appengine.googleapis.com/http/server/response_count"',
        'resource.type = "gae_instance" AND metric.type = "appengine.googleapis.com/http/server/response_count"',
        'resource.type = "gae_app" AND metric.type = "appengine.googleapis.com/system/instance_count"',
        f'{GOOD} AND resource.labels.service = "mlflow"',
        f'{GOOD} AND metric.labels.code >= "500"',
        f'{GOOD} AND metric.labels.loading >= "1"',
        f'{GOOD} AND metric.labels.response_code >= "5xx"',
        f"{GOOD} AND resource.labels.module_id = mlflow",
        f'{GOOD} OR resource.labels.module_id = "mlflow"',
        f'{GOOD} AND metric.type = "cloudsql.googleapis.com/database/cpu/utilization"',
    ],
)
def test_checker_rejects_invalid_filter(wrong: str) -> None:
    metric_of(GOOD, {})
    with pytest.raises(ValueError, match=r"."):
        metric_of(wrong, {})


@pytest.mark.parametrize(
    ("metric", "wrong"),
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
def test_checker_rejects_invalid_aggregation(metric: str, wrong: dict[str, Any]) -> None:
    aggregated(METRICS["appengine.googleapis.com/http/server/response_count"], PLAIN)
    with pytest.raises(ValueError, match=r"."):
        aggregated(METRICS[metric], {**PLAIN, **wrong})


@pytest.mark.parametrize(
    "wrong",
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
def test_checker_rejects_invalid_promql(wrong: str) -> None:
    selectors(
        'sum(increase(logging_googleapis_com:user_dev_mlflow_exits{monitored_resource="gae_app"}[15m])) > 1',
        own_metrics(graph()),
    )
    with pytest.raises(ValueError, match=r"."):
        selectors(wrong, own_metrics(graph()))
