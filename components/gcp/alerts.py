"""What somebody should know of, and what to look at first then.

Identity-Aware Proxy is in an uptime check's way: that nobody reports is what says that nothing runs.
https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

import pulumi
from pulumi_gcp import monitoring

from .args import AppArgs, WatchingArgs
from .database import Database
from .log_store import lines_of
from .metrics import metric_in_promql
from .place import Place
from .series import (
    ANSWERS,
    CONNECTIONS,
    DATABASE_CPU,
    DATABASE_DISK,
    FLEX_CPU,
    INSTANCE_CPU,
    Series,
    database_of,
    instances_of,
    service_of,
)
from .tiers import connections

_CONSOLE = "https://console.cloud.google.com"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# Google takes half an hour to a day.
# https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies#NotificationChannelStrategy
_AGAIN = 4 * _HOUR
# App Engine's metrics are four minutes late, and an update in place may leave a gap.
_SILENT = 10 * _MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Condition:
    """One of ``over`` a threshold and ``absent``, or a ``query`` in PromQL; for so many ``seconds``."""

    seconds: int
    series: Series | None = None
    over: float | None = None
    query: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alert:
    title: str
    severity: Literal["CRITICAL", "ERROR", "WARNING"]
    says: str
    """Markdown: what has happened, and what to look at."""
    condition: _Condition
    database: bool = False


def alerts(
    place: Place,
    args: WatchingArgs,
    *,
    app: AppArgs,
    tier: str,
    database: Database,
    after: pulumi.Resource,
    channel: pulumi.Output[str] | None,
    parent: pulumi.Resource,
) -> Sequence[monitoring.AlertPolicy]:
    """All of them; each tells the channel when it goes off, and when it is over. ``tier`` is the database's."""
    found = {
        **dict(_of_the_service(place, args, app)),
        **_of_the_database(place, tier, database),
    }
    # There from when the service is, and gone before it goes: what is being built or destroyed is no reason for mail.
    inside = pulumi.ResourceOptions(parent=parent, depends_on=[after])
    return [
        monitoring.AlertPolicy(
            place.named(f"alert-{role}"),
            project=place.project,
            display_name=f"{place.name} ({place.stack}): {alert.title}",
            severity=alert.severity,
            combiner="OR",
            conditions=[_condition(alert)],
            documentation=monitoring.AlertPolicyDocumentationArgs(
                content=alert.says, mime_type="text/markdown", links=_links(place, app, database, alert)
            ),
            alert_strategy=_strategy(alert, channel),
            notification_channels=[] if channel is None else [channel],
            user_labels=place.labels,
            opts=inside,
        )
        for role, alert in found.items()
    ]


