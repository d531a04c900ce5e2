"""The log bucket, its sink and the log-based metrics."""

import json
import logging
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
from proxy_app.logs import JsonFormatter
from tests.doubles.routes import match_route

from .helpers import PROJECT, REGION, only
from .log_filter import log_entry, matches
from .recorded_monitoring import METRIC, default_graph, log_metrics, record_monitoring

BUCKET = "gcp:logging/projectBucketConfig:ProjectBucketConfig"
SINK = "gcp:logging/projectSink:ProjectSink"
EXCLUSION = "gcp:logging/projectExclusion:ProjectExclusion"
ARTIFACTS = [
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/1/a"),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/a"),
    ("POST", "/ajax-api/2.0/mlflow/upload-artifact"),
    ("GET", "/get-artifact"),
]


def request_entry(
    status: int = 200,
    error: str = "",
    *,
    upstream_seconds: float | None = None,
    role: Role | None = None,
    method: str = "POST",
    path: str = "/api/2.0/mlflow/runs/create",
) -> Any:
    """The log entry of a request, from the line that the proxy and the container write."""
    lines: list[str] = []
    record = RequestRecord("0123456789abcdef", method)
    record.status, record.error, record.upstream_seconds = status, error, upstream_seconds
    record.route = match_route(method, path)
    assert record.route is not None
    record.principal = Principal("ann@example.com", role, "iap") if role else None
    AccessLog(lines.append).record(record)
    return log_entry(logs.convert_proxy_line(lines[0], is_error=False))


def counting_metrics(entry: Any) -> set[str]:
    return {
        role
        for role in LOG_METRICS
        if matches(only(default_graph(), METRIC, f"mlflow-metric-{role}").inputs["filter"], entry)
    }


def test_rejected_and_forwarded_requests_are_counted() -> None:
    assert counting_metrics(request_entry(401, "invalid-assertion")) == {"requests"}
    assert counting_metrics(request_entry(500, upstream_seconds=0.1)) == {"requests", "latency"}


@pytest.mark.parametrize("role", ROLES)
def test_request_metric_is_labelled_with_the_role(role: Role) -> None:
    metric = only(default_graph(), METRIC, "mlflow-metric-requests").inputs
    assert metric["labelExtractors"] == {"role": "EXTRACT(jsonPayload.role)"}
    assert request_entry(role=role)["jsonPayload"]["role"] == role.label


def test_latency_counts_upstream_responses_only() -> None:
    metric = only(default_graph(), METRIC, "mlflow-metric-latency").inputs
    assert metric["valueExtractor"] == "EXTRACT(jsonPayload.upstream_duration_ms)"
    assert metric["metricDescriptor"]["unit"] == "ms"
    assert request_entry(upstream_seconds=1.5)["jsonPayload"]["upstream_duration_ms"] == 1500.0
    assert "latency" in counting_metrics(request_entry(upstream_seconds=0.0))
    assert "latency" not in counting_metrics(request_entry(403, "role"))


@pytest.mark.parametrize(("method", "path"), ARTIFACTS)
def test_latency_excludes_artifacts(method: str, path: str) -> None:
    assert counting_metrics(request_entry(upstream_seconds=60.0, method=method, path=path)) == {"requests"}


def test_buckets_cover_all_latencies_within_25_percent() -> None:
    buckets = only(default_graph(), METRIC, "mlflow-metric-latency").inputs["bucketOptions"]["exponentialBuckets"]
    assert buckets["growthFactor"] <= 1.25
    # The maximum latency: MLFLOW_PROXY_UPSTREAM_TIMEOUT_SECONDS is 120.
    assert buckets["scale"] * buckets["growthFactor"] ** buckets["numFiniteBuckets"] > 120_000


def test_unexpected_container_exit_is_counted() -> None:
    for source, pattern in (
        ("supervisor.py", r'_log\(form, "CRITICAL", f"\{exited\.name\} exited unexpectedly'),
        ("__main__.py", r'log_format\.entry\("CRITICAL", line, "container"\)'),
    ):
        assert re.search(pattern, (Path(mlflow_app.__path__[0]) / source).read_text(encoding="utf-8"))
    assert counting_metrics(
        log_entry(logs.format_entry("CRITICAL", "MLflow exited unexpectedly, exit code 1", "container"))
    ) == {"exits"}


@pytest.mark.parametrize(
    "line",
    [
        logs.format_entry("INFO", "Stopping: the proxy first, then MLflow", "container"),
        logs.format_entry("WARNING", "MLflow did not end within 5 s, and is killed", "container"),
        logs.format_entry("ERROR", "Something failed", "container"),
        # The container's own entry follows.
        logs.format_entry("CRITICAL", "MLflow cannot start.", "mlflow"),
        logs.convert_plain_line("Traceback", "mlflow", is_error=True),
        logs.convert_proxy_line('{"level": "error", "event": "fault", "message": "A fault"}', is_error=False),
    ],
)
def test_other_entries_are_not_counted_as_exits(line: str) -> None:
    assert counting_metrics(log_entry(line)) == set()


def test_failed_fetches_of_keys_are_counted_and_their_end_is_not() -> None:
    for level, counted in ((logging.ERROR, {"stale-keys"}), (logging.INFO, set[str]())):
        record = logging.LogRecord("proxy", level, "", 0, "The keys", None, None)
        record.__dict__["event"] = "keys"
        line = logs.convert_proxy_line(JsonFormatter().format(record), is_error=False)
        assert counting_metrics(log_entry(line)) == counted


