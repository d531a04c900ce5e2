"""One page that answers: is it up, who uses it, what is slow.

https://cloud.google.com/monitoring/api/ref_v3/rest/v1/projects.dashboards. What is empty or zero is left out: Google
does so, too, and the provider would find a difference at each run.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pulumi
from pulumi_gcp import monitoring

from .args import AppArgs, WatchingArgs
from .database import Database
from .log_store import lines_of
from .metrics import metric_type
from .place import Place
from .series import (
    ANSWER_TIMES,
    ANSWERS,
    CONNECTIONS,
    DATABASE_CPU,
    DATABASE_DISK,
    DATABASE_MEMORY,
    FLEX_CPU,
    INSTANCE_CPU,
    Series,
    database_of,
    instances_of,
    service_of,
)

# Columns of a mosaic, and the heights of what is in it.
_COLUMNS = 48
_TITLE, _GRAPH, _LINES = 4, 16, 20

Widget = dict[str, Any]


def dashboard(
    place: Place,
    args: WatchingArgs,
    *,
    app: AppArgs,
    database: Database,
    bucket: pulumi.Output[str],
    alerts: Sequence[monitoring.AlertPolicy],
    metrics: Sequence[pulumi.Resource],
    parent: pulumi.Resource,
) -> pulumi.Output[str]:
    """Its address in the console. ``bucket`` is the log's."""
    page = _Page()
    _is_it_up(page, place, app, database, alerts)
    _who_uses_it(page, place, app, bucket)
    _what_is_slow(page, place, args, app, bucket)
    made = monitoring.Dashboard(
        place.named("dashboard"),
        project=place.project,
        dashboard_json=pulumi.Output.json_dumps(
            {
                "displayName": f"{place.name} ({place.stack})",
                "mosaicLayout": {"columns": _COLUMNS, "tiles": page.tiles},
            }
        ),
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(metrics)),
    )
    number = made.id.apply(lambda name: name.rpartition("/")[2])
    return pulumi.Output.concat(
        "https://console.cloud.google.com/monitoring/dashboards/builder/", number, f"?project={place.project}"
    )


def _is_it_up(
    page: "_Page", place: Place, app: AppArgs, database: Database, alerts: Sequence[monitoring.AlertPolicy]
) -> None:
    service, watched = service_of(place, app.service), database_of(place, database.instance_name)
    instances = instances_of(place, app.service)
    page.row(_TITLE, _text("Is it up?"))
    page.row(
        _GRAPH,
        {"title": "Alerts that are open", "incidentList": {"policyNames": [alert.name for alert in alerts]}},
        _graph(
            "Instances",
            {"instances": Series(metric=INSTANCE_CPU, of=instances, aligner="ALIGN_MEAN", reducer="REDUCE_COUNT")},
        ),
        _graph(
            "Answers a second, by status",
            {
                "${metric.labels.response_code}": Series(
                    metric=ANSWERS,
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
            "Processors of the instances",
            {"busy": Series(metric=FLEX_CPU, of=service, aligner="ALIGN_MEAN", reducer="REDUCE_MEAN")},
        ),
        _graph(
            "Database: processors, memory, disk",
            {
                name: Series(metric=metric, of=watched, aligner="ALIGN_MEAN", reducer="REDUCE_MAX")
                for name, metric in (
                    ("processors", DATABASE_CPU),
                    ("memory", DATABASE_MEMORY),
                    ("disk", DATABASE_DISK),
                )
            },
        ),
        _graph(
            "Database: connections",
            {"connections": Series(metric=CONNECTIONS, of=watched, aligner="ALIGN_MEAN", reducer="REDUCE_SUM")},
        ),
    )


def _who_uses_it(page: "_Page", place: Place, app: AppArgs, bucket: pulumi.Output[str]) -> None:
    page.row(_TITLE, _text("Who uses it?"))
    page.row(
        _LINES,
        _graph(
            "Requests a second, by role",
            {
                "${metric.labels.role}": Series(
                    metric=metric_type(place, "requests"),
                    of=service_of(place, app.service),
                    aligner="ALIGN_RATE",
                    reducer="REDUCE_SUM",
                    by=("metric.label.role",),
                )
            },
        ),
        _lines("Requests that the proxy ended", app, bucket, "jsonPayload.error:*"),
    )


def _what_is_slow(page: "_Page", place: Place, args: WatchingArgs, app: AppArgs, bucket: pulumi.Output[str]) -> None:
    service = service_of(place, app.service)
    page.row(_TITLE, _text("What is slow?"))
    page.row(
        _GRAPH,
        _graph(
            "Until MLflow's answer begins, without artifacts (ms)",
            {
                f"{share} %": Series(
                    metric=metric_type(place, "latency"),
                    of=service,
                    aligner="ALIGN_DELTA",
                    reducer=f"REDUCE_PERCENTILE_{share}",
                    seconds=300,
                )
                for share in (50, 95, 99)
            },
        ),
        _graph(
            "App Engine's answers, whole and with artifacts (ms)",
            {
                f"{share} %": Series(
                    metric=ANSWER_TIMES,
                    of=service,
                    aligner="ALIGN_DELTA",
                    reducer=f"REDUCE_PERCENTILE_{share}",
                    seconds=300,
                )
                for share in (50, 95)
            },
        ),
    )
    slow = f"jsonPayload.upstream_ms >= {args.slow_seconds * 1000}"
    page.row(_LINES, _lines(f"Requests that MLflow took {args.slow_seconds} s or more for", app, bucket, slow))


class _Page:
    """Rows from top to bottom, each with its widgets side by side."""

    def __init__(self) -> None:
        self.tiles: list[dict[str, Any]] = []
        self._below = 0

    def row(self, height: int, *widgets: Widget) -> None:
        width = _COLUMNS // len(widgets)
        for number, widget in enumerate(widgets):
            place = {"xPos": number * width, "yPos": self._below}
            left = {name: value for name, value in place.items() if value}
            self.tiles.append({**left, "width": width, "height": height, "widget": widget})
        self._below += height


def _text(title: str) -> Widget:
    return {"text": {"content": f"## {title}", "format": "MARKDOWN"}}


def _graph(title: str, lines: dict[str, Series]) -> Widget:
    return {"title": title, "xyChart": {"dataSets": list(_data(lines)), "yAxis": {"scale": "LINEAR"}}}


def _data(lines: dict[str, Series]) -> Iterator[dict[str, Any]]:
    for legend, series in lines.items():
        shown = {"filter": series.filter, "aggregation": series.aggregation}
        yield {
            "legendTemplate": legend,
            "minAlignmentPeriod": f"{series.seconds}s",
            "plotType": "LINE",
            "targetAxis": "Y1",
            "timeSeriesQuery": {"timeSeriesFilter": shown},
        }


def _lines(title: str, app: AppArgs, bucket: pulumi.Output[str], which: str) -> Widget:
    return {
        "title": title,
        "logsPanel": {
            "filter": f"{lines_of(app.service)}\n{which}",
            "resourceNames": [pulumi.Output.concat(bucket, "/views/_AllLogs")],
        },
    }
