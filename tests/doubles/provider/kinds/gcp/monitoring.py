"""Cloud Monitoring: notification channels, alert policies and dashboards."""

import re
from typing import TYPE_CHECKING, Any

from ...kind import CloudError, CreateRequest, Problems, Reference, Values
from ...paths import texts_in
from ..common import among, group, groups, json_in, known
from .logs import METRIC
from .project import NUMBER, PROJECT, of_google

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

CHANNEL = "gcp:monitoring/notificationChannel:NotificationChannel"
POLICY = "gcp:monitoring/alertPolicy:AlertPolicy"
_KINDS = (
    "conditionAbsent",
    "conditionMatchedLog",
    "conditionMonitoringQueryLanguage",
    "conditionPrometheusQueryLanguage",
    "conditionSql",
    "conditionThreshold",
)
_NEEDS = {
    "email": "email_address",
    "sms": "number",
    "pubsub": "topic",
    "webhook_tokenauth": "url",
    "slack": "channel_name",
}
_FROM_LOGS = re.compile(r"logging\.googleapis\.com/user/([\w.,+!*'()%/-]+)")


def _named(collection: str, request: CreateRequest) -> tuple[str, dict[str, object]]:
    resource_id = f"projects/{PROJECT}/{collection}/{10**18 + request.cloud.next_number()}"
    return resource_id, {"name": resource_id, "verificationStatus": "", "creationRecords": []}


def _channel_problems(inputs: Values) -> Problems:
    kind = known(inputs, "type")
    if kind is not None and kind not in _NEEDS:
        yield "type", f"got {kind!r}, expected one of {', '.join(_NEEDS)}"
    elif kind is not None and not group(inputs, "labels").get(_NEEDS[kind]) and known(inputs, "labels") is not None:
        yield "labels", f"a channel of type {kind} requires {_NEEDS[kind]}"


def _seconds(text: object) -> int | None:
    return int(text.removesuffix("s")) if isinstance(text, str) and re.fullmatch(r"\d+s", text) else None


def _policy_problems(inputs: Values) -> Problems:
    """https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies."""
    yield from among(inputs, "combiner", ("AND", "OR", "AND_WITH_MATCHING_RESOURCE"))
    yield from among(inputs, "severity", ("CRITICAL", "ERROR", "WARNING"))
    conditions = groups(inputs, "conditions")
    if len(conditions) > 6:
        yield "conditions", "expected at most 6"
    if len(conditions) == 1 and known(inputs, "combiner") == "AND_WITH_MATCHING_RESOURCE":
        yield "combiner", "requires two or more conditions"
    for index, condition in enumerate(conditions):
        present = [name for name in _KINDS if condition.get(name)]
        path = f"conditions[{index}]"
        if len(present) != 1:
            yield path, f"expected exactly one of {', '.join(_KINDS)}"
            continue
        for inner, why in _condition_problems(present[0], group(condition, present[0])):
            yield f"{path}.{present[0]}.{inner}", why
    text = known(group(inputs, "documentation"), "content")
    if text is not None and len(text) > 8192:
        yield "documentation.content", "expected at most 8,192 characters"


def _condition_problems(kind: str, condition: Values) -> Problems:
    text = known(condition, "filter")
    if kind in ("conditionAbsent", "conditionThreshold"):
        if text is not None and not ("metric.type" in text and "resource.type" in text):
            yield "filter", "requires a metric.type and a resource.type"
        duration = known(condition, "duration")
        if duration is not None and (_seconds(duration) is None or int(duration[:-1]) % 60):
            yield "duration", f"got {duration!r}, expected whole minutes, in seconds (300s)"
        if kind == "conditionAbsent" and (_seconds(duration) or 120) < 120:
            yield "duration", f"got {duration!r}, expected at least 120s"
    if kind == "conditionThreshold":
        yield from among(condition, "comparison", ("COMPARISON_GT", "COMPARISON_LT"))
    for field in ("aggregations", "denominatorAggregations"):
        for index, aggregation in enumerate(groups(condition, field)):
            for path, why in _aggregation_problems(aggregation):
                yield f"{field}[{index}].{path}", why


