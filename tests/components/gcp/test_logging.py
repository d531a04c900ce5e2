"""The log bucket, the way there, and what is counted from the lines that are written."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import mlflow_app
from components.gcp.log_bucket import service_log_filter
from components.gcp.log_metrics import LOG_METRICS
from mlflow_app import logs
from proxy_app.access_log import AccessLog
from proxy_app.auth import ROLES, Principal, Role
from proxy_app.context import RequestRecord
from tests.doubles.routes import match_route

from .helpers import PROJECT, REGION, only
from .log_filter import entry, finds
from .recorded_monitoring import METRIC, graph, own_metrics, recorded

BUCKET = "gcp:logging/projectBucketConfig:ProjectBucketConfig"
SINK = "gcp:logging/projectSink:ProjectSink"
EXCLUSION = "gcp:logging/projectExclusion:ProjectExclusion"
ARTIFACTS = [
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/1/a"),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/a"),
    ("POST", "/ajax-api/2.0/mlflow/upload-artifact"),
    ("GET", "/get-artifact"),
]


def request(
    status: int = 200,
    error: str = "",
    *,
    waited: float | None = None,
    role: Role | None = None,
    method: str = "POST",
    path: str = "/api/2.0/mlflow/runs/create",
) -> Any:
    """What Cloud Logging has of a request, from what the proxy and the container write."""
    lines: list[str] = []
    record = RequestRecord("0123456789abcdef", method, status=status, error=error, upstream_seconds=waited)
    record.route = match_route(method, path)
    assert record.route is not None
    record.principal = Principal("ann@example.com", role, "iap") if role else None
    AccessLog(lines.append).record(record)
    return entry(logs.convert_proxy_line(lines[0], is_error=False))


def counted(logged: Any) -> set[str]:
    return {
        role for role in LOG_METRICS if finds(only(graph(), METRIC, f"mlflow-metric-{role}").inputs["filter"], logged)
    }


def test_every_request_counts() -> None:
    assert counted(request(401, "invalid-assertion")) == {"requests"}
    assert counted(request(500, waited=0.1)) == {"requests", "latency"}


@pytest.mark.parametrize("role", ROLES)
def test_requests_are_told_apart_by_what_the_proxy_calls_the_role(role: Role) -> None:
    metric = only(graph(), METRIC, "mlflow-metric-requests").inputs
    assert metric["labelExtractors"] == {"role": "EXTRACT(jsonPayload.role)"}
    assert request(role=role)["jsonPayload"]["role"] == role.label


def test_only_answers_that_mlflow_was_asked_for_can_be_slow() -> None:
    metric = only(graph(), METRIC, "mlflow-metric-latency").inputs
    assert metric["valueExtractor"] == "EXTRACT(jsonPayload.upstream_duration_ms)"
    assert metric["metricDescriptor"]["unit"] == "ms"
    assert request(waited=1.5)["jsonPayload"]["upstream_duration_ms"] == 1500.0
    assert "latency" in counted(request(waited=0.0))
    assert "latency" not in counted(request(403, "role"))


@pytest.mark.parametrize(("method", "path"), ARTIFACTS)
def test_how_long_an_artifact_takes_is_not_mlflows_speed(method: str, path: str) -> None:
    assert counted(request(waited=60.0, method=method, path=path)) == {"requests"}


def test_a_percentile_of_any_wait_is_right_to_a_quarter() -> None:
    spread = only(graph(), METRIC, "mlflow-metric-latency").inputs["bucketOptions"]["exponentialBuckets"]
    assert spread["growthFactor"] <= 1.25
    # MLflow's answers are waited for that long at most (MLFLOW_PROXY_UPSTREAM_TIMEOUT_SECONDS is 120).
    assert spread["scale"] * spread["growthFactor"] ** spread["numFiniteBuckets"] > 120_000


def test_a_container_that_ends_by_itself_counts() -> None:
    for source, said in (
        ("supervisor.py", r'_log\("CRITICAL", f"\{exited\.name\} exited unexpectedly'),
        ("__main__.py", r'logs\.format_entry\("CRITICAL", line, "container"\)'),
    ):
        assert re.search(said, (Path(mlflow_app.__path__[0]) / source).read_text(encoding="utf-8"))
    assert counted(entry(logs.format_entry("CRITICAL", "MLflow exited unexpectedly, exit code 1", "container"))) == {
        "exits"
    }


@pytest.mark.parametrize(
    "line",
    [
        logs.format_entry("INFO", "Stopping: the proxy first, then MLflow", "container"),
        logs.format_entry("WARNING", "MLflow did not end within 5 s, and is killed", "container"),
        logs.format_entry("ERROR", "Something failed", "container"),
        # The container's own line follows.
        logs.format_entry("CRITICAL", "MLflow cannot start.", "mlflow"),
        logs.convert_plain_line("Traceback", "mlflow", is_error=True),
        logs.convert_proxy_line('{"level": "error", "event": "fault", "message": "A fault"}', is_error=False),
    ],
)
def test_what_does_not_end_the_container_does_not_count(line: str) -> None:
    assert counted(entry(line)) == set()


def test_another_services_lines_count_nowhere() -> None:
    line = logs.format_entry("CRITICAL", "It ended", "container")
    assert counted(entry(line, service="other")) == set()


def test_a_metric_has_a_name_that_cloud_logging_takes_and_no_other_stack_has() -> None:
    names = [name for stack in ("dev", "prod", "d ev", "x" * 200) for name in own_metrics(recorded(stack=stack))]
    assert len(names) == len(set(names)) == 4 * len(LOG_METRICS)
    assert all(re.fullmatch(r"logging\.googleapis\.com/user/[a-z][a-z0-9-]{0,99}", name) for name in names)
    # PromQL writes _ for -.
    assert len({name.replace("-", "_") for name in names}) == len(names)


def test_what_is_counted_has_a_kind_that_cloud_logging_takes() -> None:
    for one in graph().of(METRIC):
        described = one.inputs["metricDescriptor"]
        spread = described["valueType"] == "DISTRIBUTION"
        assert described["metricKind"] == "DELTA"
        assert spread or described["valueType"] == "INT64"
        assert spread == ("valueExtractor" in one.inputs) == ("bucketOptions" in one.inputs)
        keys = {label["key"] for label in described.get("labels", ())}
        assert keys == one.inputs.get("labelExtractors", {}).keys()


def test_lines_are_kept_as_long_as_is_set_in_the_stacks_region() -> None:
    bucket = only(graph(), BUCKET).inputs
    assert (bucket["retentionDays"], bucket["location"], bucket["project"]) == (45, REGION, PROJECT)
    assert not bucket.get("locked")


def test_the_buckets_name_has_a_random_end() -> None:
    """A deleted one keeps its name for seven days, and the provider would update what is going."""
    bucket = only(graph(), BUCKET)
    end = only(graph(), "random:index/randomId:RandomId", "mlflow-log")
    assert bucket.inputs["bucketId"] == f"dev-mlflow-log-{end.outputs['hex']}"
    longest = only(recorded(stack="x" * 200), BUCKET).inputs["bucketId"]
    assert re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", longest)


def test_the_sink_leads_to_the_bucket_and_needs_no_right() -> None:
    assert only(graph(), SINK).inputs["destination"] == f"logging.googleapis.com/{only(graph(), BUCKET).id}"
    # A sink of the same project has no writer's identity: a grant to it is refused.
    assert not [one for one in graph().resources if "iam" in one.type.lower()]


def test_default_leaves_out_what_the_bucket_has_and_nothing_else() -> None:
    sink, exclusion = only(graph(), SINK), only(graph(), EXCLUSION)
    assert exclusion.inputs["filter"] == sink.inputs["filter"] == service_log_filter("mlflow")
    # There after the sink, and gone before it: no line is in neither.
    assert sink.urn in exclusion.dependencies
    # Google's own are changed by whoever makes one with their name.
    assert not {"_Default", "_Required"} & {
        one.inputs.get("name", one.inputs.get("bucketId")) for one in graph().resources if "logging" in one.type
    }


@pytest.mark.parametrize(
    ("line", "log", "service", "kept"),
    [
        (logs.format_entry("INFO", "A line", "mlflow"), "stdout", "mlflow", True),
        (logs.format_entry("INFO", "A line", "mlflow"), "nginx.request", "mlflow", True),
        (logs.format_entry("INFO", "A line", "mlflow"), "nginx.health_check", "mlflow", False),
        (logs.format_entry("INFO", "A line", "mlflow"), "stdout", "default", False),
    ],
)
def test_the_bucket_gets_the_lines_of_this_service_without_health_checks(
    line: str, log: str, service: str, kept: bool
) -> None:
    assert finds(service_log_filter("mlflow"), entry(line, log=log, service=service)) == kept
    database: dict[str, Any] = {"resource": {"type": "cloudsql_database"}, "logName": f"projects/{PROJECT}/logs/x"}
    assert not finds(service_log_filter("mlflow"), database)


def test_the_log_goes_with_the_stack() -> None:
    for kind in (BUCKET, SINK, EXCLUSION, METRIC):
        for one in graph().of(kind):
            assert not one.protect
            assert not one.retain_on_delete
            assert one.inputs["project"] == PROJECT


def test_the_dashboards_panels_find_what_they_are_for() -> None:
    panels = {
        "Requests rejected or aborted by the proxy": (request(403, "role"), request(waited=9.0)),
        "Requests with a latency of 7 s or more": (request(waited=7.0), request(waited=6.9)),
    }
    shown = only(graph(), "gcp:monitoring/dashboard:Dashboard").inputs["dashboardJson"]
    found = {
        tile["widget"]["title"]: tile["widget"]["logsPanel"]["filter"]
        for tile in json.loads(shown)["mosaicLayout"]["tiles"]
        if "logsPanel" in tile["widget"]
    }
    assert found.keys() == panels.keys()
    for title, (shows, hides) in panels.items():
        assert finds(found[title], shows)
        assert not finds(found[title], hides)


@pytest.mark.parametrize("wrong", ["severity > = ERROR", 'resource.type == "gae_app"', "NOT", 'a = "b" OR c = "d"', ""])
def test_a_query_that_cloud_logging_would_not_understand_is_refused_here(wrong: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        finds(wrong, request())
