"""The Cloud Monitoring dashboard with the sections health, usage and latency.

https://cloud.google.com/monitoring/api/ref_v3/rest/v1/projects.dashboards. Empty and zero values are omitted, as in the
API's responses: otherwise the provider would report a difference in each run.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pulumi
from pulumi_gcp import monitoring

from .app_settings import AppSettings
from .database import Database
from .deployment import Deployment
from .log_bucket import service_log_filter
from .log_metrics import metric_type
from .metrics import (
    DATABASE_CONNECTIONS,
    DATABASE_CPU,
    DATABASE_DISK,
    DATABASE_MEMORY,
    FLEX_CPU,
    INSTANCE_CPU,
    RESPONSE_COUNT,
    RESPONSE_LATENCIES,
    TimeSeries,
    database_of,
    instances_of,
    service_of,
)
from .settings import MonitoringSettings

# Columns of the mosaic layout, and heights of its tiles.
_COLUMNS = 48
_TITLE, _GRAPH, _PANEL = 4, 16, 20

Widget = dict[str, Any]


def create_dashboard(
    deployment: Deployment,
    args: MonitoringSettings,
    *,
    app: AppSettings,
    database: Database,
    log_bucket: pulumi.Output[str],
    alerts: Sequence[monitoring.AlertPolicy],
    metrics: Sequence[pulumi.Resource],
    parent: pulumi.Resource,
) -> pulumi.Output[str]:
    """Create the dashboard; returns its URL. ``log_bucket`` is the log bucket's resource name."""
    page = _Page()
    _add_health(page, deployment, app, database, alerts)
    _add_usage(page, deployment, app, log_bucket)
    _add_latency(page, deployment, args, app, log_bucket)
    board = monitoring.Dashboard(
        deployment.logical_name("dashboard"),
        project=deployment.project,
        dashboard_json=pulumi.Output.json_dumps(
            {
                "displayName": deployment.title,
                "mosaicLayout": {"columns": _COLUMNS, "tiles": page.tiles},
            }
        ),
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(metrics)),
    )
    number = board.id.apply(lambda name: name.rpartition("/")[2])
    return pulumi.Output.concat(
        "https://console.cloud.google.com/monitoring/dashboards/builder/", number, f"?project={deployment.project}"
    )


def _add_health(
    page: "_Page",
    deployment: Deployment,
    app: AppSettings,
    database: Database,
    alerts: Sequence[monitoring.AlertPolicy],
) -> None:
    service, database_resource = service_of(deployment, app.service), database_of(deployment, database.instance_name)
    instances = instances_of(deployment, app.service)
    page.row(_TITLE, _text("Health"))
    page.row(
        _GRAPH,
        {"title": "Open incidents", "incidentList": {"policyNames": [alert.name for alert in alerts]}},
        _graph(
            "Instances",
            {"instances": TimeSeries(metric=INSTANCE_CPU, of=instances, aligner="ALIGN_MEAN", reducer="REDUCE_COUNT")},
        ),
        _graph(
            "Responses per second, by status",
            {
                "${metric.labels.response_code}": TimeSeries(
                    metric=RESPONSE_COUNT,
                    of=service,
                    aligner="ALIGN_RATE",
                    reducer="REDUCE_SUM",
                    by=("metric.label.response_code",),
                )
            },
        ),
    )
    page.row(
        _GRAPH,
        _graph(
            "CPU utilization of the instances",
            {"CPU": TimeSeries(metric=FLEX_CPU, of=service, aligner="ALIGN_MEAN", reducer="REDUCE_MEAN")},
        ),
        _graph(
            "Database: CPU, memory and disk utilization",
            {
                name: TimeSeries(metric=metric, of=database_resource, aligner="ALIGN_MEAN", reducer="REDUCE_MAX")
                for name, metric in (
                    ("CPU", DATABASE_CPU),
                    ("memory", DATABASE_MEMORY),
                    ("disk", DATABASE_DISK),
                )
            },
        ),
        _graph(
            "Database: connections",
            {
                "connections": TimeSeries(
                    metric=DATABASE_CONNECTIONS, of=database_resource, aligner="ALIGN_MEAN", reducer="REDUCE_SUM"
                )
            },
        ),
    )


