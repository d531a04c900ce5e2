"""Alerting policies, each with documentation of the cause and of the first thing to check.

Uptime checks cannot pass Identity-Aware Proxy: the canary's requests (canary.py) and the absence of instance metrics
stand for an outage instead.
https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

import pulumi
from pulumi_gcp import monitoring

from .app_settings import AppSettings
from .database import Database
from .deployment import Deployment
from .log_bucket import service_log_filter
from .log_metrics import promql_name
from .metrics import (
    DATABASE_CONNECTIONS,
    DATABASE_CPU,
    DATABASE_DISK,
    FLEX_CPU,
    INSTANCE_CPU,
    RESPONSE_COUNT,
    TimeSeries,
    database_of,
    instances_of,
    service_of,
)
from .settings import MonitoringSettings
from .sql_tiers import max_connections

_CONSOLE = "https://console.cloud.google.com"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# Allowed are 30 minutes to a day.
# https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies#NotificationChannelStrategy
_RENOTIFY = 4 * _HOUR
# App Engine's metrics are delayed by four minutes, and an update in place may leave a gap.
_ABSENCE = 10 * _MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Condition:
    """A time series above ``threshold`` (None: an absent time series) or a PromQL ``query``, for ``seconds``."""

    seconds: int
    time_series: TimeSeries | None = None
    threshold: float | None = None
    query: pulumi.Input[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alert:
    title: str
    severity: Literal["CRITICAL", "ERROR", "WARNING"]
    text: str
    """Markdown: what happened, and what to check."""
    condition: _Condition
    database: bool = False


def create_alerts(
    deployment: Deployment,
    args: MonitoringSettings,
    *,
    app: AppSettings,
    tier: str,
    database: Database,
    after: pulumi.Resource,
    channel: pulumi.Output[str] | None,
    parent: pulumi.Resource,
) -> Sequence[monitoring.AlertPolicy]:
    """Create all policies; each notifies the channel when an incident opens and when it closes.

    ``tier`` is the database's machine type. The policies exist only while the resource ``after`` does.
    """
    all_alerts = {
        **dict(_service_alerts(deployment, args, app)),
        **_database_alerts(deployment, tier, database),
    }
    # Created after the service and deleted before it: deployments and destroys open no incidents.
    inside = pulumi.ResourceOptions(parent=parent, depends_on=[after])
    return [
        monitoring.AlertPolicy(
            deployment.logical_name(f"alert-{role}"),
            project=deployment.project,
            display_name=pulumi.Output.concat(deployment.title, f": {alert.title}"),
            severity=alert.severity,
            combiner="OR",
            conditions=[_condition(alert)],
            documentation=monitoring.AlertPolicyDocumentationArgs(
                content=alert.text, mime_type="text/markdown", links=_links(deployment, app, database, alert)
            ),
            alert_strategy=_strategy(alert, channel),
            notification_channels=[] if channel is None else [channel],
            user_labels=deployment.labels,
            opts=inside,
        )
        for role, alert in all_alerts.items()
    ]


def _service_alerts(deployment: Deployment, args: MonitoringSettings, app: AppSettings) -> Iterator[tuple[str, _Alert]]:
    service = service_of(deployment, app.service)
    yield (
        "no-instance",
        _Alert(
            title="no running instance",
            severity="CRITICAL",
            text="No instance has reported metrics for ten minutes, and MLflow is unavailable. Check the version's "
            "state in App Engine, and the latest log entries: a container that cannot start logs the reason.",
            condition=_Condition(
                # Aggregated over zones: a version's time series end when its instances move to another zone.
                time_series=TimeSeries(metric=FLEX_CPU, of=service, aligner="ALIGN_MEAN", reducer="REDUCE_MEAN"),
                seconds=_ABSENCE,
            ),
        ),
    )
    if args.canary:
        yield (
            "canary",
            _Alert(
                title="canary requests fail",
                severity="CRITICAL",
                text="More than one of the last three requests that Cloud Scheduler sends through Identity-Aware Proxy "
                "to MLflow and its database failed. Check the job's log entries for the status of the response: 401 "
                "and 403 point to Identity-Aware Proxy, its OAuth client and its members, 5xx to the proxy, MLflow "
                "and the database.",
                condition=_Condition(
                    query=pulumi.Output.concat(
                        _sum_increase(deployment, "canary", "", 15, resource="cloud_scheduler_job"), " > 1.5"
                    ),
                    seconds=0,
                ),
            ),
        )
    if app.max_instances > app.min_instances:
        yield (
            "max-instances",
            _Alert(
                title="maximum number of instances reached",
                severity="WARNING",
                text=f"All {app.max_instances} instances (`app.maxInstances`) have been running for half an hour. "
                "Check the request rate on the dashboard, and raise the maximum or the instance size (`app.cpu`) if "
                "the load is expected.",
                condition=_Condition(
                    time_series=TimeSeries(
                        metric=INSTANCE_CPU,
                        of=instances_of(deployment, app.service),
                        aligner="ALIGN_MEAN",
                        reducer="REDUCE_COUNT",
                    ),
                    threshold=app.max_instances - 1,
                    seconds=30 * _MINUTE,
                ),
            ),
        )
    yield (
        "container-exits",
        _Alert(
            title="container exits unexpectedly",
            severity="ERROR",
            text="The container exited unexpectedly or could not start more than once in 15 minutes. Check the latest "
            "critical log entries, which name the invalid setting, the database error or the killed process; for a "
            "killed process, increase the memory (`app.memoryGb`) or reduce the processes (`app.workers`).",
            condition=_Condition(
                query=pulumi.Output.concat(_sum_increase(deployment, "exits", "", 15), " > 1.5"),
                seconds=0,
            ),
        ),
    )
    yield (
        "stale-keys",
        _Alert(
            title="public keys of Identity-Aware Proxy cannot be fetched",
            severity="ERROR",
            text="The public keys that verify sign-ins could not be fetched for some minutes; those fetched before "
            "stay valid for a day, even if Google revokes one, and then all requests get 503. Check the log entries "
            "with event keys, and the instances' access to www.gstatic.com (Cloud NAT, firewall).",
            condition=_Condition(
                query=pulumi.Output.concat(_sum_increase(deployment, "stale-keys", "", 15), " > 4.5"),
                seconds=0,
            ),
        ),
    )
    yield (
        "server-errors",
        _Alert(
            title="server errors",
            severity="ERROR",
            text="More than four responses within five minutes had a 5xx status. Check the field `error` in the log: "
            "an upstream error or no value points to MLflow and its database, signing-keys-unavailable to the "
            "connection to Google's public keys, internal-error to the proxy, and a request that the proxy did not log "
            "to App Engine's front end, which found no healthy instance.",
            condition=_Condition(
                time_series=TimeSeries(
                    metric=RESPONSE_COUNT,
                    of=service,
                    where='metric.labels.response_code >= "500"',
                    aligner="ALIGN_DELTA",
                    reducer="REDUCE_SUM",
                    seconds=5 * _MINUTE,
                ),
                threshold=4,
                seconds=_MINUTE,
            ),
        ),
    )
    yield (
        "latency",
        _Alert(
            title="high latency",
            severity="WARNING",
            text="The 95th percentile of MLflow's response latency, artifacts excluded, exceeded "
            f"{args.latency_threshold_seconds} s. Check the slow requests on the dashboard, and the database's CPU, "
            "memory and disk utilization.",
            condition=_Condition(
                # At low traffic a few slow requests exceed the percentile: require more than 20 requests.
                query=pulumi.Output.concat(
                    "histogram_quantile(0.95, ",
                    _sum_increase(deployment, "latency", "_bucket", 15, " by (le)"),
                    f") > {args.latency_threshold_seconds * 1000} and on () ",
                    _sum_increase(deployment, "latency", "_count", 15),
                    " > 20",
                ),
                seconds=5 * _MINUTE,
            ),
        ),
    )


def _database_alerts(deployment: Deployment, tier: str, database: Database) -> dict[str, _Alert]:
    resource = database_of(deployment, database.instance_name)
    limit = max_connections(tier)
    return {
        "database-cpu": _Alert(
            title="high database CPU utilization",
            severity="WARNING",
            text="The database's CPU utilization has been above 90 % for 15 minutes. Check Query Insights or the slow "
            "query log, and choose a larger `database.tier` if the queries are MLflow's normal load.",
            condition=_Condition(
                time_series=TimeSeries(metric=DATABASE_CPU, of=resource, aligner="ALIGN_MEAN", reducer="REDUCE_MEAN"),
                threshold=0.9,
                seconds=15 * _MINUTE,
            ),
            database=True,
        ),
        "database-disk": _Alert(
            title="database disk almost full",
            severity="ERROR",
            text="The database's disk utilization is above 90 % although the disk grows automatically; a full disk "
            "stops the database. Check the instance's storage and its limit in Cloud SQL, and the binary logs, which "
            "are kept for `database.transactionLogRetentionDays`.",
            condition=_Condition(
                time_series=TimeSeries(metric=DATABASE_DISK, of=resource, aligner="ALIGN_MEAN", reducer="REDUCE_MAX"),
                threshold=0.9,
                seconds=5 * _MINUTE,
            ),
            database=True,
        ),
        "database-connections": _Alert(
            title="database connections almost exhausted",
            severity="WARNING",
            text=f"More than 80 % of the database's {limit} connections are in use. Check the connected clients "
            "(`SHOW PROCESSLIST`): MLflow's instances have several for each process (`app.workers`), and no other "
            "clients are expected.",
            condition=_Condition(
                time_series=TimeSeries(
                    metric=DATABASE_CONNECTIONS, of=resource, aligner="ALIGN_MEAN", reducer="REDUCE_SUM"
                ),
                threshold=0.8 * limit,
                seconds=5 * _MINUTE,
            ),
            database=True,
        ),
    }


def _sum_increase(
    deployment: Deployment, role: str, part: str, minutes: int, by: str = "", resource: str = "gae_app"
) -> pulumi.Output[str]:
    """PromQL for the increase of a log-based metric, with the resource type and project that Monitoring requires."""
    labels = f'{{monitored_resource="{resource}",project_id="{deployment.project}"}}'
    return pulumi.Output.concat(f"sum{by}(increase(", promql_name(deployment, role, part), f"{labels}[{minutes}m]))")


def _condition(alert: _Alert) -> monitoring.AlertPolicyConditionArgs:
    condition, duration = alert.condition, f"{alert.condition.seconds}s"
    if condition.time_series is None:
        return monitoring.AlertPolicyConditionArgs(
            display_name=alert.title,
            condition_prometheus_query_language=monitoring.AlertPolicyConditionConditionPrometheusQueryLanguageArgs(
                query=condition.query or "",
                duration=duration,
                evaluation_interval=f"{_MINUTE}s",
                # A new log-based metric is unknown for up to ten minutes, and filters that use it are rejected.
                # https://github.com/hashicorp/terraform-provider-google/issues/11102
                disable_metric_validation=True,
            ),
        )
    aggregation = condition.time_series.aggregation
    if condition.threshold is None:
        return monitoring.AlertPolicyConditionArgs(
            display_name=alert.title,
            condition_absent=monitoring.AlertPolicyConditionConditionAbsentArgs(
                filter=condition.time_series.filter,
                aggregations=[
                    monitoring.AlertPolicyConditionConditionAbsentAggregationArgs(
                        alignment_period=aggregation["alignmentPeriod"],
                        per_series_aligner=aggregation["perSeriesAligner"],
                        cross_series_reducer=aggregation["crossSeriesReducer"],
                    )
                ],
                duration=duration,
            ),
        )
    return monitoring.AlertPolicyConditionArgs(
        display_name=alert.title,
        condition_threshold=monitoring.AlertPolicyConditionConditionThresholdArgs(
            filter=condition.time_series.filter,
            aggregations=[
                monitoring.AlertPolicyConditionConditionThresholdAggregationArgs(
                    alignment_period=aggregation["alignmentPeriod"],
                    per_series_aligner=aggregation["perSeriesAligner"],
                    cross_series_reducer=aggregation["crossSeriesReducer"],
                )
            ],
            comparison="COMPARISON_GT",
            threshold_value=condition.threshold,
            duration=duration,
            # Without errors there is no data.
            evaluation_missing_data="EVALUATION_MISSING_DATA_INACTIVE",
        ),
    )


def _strategy(alert: _Alert, channel: pulumi.Output[str] | None) -> monitoring.AlertPolicyAlertStrategyArgs:
    absence = alert.condition.time_series is not None and alert.condition.threshold is None
    renotify = (
        [
            monitoring.AlertPolicyAlertStrategyNotificationChannelStrategyArgs(
                notification_channel_names=[channel], renotify_interval=f"{_RENOTIFY}s"
            )
        ]
        if alert.severity == "CRITICAL" and channel is not None
        else None
    )
    return monitoring.AlertPolicyAlertStrategyArgs(
        # Incidents without data close automatically: those about absent data stay open for the maximum of seven days.
        auto_close=f"{7 * _DAY if absence else _DAY}s",
        notification_prompts=["OPENED", "CLOSED"],
        notification_channel_strategies=renotify,
    )


def _links(
    deployment: Deployment, app: AppSettings, database: Database, alert: _Alert
) -> list[monitoring.AlertPolicyDocumentationLinkArgs]:
    project = f"?project={deployment.project}"
    where = (
        pulumi.Output.concat(f"{_CONSOLE}/sql/instances/", database.instance_name, f"/overview{project}")
        if alert.database
        else f"{_CONSOLE}/appengine/versions{project}&serviceId={app.service}"
    )
    log_url = f"{_CONSOLE}/logs/query;query={quote(service_log_filter(app.service), safe='')}{project}"
    return [
        monitoring.AlertPolicyDocumentationLinkArgs(
            display_name="Database" if alert.database else "Versions", url=where
        ),
        monitoring.AlertPolicyDocumentationLinkArgs(display_name="Log", url=log_url),
    ]
