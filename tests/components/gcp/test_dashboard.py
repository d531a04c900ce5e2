"""The Cloud Monitoring dashboard."""

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from components.gcp.log_bucket import service_log_filter

from .helpers import NUMBER, PROJECT, only
from .monitoring_filter import NUMERIC, aggregate, metric_of
from .recorded_monitoring import DASHBOARD, METRIC, POLICY, default_graph, log_metrics, record_monitoring


def dashboard() -> dict[str, Any]:
    return json.loads(only(default_graph(), DASHBOARD).inputs["dashboardJson"])


def tiles() -> list[dict[str, Any]]:
    return dashboard()["mosaicLayout"]["tiles"]


def widgets() -> list[dict[str, Any]]:
    return [tile["widget"] for tile in tiles()]


def charted_series() -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """(data set, query) of each charted line."""
    for widget in widgets():
        for data_set in widget.get("xyChart", {}).get("dataSets", ()):
            yield data_set, data_set["timeSeriesQuery"]["timeSeriesFilter"]


def test_dashboard_has_three_sections() -> None:
    headings = [widget["text"]["content"] for widget in widgets() if "text" in widget]
    assert headings == ["## Health", "## Usage", "## Latency"]


def test_charts_have_valid_queries() -> None:
    metrics = log_metrics(default_graph())
    series = list(charted_series())
    assert len(series) >= 10
    for data, query in series:
        assert aggregate(metric_of(query["filter"], metrics), query["aggregation"])[1] in NUMERIC
        assert f'resource.labels.project_id = "{PROJECT}"' in query["filter"]
        assert data["minAlignmentPeriod"] == query["aggregation"]["alignmentPeriod"]


def test_legends_name_the_grouped_labels() -> None:
    for data, query in charted_series():
        grouped = [
            label.replace("metric.label.", "metric.labels.") for label in query["aggregation"].get("groupByFields", ())
        ]
        named = [part.partition("}")[0] for part in data["legendTemplate"].split("${")[1:]]
        assert named == grouped
        assert data["legendTemplate"]


def test_dashboard_shows_log_metrics() -> None:
    charted = {query["filter"].partition('metric.type = "')[2].partition('"')[0] for _, query in charted_series()}
    assert log_metrics(default_graph()).keys() & charted == {
        "logging.googleapis.com/user/dev-mlflow-requests",
        "logging.googleapis.com/user/dev-mlflow-latency",
    }


def test_dashboard_lists_all_alerts() -> None:
    (listed,) = [widget["incidentList"]["policyNames"] for widget in widgets() if "incidentList" in widget]
    assert listed == [policy.outputs["name"] for policy in default_graph().of(POLICY)]


def test_log_panels_read_the_stacks_log_bucket() -> None:
    panels = [widget["logsPanel"] for widget in widgets() if "logsPanel" in widget]
    (bucket,) = default_graph().of("gcp:logging/projectBucketConfig:ProjectBucketConfig")
    assert len(panels) == 2
    for panel in panels:
        assert panel["resourceNames"] == [f"{bucket.id}/views/_AllLogs"]
        assert panel["filter"].startswith(service_log_filter("mlflow") + "\n")


def test_tiles_do_not_overlap() -> None:
    rectangles = [
        (
            tile.get("xPos", 0),
            tile.get("yPos", 0),
            tile.get("xPos", 0) + tile["width"],
            tile.get("yPos", 0) + tile["height"],
        )
        for tile in tiles()
    ]
    for left, _, right, _ in rectangles:
        assert 0 <= left < right <= dashboard()["mosaicLayout"]["columns"] == 48
    for first, second in itertools.combinations(rectangles, 2):
        assert first[2] <= second[0] or second[2] <= first[0] or first[3] <= second[1] or second[3] <= first[1]


def test_json_has_no_empty_or_zero_values() -> None:
    """The API omits them, so that each `up` would update the dashboard.

    hashicorp/terraform-provider-google#16173
    """

    def leaves(value: Any) -> Iterator[Any]:
        children = cast("dict[str, Any]", value).values() if isinstance(value, dict) else cast("list[Any]", value)
        if isinstance(value, dict | list):
            assert value
            for inner in children:
                yield from leaves(inner)
        else:
            yield value

    values = list(leaves(dashboard()))
    assert values
    assert all(values)


def test_dashboard_depends_on_the_log_metrics() -> None:
    assert {metric.urn for metric in default_graph().of(METRIC)} <= set(only(default_graph(), DASHBOARD).dependencies)


def test_display_name_has_the_stack() -> None:
    production = only(record_monitoring(stack="prod"), DASHBOARD)
    assert json.loads(production.inputs["dashboardJson"])["displayName"] == "mlflow (prod)"
    assert dashboard()["displayName"] == "mlflow (dev)"


def test_dashboard_url_has_id_and_project() -> None:
    resource = only(default_graph(), DASHBOARD)
    assert resource.id.startswith(f"projects/{NUMBER}/dashboards/")
    assert default_graph().outputs["dashboard_url"] == (
        f"https://console.cloud.google.com/monitoring/dashboards/builder/{resource.id.rpartition('/')[2]}?project={PROJECT}"
    )


def test_dashboard_can_be_disabled() -> None:
    graph = record_monitoring(dashboard=False, canary=True)
    assert graph.of(DASHBOARD) == []
    assert graph.outputs.get("dashboard_url") is None
    assert len(graph.of(POLICY)) == len(default_graph().of(POLICY))