def _add_usage(page: "_Page", deployment: Deployment, app: AppSettings, log_bucket: pulumi.Output[str]) -> None:
    page.row(_TITLE, _text("Usage"))
    page.row(
        _PANEL,
        _graph(
            "Requests per second, by role",
            {
                "${metric.labels.role}": TimeSeries(
                    metric=metric_type(deployment, "requests"),
                    of=service_of(deployment, app.service),
                    aligner="ALIGN_RATE",
                    reducer="REDUCE_SUM",
                    by=("metric.label.role",),
                )
            },
        ),
        _log_panel("Requests rejected or aborted by the proxy", app, log_bucket, "jsonPayload.error:*"),
    )


def _add_latency(
    page: "_Page", deployment: Deployment, args: MonitoringSettings, app: AppSettings, log_bucket: pulumi.Output[str]
) -> None:
    service = service_of(deployment, app.service)
    page.row(_TITLE, _text("Latency"))
    page.row(
        _GRAPH,
        _graph(
            "Time to MLflow's response, without artifacts (ms)",
            {
                f"{share} %": TimeSeries(
                    metric=metric_type(deployment, "latency"),
                    of=service,
                    aligner="ALIGN_DELTA",
                    reducer=f"REDUCE_PERCENTILE_{share}",
                    seconds=300,
                )
                for share in (50, 95, 99)
            },
        ),
        _graph(
            "App Engine's response latency, with artifacts (ms)",
            {
                f"{share} %": TimeSeries(
                    metric=RESPONSE_LATENCIES,
                    of=service,
                    aligner="ALIGN_DELTA",
                    reducer=f"REDUCE_PERCENTILE_{share}",
                    seconds=300,
                )
                for share in (50, 95)
            },
        ),
    )
    slow = f"jsonPayload.upstream_duration_ms >= {args.latency_threshold_seconds * 1000}"
    page.row(
        _PANEL,
        _log_panel(f"Requests with a latency of {args.latency_threshold_seconds} s or more", app, log_bucket, slow),
    )


class _Page:
    """A mosaic layout of rows, top to bottom, each with widgets of equal width."""

    def __init__(self) -> None:
        self.tiles: list[dict[str, Any]] = []
        self._next_y = 0

    def row(self, height: int, *widgets: Widget) -> None:
        width = _COLUMNS // len(widgets)
        for number, widget in enumerate(widgets):
            corner = {"xPos": number * width, "yPos": self._next_y}
            position = {name: value for name, value in corner.items() if value}
            self.tiles.append({**position, "width": width, "height": height, "widget": widget})
        self._next_y += height


def _text(title: str) -> Widget:
    return {"text": {"content": f"## {title}", "format": "MARKDOWN"}}


def _graph(title: str, lines: dict[str, TimeSeries]) -> Widget:
    return {"title": title, "xyChart": {"dataSets": list(_data_sets(lines)), "yAxis": {"scale": "LINEAR"}}}


def _data_sets(lines: dict[str, TimeSeries]) -> Iterator[dict[str, Any]]:
    for legend, time_series in lines.items():
        query = {"filter": time_series.filter, "aggregation": time_series.aggregation}
        yield {
            "legendTemplate": legend,
            "minAlignmentPeriod": f"{time_series.seconds}s",
            "plotType": "LINE",
            "targetAxis": "Y1",
            "timeSeriesQuery": {"timeSeriesFilter": query},
        }


def _log_panel(title: str, app: AppSettings, log_bucket: pulumi.Output[str], which: str) -> Widget:
    return {
        "title": title,
        "logsPanel": {
            "filter": f"{service_log_filter(app.service)}\n{which}",
            "resourceNames": [pulumi.Output.concat(log_bucket, "/views/_AllLogs")],
        },
    }
