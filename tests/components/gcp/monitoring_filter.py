"""A checker of Cloud Monitoring's filters and aggregations, strict about each metric's kind and value type.

Filters: https://cloud.google.com/monitoring/api/v3/filters
Which aligner and reducer take what, and give what: google/monitoring/v3/common.proto in googleapis/googleapis, read on
2026-11-22.
Metrics and labels: what Google's metricDescriptors.list said, as dynatrace-oss/dynatrace-gcp-monitor keeps it
(src/config/gae_app.yml, gae_instance.yml, cloudsql_database.yml, 2021-10-27). Google's own dashboards of 2026-07-27 use
them, too (GoogleCloudPlatform/monitoring-dashboard-samples), but for flex/instance. Which of App Engine's are the
flexible environment's: mackerel.io/docs/entry/integrations/gcp/appengine, 2020-09-10.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NUMERIC = frozenset({"INT64", "DOUBLE"})
SPREAD = NUMERIC | {"DISTRIBUTION"}
SHARES = ("05", "50", "95", "99")


@dataclass(frozen=True)
class Metric:
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


_BOTH = frozenset({"GAUGE", "DELTA"})
_ANSWERED = {"response_code": "INT64", "loading": "BOOL"}
RESOURCES: Mapping[str, frozenset[str]] = {
    "gae_app": frozenset({"project_id", "module_id", "version_id", "zone"}),
    "gae_instance": frozenset({"project_id", "module_id", "version_id", "instance_id", "location"}),
    "cloudsql_database": frozenset({"project_id", "database_id", "region"}),
}
METRICS: Mapping[str, Metric] = {
    "appengine.googleapis.com/flex/cpu/utilization": Metric("gae_app", "GAUGE", "DOUBLE"),
    "appengine.googleapis.com/flex/instance/cpu/utilization": Metric("gae_instance", "GAUGE", "DOUBLE"),
    "appengine.googleapis.com/http/server/response_count": Metric("gae_app", "DELTA", "INT64", _ANSWERED),
    "appengine.googleapis.com/http/server/response_latencies": Metric("gae_app", "DELTA", "DISTRIBUTION", _ANSWERED),
    "cloudsql.googleapis.com/database/cpu/utilization": Metric("cloudsql_database", "GAUGE", "DOUBLE"),
    "cloudsql.googleapis.com/database/memory/utilization": Metric("cloudsql_database", "GAUGE", "DOUBLE"),
    "cloudsql.googleapis.com/database/disk/utilization": Metric("cloudsql_database", "GAUGE", "DOUBLE"),
    "cloudsql.googleapis.com/database/network/connections": Metric("cloudsql_database", "GAUGE", "INT64"),
}
ALIGNERS: Mapping[str, Step] = {
    "ALIGN_DELTA": Step(frozenset({"DELTA", "CUMULATIVE"}), SPREAD, kind="DELTA"),
    "ALIGN_RATE": Step(frozenset({"DELTA", "CUMULATIVE"}), NUMERIC, kind="GAUGE", value="DOUBLE"),
    "ALIGN_MIN": Step(_BOTH, NUMERIC),
    "ALIGN_MAX": Step(_BOTH, NUMERIC),
    "ALIGN_MEAN": Step(_BOTH, NUMERIC, value="DOUBLE"),
    "ALIGN_COUNT": Step(_BOTH, NUMERIC, value="INT64"),
    "ALIGN_SUM": Step(_BOTH, SPREAD),
    **{
        f"ALIGN_PERCENTILE_{share}": Step(_BOTH, frozenset({"DISTRIBUTION"}), kind="GAUGE", value="DOUBLE")
        for share in SHARES
    },
}
REDUCERS: Mapping[str, Step] = {
    "REDUCE_MEAN": Step(_BOTH, SPREAD, value="DOUBLE"),
    "REDUCE_MIN": Step(_BOTH, NUMERIC),
    "REDUCE_MAX": Step(_BOTH, NUMERIC),
    "REDUCE_SUM": Step(_BOTH, SPREAD),
    "REDUCE_COUNT": Step(_BOTH, SPREAD, value="INT64"),
    **{f"REDUCE_PERCENTILE_{share}": Step(_BOTH, SPREAD, kind="GAUGE", value="DOUBLE") for share in SHARES},
}
_TERM = re.compile(
    r'(?P<of>resource|metric)\.(?:(?P<type>type)|labels?\.(?P<label>\w+)) (?P<is>=|!=|<=|>=|<|>) "(?P<what>[^"\\]+)"'
)
_FIELD = re.compile(r"(?P<of>resource|metric)\.labels?\.(?P<label>\w+)")


def metric_of(text: str, own: Mapping[str, Metric]) -> Metric:
    """The metric of a filter; ``own`` are the log-based metrics. Raises ValueError for an invalid filter."""
    terms = [_TERM.fullmatch(term) for term in text.split(" AND ")]
    if len(text) > 2048 or None in terms:
        raise ValueError(f"{text!r} is no filter")
    found = [term for term in terms if term is not None]
    types = {term["of"]: term["what"] for term in found if term["type"] and term["is"] == "="}
    if sorted(term["of"] for term in found if term["type"]) != ["metric", "resource"] or len(types) != 2:
        raise ValueError(f"{text!r} has to say = one resource.type and one metric.type")
    metric = {**METRICS, **own}.get(types["metric"])
    if metric is None:
        raise ValueError(f"{types['metric']} is not known")
    if metric.resource != types["resource"]:
        raise ValueError(f"{types['metric']} is of {metric.resource}, not of {types['resource']}")
    for term in found:
        if term["label"]:
            kind = _label(metric, term["of"], term["label"])
            if term["is"] not in ("=", "!=") and (kind != "INT64" or not term["what"].isdigit()):
                raise ValueError(f"{term[0]}: only numbers have an order")
    return metric


def aggregated(metric: Metric, aggregation: Mapping[str, Any]) -> tuple[str, str]:
    """(kind, value type) of the result. Raises ValueError for an aggregation that Monitoring rejects."""
    seconds = re.fullmatch(r"(\d+)s", aggregation["alignmentPeriod"])
    if seconds is None or int(seconds[1]) < 60 or int(seconds[1]) % 60:
        raise ValueError(f"{aggregation['alignmentPeriod']} is no period")
    kind, value = metric.kind, metric.value
    for name, steps in (
        (aggregation["perSeriesAligner"], ALIGNERS),
        (aggregation["crossSeriesReducer"], REDUCERS),
    ):
        if name not in steps:
            raise ValueError(f"{name} is not known")
        step = steps[name]
        if kind not in step.kinds or value not in step.values:
            raise ValueError(f"{name} does not take {kind} {value}")
        kind, value = step.kind or kind, step.value or value
    for one in aggregation.get("groupByFields", ()):
        given = _FIELD.fullmatch(one)
        if given is None:
            raise ValueError(f"{one!r} is no label")
        _label(metric, given["of"], given["label"])
    return kind, value


def _label(metric: Metric, of: str, name: str) -> str:
    labels = dict.fromkeys(RESOURCES[metric.resource], "STRING") if of == "resource" else metric.labels
    if name not in labels:
        raise ValueError(f"{of} has no label {name}")
    return labels[name]
