"""Validates Cloud Monitoring's filters and aggregations, with each metric's kind and value type.

Filters: https://cloud.google.com/monitoring/api/v3/filters
Input and output types of aligners and reducers: google/monitoring/v3/common.proto in googleapis/googleapis, read on
2026-11-22.
Metrics and labels: the output of Google's metricDescriptors.list, as recorded in dynatrace-oss/dynatrace-gcp-monitor
(src/config/gae_app.yml, gae_instance.yml, cloudsql_database.yml, 2021-10-27). Google's own dashboards of 2026-07-27 use
the same, except flex/instance (GoogleCloudPlatform/monitoring-dashboard-samples). App Engine metrics of the flexible
environment: mackerel.io/docs/entry/integrations/gcp/appengine, 2020-09-10.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NUMERIC = frozenset({"INT64", "DOUBLE"})
WITH_DISTRIBUTION = NUMERIC | {"DISTRIBUTION"}
PERCENTILES = ("05", "50", "95", "99")


@dataclass(frozen=True)
class Metric:
    """A metric: monitored resource type, kind, value type, and the value types of its labels."""

    resource: str
    kind: str
    value: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Step:
    """Input kinds and value types of an aligner or reducer, and its output; None: unchanged."""

    kinds: frozenset[str]
    values: frozenset[str]
    kind: str | None = None
    value: str | None = None


_GAUGE_OR_DELTA = frozenset({"GAUGE", "DELTA"})
_RESPONSE_LABELS = {"response_code": "INT64", "loading": "BOOL"}
RESOURCES: Mapping[str, frozenset[str]] = {
    "gae_app": frozenset({"project_id", "module_id", "version_id", "zone"}),
    "gae_instance": frozenset({"project_id", "module_id", "version_id", "instance_id", "location"}),
    "cloudsql_database": frozenset({"project_id", "database_id", "region"}),
    "cloud_scheduler_job": frozenset({"project_id", "location", "job_id"}),
}
METRICS: Mapping[str, Metric] = {
    "appengine.googleapis.com/flex/cpu/utilization": Metric("gae_app", "GAUGE", "DOUBLE"),
    "appengine.googleapis.com/flex/instance/cpu/utilization": Metric("gae_instance", "GAUGE", "DOUBLE"),
    "appengine.googleapis.com/http/server/response_count": Metric("gae_app", "DELTA", "INT64", _RESPONSE_LABELS),
    "appengine.googleapis.com/http/server/response_latencies": Metric(
        "gae_app", "DELTA", "DISTRIBUTION", _RESPONSE_LABELS
    ),
    "cloudsql.googleapis.com/database/cpu/utilization": Metric("cloudsql_database", "GAUGE", "DOUBLE"),
    "cloudsql.googleapis.com/database/memory/utilization": Metric("cloudsql_database", "GAUGE", "DOUBLE"),
    "cloudsql.googleapis.com/database/disk/utilization": Metric("cloudsql_database", "GAUGE", "DOUBLE"),
    "cloudsql.googleapis.com/database/network/connections": Metric("cloudsql_database", "GAUGE", "INT64"),
}
ALIGNERS: Mapping[str, Step] = {
    "ALIGN_DELTA": Step(frozenset({"DELTA", "CUMULATIVE"}), WITH_DISTRIBUTION, kind="DELTA"),
    "ALIGN_RATE": Step(frozenset({"DELTA", "CUMULATIVE"}), NUMERIC, kind="GAUGE", value="DOUBLE"),
    "ALIGN_MIN": Step(_GAUGE_OR_DELTA, NUMERIC),
    "ALIGN_MAX": Step(_GAUGE_OR_DELTA, NUMERIC),
    "ALIGN_MEAN": Step(_GAUGE_OR_DELTA, NUMERIC, value="DOUBLE"),
    "ALIGN_COUNT": Step(_GAUGE_OR_DELTA, NUMERIC, value="INT64"),
    "ALIGN_SUM": Step(_GAUGE_OR_DELTA, WITH_DISTRIBUTION),
    **{
        f"ALIGN_PERCENTILE_{percentile}": Step(
            _GAUGE_OR_DELTA, frozenset({"DISTRIBUTION"}), kind="GAUGE", value="DOUBLE"
        )
        for percentile in PERCENTILES
    },
}
REDUCERS: Mapping[str, Step] = {
    "REDUCE_MEAN": Step(_GAUGE_OR_DELTA, WITH_DISTRIBUTION, value="DOUBLE"),
    "REDUCE_MIN": Step(_GAUGE_OR_DELTA, NUMERIC),
    "REDUCE_MAX": Step(_GAUGE_OR_DELTA, NUMERIC),
    "REDUCE_SUM": Step(_GAUGE_OR_DELTA, WITH_DISTRIBUTION),
    "REDUCE_COUNT": Step(_GAUGE_OR_DELTA, WITH_DISTRIBUTION, value="INT64"),
    **{
        f"REDUCE_PERCENTILE_{percentile}": Step(_GAUGE_OR_DELTA, WITH_DISTRIBUTION, kind="GAUGE", value="DOUBLE")
        for percentile in PERCENTILES
    },
}
_TERM = re.compile(
    r"(?P<owner>resource|metric)\.(?:(?P<type>type)|labels?\.(?P<label>\w+)) "
    r'(?P<operator>=|!=|<=|>=|<|>) "(?P<value>[^"\\]+)"'
)
_FIELD = re.compile(r"(?P<owner>resource|metric)\.labels?\.(?P<label>\w+)")


def metric_of(filter_text: str, log_metrics: Mapping[str, Metric]) -> Metric:
    """The metric of a filter. Raises ValueError for an invalid filter.

    ``log_metrics``: the log-based metrics by type.
    """
    terms = [_TERM.fullmatch(term) for term in filter_text.split(" AND ")]
    if len(filter_text) > 2048 or None in terms:
        raise ValueError(f"{filter_text!r} is not a valid filter")
    valid_terms = [term for term in terms if term is not None]
    types = {term["owner"]: term["value"] for term in valid_terms if term["type"] and term["operator"] == "="}
    if sorted(term["owner"] for term in valid_terms if term["type"]) != ["metric", "resource"] or len(types) != 2:
        raise ValueError(f"{filter_text!r} needs one = comparison with resource.type and one with metric.type")
    metric = {**METRICS, **log_metrics}.get(types["metric"])
    if metric is None:
        raise ValueError(f"{types['metric']} is an unknown metric")
    if metric.resource != types["resource"]:
        raise ValueError(f"{types['metric']} is of {metric.resource}, not of {types['resource']}")
    for term in valid_terms:
        if term["label"]:
            kind = _label(metric, term["owner"], term["label"])
            if term["operator"] not in ("=", "!=") and (kind != "INT64" or not term["value"].isdigit()):
                raise ValueError(f"{term[0]}: only numbers can be ordered")
    return metric


def aggregate(metric: Metric, aggregation: Mapping[str, Any]) -> tuple[str, str]:
    """(kind, value type) of the result. Raises ValueError for an aggregation that Monitoring rejects."""
    seconds = re.fullmatch(r"(\d+)s", aggregation["alignmentPeriod"])
    if seconds is None or int(seconds[1]) < 60 or int(seconds[1]) % 60:
        raise ValueError(f"{aggregation['alignmentPeriod']} is not a valid period")
    kind, value = metric.kind, metric.value
    for name, steps in (
        (aggregation["perSeriesAligner"], ALIGNERS),
        (aggregation["crossSeriesReducer"], REDUCERS),
    ):
        if name not in steps:
            raise ValueError(f"{name} is an unknown aligner or reducer")
        step = steps[name]
        if kind not in step.kinds or value not in step.values:
            raise ValueError(f"{name} does not accept {kind} {value}")
        kind, value = step.kind or kind, step.value or value
    for field_name in aggregation.get("groupByFields", ()):
        label = _FIELD.fullmatch(field_name)
        if label is None:
            raise ValueError(f"{field_name!r} is not a label")
        _label(metric, label["owner"], label["label"])
    return kind, value


def _label(metric: Metric, owner: str, name: str) -> str:
    labels = dict.fromkeys(RESOURCES[metric.resource], "STRING") if owner == "resource" else metric.labels
    if name not in labels:
        raise ValueError(f"{owner} has no label {name}")
    return labels[name]