def test_entries_of_other_services_are_not_counted() -> None:
    line = logs.format_entry("CRITICAL", "MLflow exited unexpectedly", "container")
    assert counting_metrics(log_entry(line, service="other")) == set()


def test_metric_names_are_valid_and_unique_per_stack() -> None:
    names = [
        name for stack in ("dev", "prod", "d ev", "x" * 200) for name in log_metrics(record_monitoring(stack=stack))
    ]
    assert len(names) == len(set(names)) == 4 * len(LOG_METRICS)
    assert all(re.fullmatch(r"logging\.googleapis\.com/user/[a-z][a-z0-9-]{0,99}", name) for name in names)
    # PromQL replaces - with _.
    assert len({name.replace("-", "_") for name in names}) == len(names)


def test_metric_descriptors_are_valid() -> None:
    for metric in default_graph().of(METRIC):
        descriptor = metric.inputs["metricDescriptor"]
        is_distribution = descriptor["valueType"] == "DISTRIBUTION"
        assert descriptor["metricKind"] == "DELTA"
        assert is_distribution or descriptor["valueType"] == "INT64"
        assert is_distribution == ("valueExtractor" in metric.inputs) == ("bucketOptions" in metric.inputs)
        keys = {label["key"] for label in descriptor.get("labels", ())}
        assert keys == metric.inputs.get("labelExtractors", {}).keys()


def test_log_bucket_has_retention_and_region() -> None:
    bucket = only(default_graph(), BUCKET).inputs
    assert (bucket["retentionDays"], bucket["location"], bucket["project"]) == (45, REGION, PROJECT)
    assert not bucket.get("locked")


def test_log_bucket_name_has_a_random_suffix() -> None:
    """A deleted bucket exists for seven days, and the provider would adopt it under the same name."""
    bucket = only(default_graph(), BUCKET)
    suffix = only(default_graph(), "random:index/randomId:RandomId", "mlflow-log")
    assert bucket.inputs["bucketId"] == f"dev-mlflow-log-{suffix.outputs['hex']}"
    longest = only(record_monitoring(stack="x" * 200), BUCKET).inputs["bucketId"]
    assert re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", longest)


def test_sink_routes_to_the_bucket_without_permissions() -> None:
    assert (
        only(default_graph(), SINK).inputs["destination"]
        == f"logging.googleapis.com/{only(default_graph(), BUCKET).id}"
    )
    # A sink within one project has no writer identity.
    assert not [resource for resource in default_graph().resources if "iam" in resource.type.lower()]


def test_exclusion_matches_the_sinks_filter() -> None:
    sink, exclusion = only(default_graph(), SINK), only(default_graph(), EXCLUSION)
    assert exclusion.inputs["filter"] == sink.inputs["filter"] == service_log_filter("mlflow")
    # The exclusion exists only while the sink does: otherwise entries would be in neither bucket.
    assert sink.urn in exclusion.dependencies
    # Resources with the built-in names would change the project's own buckets and sinks.
    assert not {"_Default", "_Required"} & {
        resource.inputs.get("name", resource.inputs.get("bucketId"))
        for resource in default_graph().resources
        if "logging" in resource.type
    }


@pytest.mark.parametrize(
    ("line", "log", "service", "selected"),
    [
        (logs.format_entry("INFO", "A line", "mlflow"), "stdout", "mlflow", True),
        (logs.format_entry("INFO", "A line", "mlflow"), "nginx.request", "mlflow", True),
        (logs.format_entry("INFO", "A line", "mlflow"), "nginx.health_check", "mlflow", False),
        (logs.format_entry("INFO", "A line", "mlflow"), "stdout", "default", False),
    ],
)
def test_sink_filter_selects_the_service_without_health_checks(
    line: str, log: str, service: str, selected: bool
) -> None:
    assert matches(service_log_filter("mlflow"), log_entry(line, log=log, service=service)) == selected
    database: dict[str, Any] = {"resource": {"type": "cloudsql_database"}, "logName": f"projects/{PROJECT}/logs/x"}
    assert not matches(service_log_filter("mlflow"), database)


def test_logging_resources_are_deleted_with_the_stack() -> None:
    for kind in (BUCKET, SINK, EXCLUSION, METRIC):
        for resource in default_graph().of(kind):
            assert not resource.protect
            assert not resource.retain_on_delete
            assert resource.inputs["project"] == PROJECT


def test_log_panels_select_the_expected_entries() -> None:
    panels = {
        "Requests rejected or aborted by the proxy": (request_entry(403, "role"), request_entry(upstream_seconds=9.0)),
        "Requests with a latency of 7 s or more": (
            request_entry(upstream_seconds=7.0),
            request_entry(upstream_seconds=6.9),
        ),
    }
    dashboard = only(default_graph(), "gcp:monitoring/dashboard:Dashboard").inputs["dashboardJson"]
    filters = {
        tile["widget"]["title"]: tile["widget"]["logsPanel"]["filter"]
        for tile in json.loads(dashboard)["mosaicLayout"]["tiles"]
        if "logsPanel" in tile["widget"]
    }
    assert filters.keys() == panels.keys()
    for title, (selected, excluded) in panels.items():
        assert matches(filters[title], selected)
        assert not matches(filters[title], excluded)


@pytest.mark.parametrize(
    "invalid", ["severity > = ERROR", 'resource.type == "gae_app"', "NOT", 'a = "b" OR c = "d"', ""]
)
def test_validator_rejects_invalid_logging_query(invalid: str) -> None:
    with pytest.raises(ValueError, match="not a valid comparison"):
        matches(invalid, request_entry())