def _of_the_service(place: Place, args: WatchingArgs, app: AppArgs) -> Iterator[tuple[str, _Alert]]:
    service = service_of(place, app.service)
    yield (
        "absent",
        _Alert(
            title="no instance reports",
            severity="CRITICAL",
            says="No instance has reported for ten minutes, and nobody reaches MLflow. Look at the version's state in "
            "App Engine, and at the last lines of the log: a container that cannot start says why.",
            condition=_Condition(
                # As one: a version's series end when its instances move to another zone.
                series=Series(metric=FLEX_CPU, of=service, aligner="ALIGN_MEAN", reducer="REDUCE_MEAN"),
                seconds=_SILENT,
            ),
        ),
    )
    if app.max_instances > app.min_instances:
        yield (
            "instances",
            _Alert(
                title="no further instance is allowed",
                severity="WARNING",
                says=f"All {app.max_instances} instances that are allowed (`app.maxInstances`) have been running for "
                "half an hour. Look at who asks that much on the dashboard, and allow more, or larger ones "
                "(`app.cpu`), if that is wanted.",
                condition=_Condition(
                    series=Series(
                        metric=INSTANCE_CPU,
                        of=instances_of(place, app.service),
                        aligner="ALIGN_MEAN",
                        reducer="REDUCE_COUNT",
                    ),
                    over=app.max_instances - 1,
                    seconds=30 * _MINUTE,
                ),
            ),
        )
    yield (
        "ends",
        _Alert(
            title="the container ends by itself",
            severity="ERROR",
            says="The container has ended by itself, or could not start, more than once in a quarter of an hour. Look "
            "at the log's last critical lines, which name the setting, the database's answer or the process that was "
            "killed; for the last, give it more memory (`app.memoryGb`) or fewer processes (`app.workers`).",
            condition=_Condition(
                query=f"{_sum(place, 'ends', '', 15)} > 1.5",
                seconds=0,
            ),
        ),
    )
    yield (
        "errors",
        _Alert(
            title="requests fail",
            severity="ERROR",
            says="More than four requests were answered with an error of the server's (5xx) within five minutes. Look "
            "at `error` in the log: upstream words and none at all mean MLflow and its database, no-keys the way to "
            "Google's keys, fault the proxy, and without any line it is App Engine's front, which found no instance "
            "ready.",
            condition=_Condition(
                series=Series(
                    metric=ANSWERS,
                    of=service,
                    where='metric.labels.response_code >= "500"',
                    aligner="ALIGN_DELTA",
                    reducer="REDUCE_SUM",
                    seconds=5 * _MINUTE,
                ),
                over=4,
                seconds=_MINUTE,
            ),
        ),
    )
    yield (
        "slow",
        _Alert(
            title="MLflow is slow",
            severity="WARNING",
            says=f"A twentieth of MLflow's answers took more than {args.slow_seconds} s to begin, artifacts left out. "
            "Look at the slow requests on the dashboard, and beside them at the database's processors, memory and "
            "disk.",
            condition=_Condition(
                # A few slow requests at night are a twentieth, too.
                query=f"histogram_quantile(0.95, {_sum(place, 'latency', '_bucket', 15, ' by (le)')})"
                f" > {args.slow_seconds * 1000} and on () {_sum(place, 'latency', '_count', 15)} > 20",
                seconds=5 * _MINUTE,
            ),
        ),
    )


def _of_the_database(place: Place, tier: str, database: Database) -> dict[str, _Alert]:
    watched = database_of(place, database.instance_name)
    most = connections(tier)
    return {
        "database-cpu": _Alert(
            title="the database's processors are busy",
            severity="WARNING",
            says="The database's processors have been busier than 90 % for a quarter of an hour. Look at its Query "
            "Insights or slow queries, and give it a larger `database.tier` if they are MLflow's everyday ones.",
            condition=_Condition(
                series=Series(metric=DATABASE_CPU, of=watched, aligner="ALIGN_MEAN", reducer="REDUCE_MEAN"),
                over=0.9,
                seconds=15 * _MINUTE,
            ),
            database=True,
        ),
        "database-disk": _Alert(
            title="the database's disk is nearly full",
            severity="ERROR",
            says="The database's disk is fuller than 90 %, although it should have grown by itself before; a full one "
            "stops the database. Look at the instance's storage and its limit in Cloud SQL, and at the binary logs, "
            "which `database.logDays` keeps.",
            condition=_Condition(
                series=Series(metric=DATABASE_DISK, of=watched, aligner="ALIGN_MEAN", reducer="REDUCE_MAX"),
                over=0.9,
                seconds=5 * _MINUTE,
            ),
            database=True,
        ),
        "database-connections": _Alert(
            title="the database's connections run out",
            severity="WARNING",
            says=f"More than four fifths of the {most} connections that the database takes are in use. Look at who is "
            "connected (`SHOW PROCESSLIST`): MLflow's instances have some for each process (`app.workers`), and what "
            "else is there is not MLflow's.",
            condition=_Condition(
                series=Series(metric=CONNECTIONS, of=watched, aligner="ALIGN_MEAN", reducer="REDUCE_SUM"),
                over=0.8 * most,
                seconds=5 * _MINUTE,
            ),
            database=True,
        ),
    }


