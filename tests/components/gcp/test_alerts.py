"""Alerts, and who is told of them: what Monitoring would take, and what a person can use."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pydantic.alias_generators import to_camel

from components.gcp.args import AppArgs
from components.gcp.data_args import DatabaseArgs
from components.gcp.log_bucket import service_log_filter
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


def test_all_that_the_issue_names_is_watched() -> None:
    assert {one.name.removeprefix("mlflow-alert-") for one in graph().of(POLICY)} == ROLES


@pytest.mark.parametrize(("kind", "name", "wanted"), FILTERED, ids=[name for _, name, _ in FILTERED])
def test_every_condition_is_one_that_monitoring_takes(kind: str, name: str, wanted: Mapping[str, Any]) -> None:
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
        # What becomes of missing data can be said of conditions that last.
        assert lasting >= 60
        assert wanted["evaluationMissingData"] == "EVALUATION_MISSING_DATA_INACTIVE"


@pytest.mark.parametrize(("kind", "name", "wanted"), FILTERED, ids=[name for _, name, _ in FILTERED])
def test_every_condition_is_about_this_service_or_this_database_alone(
    kind: str, name: str, wanted: Mapping[str, Any]
) -> None:
    given = wanted["filter"]
    assert f'resource.labels.project_id = "{PROJECT}"' in given
    database = f'resource.labels.database_id = "{PROJECT}:{INSTANCE}"'
    assert (database if "-database-" in name else 'resource.labels.module_id = "mlflow"') in given
    # As one series: a label that changes, such as the zone, begins another.
    (aggregation,) = wanted["aggregations"]
    assert "groupByFields" not in aggregation


def test_no_filter_is_about_a_metric_that_may_not_be_known_yet() -> None:
    """hashicorp/terraform-provider-google#11102: `up` would fail, and go on at the second try."""
    for _, _, wanted in FILTERED:
        metric_of(wanted["filter"], {})
    queries = dict(conditions(graph(), QUERY))
    assert queries.keys() == {"mlflow-alert-container-exits", "mlflow-alert-latency"}
    assert all(one["disableMetricValidation"] is True for one in queries.values())


def test_every_query_asks_for_metrics_from_the_log_that_are_made_here() -> None:
    for name, wanted in conditions(graph(), QUERY):
        for metric, labels in selectors(wanted["query"], own_metrics(graph())):
            assert metric in own_metrics(graph()), name
            assert labels["project_id"] == PROJECT
        assert seconds(wanted["evaluationInterval"]) % 30 == 0
        seconds(wanted["duration"])


def test_a_policy_has_one_condition() -> None:
    """PromQL takes no other beside it, and a second one is not told apart in the mail."""
    for one in graph().of(POLICY):
        assert len(one.inputs["conditions"]) == 1
        assert one.inputs["combiner"] == "OR"


def test_silence_alone_is_alarming_when_nothing_is_measured_and_stays_so() -> None:
    assert [name for name, _ in conditions(graph(), "conditionAbsent")] == ["mlflow-alert-no-instance"]
    for one in graph().of(POLICY):
        closing = seconds(one.inputs["alertStrategy"]["autoClose"])
        # Google's bounds.
        assert 1800 <= closing <= 7 * 86400
        assert (closing == 7 * 86400) == (one.name == "mlflow-alert-no-instance")


def test_silence_is_longer_than_app_engines_metrics_are_late() -> None:
    """240 s by metricDescriptors.list, and a minute between two points."""
    assert seconds(condition("no-instance", "conditionAbsent")["duration"]) > 240 + 60


def test_who_is_told_is_told_of_the_end_too_and_reminded_of_the_worst() -> None:
    channel = only(graph(), CHANNEL).outputs["name"]
    for one in graph().of(POLICY):
        assert one.inputs["notificationChannels"] == [channel]
        strategy = one.inputs["alertStrategy"]
        assert strategy["notificationPrompts"] == ["OPENED", "CLOSED"]
        # It is for policies that match single lines, and refused for others.
        assert "notificationRateLimit" not in strategy
        again = strategy.get("notificationChannelStrategies", [])
        assert bool(again) == (one.inputs["severity"] == "CRITICAL")
        for reminder in again:
            assert reminder["notificationChannelNames"] == [channel]
            assert 1800 <= seconds(reminder["renotifyInterval"]) <= 86400


def test_nobody_named_is_nobody_told() -> None:
    quiet = recorded()
    assert quiet.of(CHANNEL) == []
    assert len(quiet.of(POLICY)) == len(ROLES)
    for one in quiet.of(POLICY):
        assert not one.inputs.get("notificationChannels")
        assert "notificationChannelStrategies" not in one.inputs["alertStrategy"]


def test_the_mail_goes_to_whom_the_setting_names() -> None:
    channel = only(graph(), CHANNEL).inputs
    assert (channel["type"], channel["labels"]) == ("email", {"email_address": "ops@example.com"})