def _aggregation_problems(aggregation: Values) -> Problems:
    period = known(aggregation, "alignmentPeriod")
    if period is not None and (_seconds(period) is None or int(period[:-1]) < 60):
        yield "alignmentPeriod", f"got {period!r}, expected at least 60s"
    reducer = known(aggregation, "crossSeriesReducer")
    if reducer not in (None, "REDUCE_NONE") and known(aggregation, "perSeriesAligner") in (None, "ALIGN_NONE"):
        yield "perSeriesAligner", f"required for {reducer}"
    if aggregation.get("groupByFields") and reducer in (None, "REDUCE_NONE"):
        yield "groupByFields", "requires a crossSeriesReducer"


def _metrics_are_there(resource: "Resource", cloud: "Cloud") -> None:
    # A PromQL condition is checked for existing metrics, and a new log-based metric takes minutes to appear.
    for condition in groups(resource.inputs, "conditions"):
        query = group(condition, "conditionPrometheusQueryLanguage")
        if "logging_googleapis_com:user_" in str(query.get("query")) and not query.get("disableMetricValidation"):
            raise CloudError(f"Error creating AlertPolicy: googleapi: Error 400: no metric for {query['query']}")
    metric_names = {str(metric.inputs["name"]) for metric in cloud.of(METRIC)}
    for text in texts_in(resource.inputs["conditions"]):
        for name in _FROM_LOGS.findall(text):
            if name not in metric_names:
                raise CloudError(
                    "Error creating AlertPolicy: googleapi: Error 404: Cannot find metric that matches type = "
                    f'"logging.googleapis.com/user/{name}". If a metric was created recently, it could take up to 10 '
                    "minutes to become available., notFound"
                )


def _dashboard_problems(inputs: Values) -> Problems:
    """https://cloud.google.com/monitoring/api/ref_v3/rest/v1/projects.dashboards."""
    try:
        body: Any = json_in(inputs, "dashboardJson")
    except ValueError:
        yield "dashboardJson", "not valid JSON"
        return
    if body is None:
        return
    if not body.get("displayName"):
        yield "dashboardJson.displayName", "required, but missing"
    layouts = [name for name in ("gridLayout", "mosaicLayout", "rowLayout", "columnLayout") if name in body]
    if len(layouts) != 1:
        yield "dashboardJson", "expected exactly one layout"
    mosaic = body.get("mosaicLayout", {})
    columns = mosaic.get("columns", 48)
    for index, tile in enumerate(mosaic.get("tiles", [])):
        if tile.get("xPos", 0) + tile.get("width", 0) > columns:
            yield f"dashboardJson.mosaicLayout.tiles[{index}]", f"exceeds the {columns} columns of the grid"
        if not tile.get("width") or not tile.get("height") or not tile.get("widget"):
            yield f"dashboardJson.mosaicLayout.tiles[{index}]", "requires width, height and a widget"


def _used_by_a_policy(resource: "Resource", cloud: "Cloud") -> None:
    user = next(
        (policy for policy in cloud.of(POLICY) if resource.id in (policy.inputs.get("notificationChannels") or [])),
        None,
    )
    if user is not None and not resource.inputs.get("forceDelete"):
        raise CloudError(f"googleapi: Error 400: Cannot delete {resource}: it is used by {user}., failedPrecondition")


KINDS = (
    of_google(
        CHANNEL,
        "monitoring",
        lambda request: _named("notificationChannels", request),
        labels="userLabels",
        check=_channel_problems,
        on_delete=_used_by_a_policy,
    ),
    of_google(
        POLICY,
        "monitoring",
        lambda request: _named("alertPolicies", request),
        labels="userLabels",
        references=(
            Reference(path="notificationChannels[*]", kinds=(CHANNEL,), by=("id", "name"), blocks_delete=False),
        ),
        check=_policy_problems,
        on_create=_metrics_are_there,
        on_update=_metrics_are_there,
    ),
    of_google(
        "gcp:monitoring/dashboard:Dashboard",
        "monitoring",
        lambda request: (
            f"projects/{NUMBER}/dashboards/{request.hex_digits(8)}-0000-4000-8000-{request.hex_digits(12)}",
            {},
        ),
        labels="-",
        check=_dashboard_problems,
    ),
)