def _sum(place: Place, role: str, part: str, minutes: int, by: str = "") -> str:
    """PromQL for how much a metric from the log grew; it wants to be told of which resource's, and of which project."""
    metric = metric_in_promql(place, role, part)
    return f'sum{by}(increase({metric}{{monitored_resource="gae_app",project_id="{place.project}"}}[{minutes}m]))'


def _condition(alert: _Alert) -> monitoring.AlertPolicyConditionArgs:
    wanted, lasting = alert.condition, f"{alert.condition.seconds}s"
    if wanted.series is None:
        return monitoring.AlertPolicyConditionArgs(
            display_name=alert.title,
            condition_prometheus_query_language=monitoring.AlertPolicyConditionConditionPrometheusQueryLanguageArgs(
                query=wanted.query or "",
                duration=lasting,
                evaluation_interval=f"{_MINUTE}s",
                # A new metric from the log is not known for up to ten minutes, and a filter for it is refused.
                # https://github.com/hashicorp/terraform-provider-google/issues/11102
                disable_metric_validation=True,
            ),
        )
    aggregation = wanted.series.aggregation
    if wanted.over is None:
        return monitoring.AlertPolicyConditionArgs(
            display_name=alert.title,
            condition_absent=monitoring.AlertPolicyConditionConditionAbsentArgs(
                filter=wanted.series.filter,
                aggregations=[
                    monitoring.AlertPolicyConditionConditionAbsentAggregationArgs(
                        alignment_period=aggregation["alignmentPeriod"],
                        per_series_aligner=aggregation["perSeriesAligner"],
                        cross_series_reducer=aggregation["crossSeriesReducer"],
                    )
                ],
                duration=lasting,
            ),
        )
    return monitoring.AlertPolicyConditionArgs(
        display_name=alert.title,
        condition_threshold=monitoring.AlertPolicyConditionConditionThresholdArgs(
            filter=wanted.series.filter,
            aggregations=[
                monitoring.AlertPolicyConditionConditionThresholdAggregationArgs(
                    alignment_period=aggregation["alignmentPeriod"],
                    per_series_aligner=aggregation["perSeriesAligner"],
                    cross_series_reducer=aggregation["crossSeriesReducer"],
                )
            ],
            comparison="COMPARISON_GT",
            threshold_value=wanted.over,
            duration=lasting,
            # Where nothing fails, nothing is counted.
            evaluation_missing_data="EVALUATION_MISSING_DATA_INACTIVE",
        ),
    )


def _strategy(alert: _Alert, channel: pulumi.Output[str] | None) -> monitoring.AlertPolicyAlertStrategyArgs:
    absence = alert.condition.series is not None and alert.condition.over is None
    again = (
        [
            monitoring.AlertPolicyAlertStrategyNotificationChannelStrategyArgs(
                notification_channel_names=[channel], renotify_interval=f"{_AGAIN}s"
            )
        ]
        if alert.severity == "CRITICAL" and channel is not None
        else None
    )
    return monitoring.AlertPolicyAlertStrategyArgs(
        # An incident without data closes itself: what is about missing data has to stay open, seven days at most.
        auto_close=f"{7 * _DAY if absence else _DAY}s",
        notification_prompts=["OPENED", "CLOSED"],
        notification_channel_strategies=again,
    )


def _links(
    place: Place, app: AppArgs, database: Database, alert: _Alert
) -> list[monitoring.AlertPolicyDocumentationLinkArgs]:
    of_project = f"?project={place.project}"
    where = (
        pulumi.Output.concat(f"{_CONSOLE}/sql/instances/", database.instance_name, f"/overview{of_project}")
        if alert.database
        else f"{_CONSOLE}/appengine/versions{of_project}&serviceId={app.service}"
    )
    log = f"{_CONSOLE}/logs/query;query={quote(lines_of(app.service), safe='')}{of_project}"
    return [
        monitoring.AlertPolicyDocumentationLinkArgs(
            display_name="Database" if alert.database else "Versions", url=where
        ),
        monitoring.AlertPolicyDocumentationLinkArgs(display_name="Log", url=log),
    ]