def test_only_what_nobody_gets_past_is_critical() -> None:
    found = {one.name.removeprefix("mlflow-alert-"): one.inputs["severity"] for one in graph().of(POLICY)}
    assert {role for role, severity in found.items() if severity == "CRITICAL"} == {"no-instance"}
    assert {role for role, severity in found.items() if severity == "ERROR"} == {
        "container-exits",
        "server-errors",
        "database-disk",
    }
    assert set(found.values()) == {"CRITICAL", "ERROR", "WARNING"}


def test_every_alert_says_in_two_sentences_what_happened_and_what_to_look_at() -> None:
    for one in graph().of(POLICY):
        document = one.inputs["documentation"]
        assert document["mimeType"] == "text/markdown"
        first, second = re.split(r"(?<=\.) (?=[A-Z])", document["content"])
        assert first.endswith(".")
        assert second.startswith("Check ")
        assert second.endswith(".")
        assert len(document["content"]) < 8192


def test_every_setting_that_an_alert_names_is_one() -> None:
    groups = {"app": AppArgs, "database": DatabaseArgs}
    known = {f"{group}.{to_camel(name)}" for group, args in groups.items() for name in args.model_fields}
    named = {
        word
        for one in graph().of(POLICY)
        for word in re.findall(r"`([a-z]+\.[A-Za-z]+)`", one.inputs["documentation"]["content"])
    }
    assert {"app.maxInstances", "database.tier"} <= named <= known


def test_every_link_leads_to_the_console_of_this_project() -> None:
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


def test_names_tell_stacks_and_components_apart() -> None:
    graphs = [recorded(stack=stack, name=name) for stack, name in (("dev", "a"), ("prod", "a"), ("dev", "b"))]
    shown = [one.inputs["displayName"] for each in graphs for one in each.of(POLICY)]
    assert len(shown) == len(set(shown)) == 3 * len(ROLES)


def test_labels_are_on_what_takes_them() -> None:
    for one in [*graph().of(POLICY), *graph().of(CHANNEL)]:
        assert one.inputs["userLabels"] == {"project": "mlflow", "stack": "dev", "component": "mlflow"}


def test_no_alert_goes_off_for_a_service_that_is_not_there_yet_or_no_more() -> None:
    part_of_it = only(graph(), "random:index/randomId:RandomId", "mlflow-version").urn
    assert all(part_of_it in one.dependencies for one in graph().of(POLICY))


def test_all_instances_that_are_allowed_are_worth_a_look() -> None:
    wanted = condition("max-instances", "conditionThreshold")
    assert (wanted["comparison"], wanted["thresholdValue"]) == ("COMPARISON_GT", AppArgs().max_instances - 1)
    assert wanted["aggregations"][0]["crossSeriesReducer"] == "REDUCE_COUNT"


def test_a_number_of_instances_that_never_changes_is_no_news() -> None:
    fixed = recorded(app=AppArgs(min_instances=3, max_instances=3))
    assert {one.name.removeprefix("mlflow-alert-") for one in fixed.of(POLICY)} == ROLES - {"max-instances"}


def test_another_service_is_watched_as_such() -> None:
    other = recorded(app=AppArgs(service="default"))
    said = {text for one in other.resources for text in texts(one.inputs)}
    assert any('module_id = "default"' in text for text in said)
    assert not any('module_id = "mlflow"' in text for text in said)


def test_slow_is_what_the_setting_says_of_a_twentieth_of_more_than_a_few() -> None:
    query = condition("latency", QUERY)["query"]
    assert query.startswith("histogram_quantile(0.95, ")
    assert re.search(r"\)\) > 7000 and on \(\) sum\(.*_count\{.*> 20$", query)


@pytest.mark.parametrize(("tier", "most"), [("db-f1-micro", 250), ("db-g1-small", 1000), ("db-custom-2-7680", 4000)])
def test_connections_run_out_by_the_databases_machine(tier: str, most: int) -> None:
    (wanted,) = [
        one for name, one in conditions(recorded(tier=tier), "conditionThreshold") if name.endswith("-connections")
    ]
    assert wanted["thresholdValue"] == 0.8 * most


def test_nothing_that_is_watched_is_a_secret() -> None:
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
def test_a_filter_that_monitoring_would_refuse_is_refused_here(wrong: str) -> None:
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
def test_an_aggregation_that_monitoring_would_refuse_is_refused_here(metric: str, wrong: dict[str, Any]) -> None:
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
def test_a_query_that_monitoring_would_not_understand_is_refused_here(wrong: str) -> None:
    selectors(
        'sum(increase(logging_googleapis_com:user_dev_mlflow_exits{monitored_resource="gae_app"}[15m])) > 1',
        own_metrics(graph()),
    )
    with pytest.raises(ValueError, match=r"."):
        selectors(wrong, own_metrics(graph()))
