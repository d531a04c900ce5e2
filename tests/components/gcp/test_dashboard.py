"""The Cloud Monitoring dashboard."""

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from components.gcp.log_bucket import service_log_filter

from .helpers import NUMBER, PROJECT, only
from .monitoring_filter import NUMERIC, aggregated, metric_of
from .recorded_monitoring import DASHBOARD, METRIC, POLICY, graph, own_metrics, recorded


def page() -> dict[str, Any]:
    return json.loads(only(graph(), DASHBOARD).inputs["dashboardJson"])


def tiles() -> list[dict[str, Any]]:
    return page()["mosaicLayout"]["tiles"]


def widgets() -> list[dict[str, Any]]:
    return [tile["widget"] for tile in tiles()]


def series() -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """(data set, query) of each charted line."""
    for widget in widgets():
        for one in widget.get("xyChart", {}).get("dataSets", ()):
            yield one, one["timeSeriesQuery"]["timeSeriesFilter"]


def test_dashboard_has_three_sections() -> None:
    asked = [one["text"]["content"] for one in widgets() if "text" in one]
    assert asked == ["## Health", "## Usage", "## Latency"]


def test_charts_have_valid_queries() -> None:
    own = own_metrics(graph())
    drawn = list(series())
    assert len(drawn) >= 10
    for data, query in drawn:
        assert aggregated(metric_of(query["filter"], own), query["aggregation"])[1] in NUMERIC
        assert f'resource.labels.project_id = "{PROJECT}"' in query["filter"]
        assert data["minAlignmentPeriod"] == query["aggregation"]["alignmentPeriod"]


def test_legends_use_grouped_labels() -> None:
    for data, query in series():
        kept = [one.replace("metric.label.", "metric.labels.") for one in query["aggregation"].get("groupByFields", ())]
        named = [part.partition("}")[0] for part in data["legendTemplate"].split("${")[1:]]
        assert named == kept
        assert data["legendTemplate"]


def test_dashboard_shows_log_metrics() -> None:
    drawn = {query["filter"].partition('metric.type = "')[2].partition('"')[0] for _, query in series()}
    assert own_metrics(graph()).keys() & drawn == {
        "logging.googleapis.com/user/dev-mlflow-requests",
        "logging.googleapis.com/user/dev-mlflow-latency",
    }


def test_dashboard_lists_all_alerts() -> None:
    (shown,) = [one["incidentList"]["policyNames"] for one in widgets() if "incidentList" in one]
    assert shown == [one.outputs["name"] for one in graph().of(POLICY)]


def test_log_panels_read_the_stacks_log_bucket() -> None:
    panels = [one["logsPanel"] for one in widgets() if "logsPanel" in one]
    (bucket,) = graph().of("gcp:logging/projectBucketConfig:ProjectBucketConfig")
    assert len(panels) == 2
    for panel in panels:
        assert panel["resourceNames"] == [f"{bucket.id}/views/_AllLogs"]
        assert panel["filter"].startswith(service_log_filter("mlflow") + "\n")


def test_tiles_do_not_overlap() -> None:
    places = [
        (one.get("xPos", 0), one.get("yPos", 0), one.get("xPos", 0) + one["width"], one.get("yPos", 0) + one["height"])
        for one in tiles()
    ]
    for left, _, right, _ in places:
        assert 0 <= left < right <= page()["mosaicLayout"]["columns"] == 48
    for one, other in itertools.combinations(places, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_json_has_no_empty_or_zero_values() -> None:
    """The API does not return them, and each `up` would update the dashboard.

    hashicorp/terraform-provider-google#16173
    """

    def leaves(value: Any) -> Iterator[Any]:
        inside = cast("dict[str, Any]", value).values() if isinstance(value, dict) else cast("list[Any]", value)
        if isinstance(value, dict | list):
            assert value
            for inner in inside:
                yield from leaves(inner)
        else:
            yield value

    found = list(leaves(page()))
    assert found
    assert all(found)


def test_dashboard_depends_on_the_log_metrics() -> None:
    assert {one.urn for one in graph().of(METRIC)} <= set(only(graph(), DASHBOARD).dependencies)


def test_display_name_has_the_stack() -> None:
    other = only(recorded(stack="prod"), DASHBOARD)
    assert json.loads(other.inputs["dashboardJson"])["displayName"] == "mlflow (prod)"
    assert page()["displayName"] == "mlflow (dev)"


def test_dashboard_url_has_id_and_project() -> None:
    made = only(graph(), DASHBOARD)
    assert made.id.startswith(f"projects/{NUMBER}/dashboards/")
    assert graph().outputs["dashboard_url"] == (
        f"https://console.cloud.google.com/monitoring/dashboards/builder/{made.id.rpartition('/')[2]}?project={PROJECT}"
    )


def test_dashboard_can_be_disabled() -> None:
    without = recorded(dashboard=False)
    assert without.of(DASHBOARD) == []
    assert without.outputs.get("dashboard_url") is None
    assert len(without.of(POLICY)) == len(graph().of(POLICY))
