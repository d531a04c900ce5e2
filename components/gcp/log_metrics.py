"""Log-based metrics from the entries of the proxy and the container, for what App Engine's metrics do not cover.

Each entry is JSON (mlflow_app/logs.py); a test applies the filters to entries as they are written. Cloud Logging counts
entries from the creation of the metric on, whether or not they are stored.
https://cloud.google.com/logging/docs/logs-based-metrics
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_gcp import logging

from .canary import job_id
from .deployment import Deployment
from .log_bucket import service_log_filter


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMetric:
    """A log-based metric: the filter of its entries, the extracted value (None: counts entries), and the labels.

    ``resource`` is the monitored resource type of the entries.
    """

    description: str
    entries: pulumi.Input[str]
    resource: str = "gae_app"
    value: str | None = None
    unit: str = "1"
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


_REQUEST = 'jsonPayload.event = "request"'
LOG_METRICS = {
    "requests": LogMetric(description="Requests by role", entries=_REQUEST, labels={"role": "jsonPayload.role"}),
    # Without artifacts, whose transfer time depends on their size; App Engine's own metric includes them.
    "latency": LogMetric(
        description="Time to MLflow's response, without artifacts",
        entries=f'{_REQUEST}\njsonPayload.upstream_duration_ms >= 0\nNOT jsonPayload.route =~ "artifact"',
        value="jsonPayload.upstream_duration_ms",
        unit="ms",
    ),
    # One entry a minute from each instance that cannot fetch them.
    "stale-keys": LogMetric(
        description="Failed fetches of Identity-Aware Proxy's public keys",
        entries='jsonPayload.event = "keys"\nseverity >= ERROR',
    ),
    # At least one entry each time that the container exits unexpectedly or cannot start.
    "exits": LogMetric(
        description="Critical entries of containers that exited unexpectedly",
        entries='jsonPayload.process = "container"\nseverity >= CRITICAL',
    ),
}


def canary_metric(deployment: Deployment) -> LogMetric:
    """The metric of failed requests of the canary: Cloud Scheduler's entries of severity ERROR."""
    return LogMetric(
        description="Failed requests of the canary",
        entries=pulumi.Output.concat(
            'resource.type = "cloud_scheduler_job"\nresource.labels.job_id = "',
            job_id(deployment),
            '"\nseverity >= ERROR',
        ),
        resource="cloud_scheduler_job",
    )


def metric_type(deployment: Deployment, role: str) -> pulumi.Output[str]:
    """The Cloud Monitoring metric type of one of the LOG_METRICS."""
    return pulumi.Output.concat("logging.googleapis.com/user/", _name(deployment, role))


def promql_name(deployment: Deployment, role: str, part: str = "") -> pulumi.Output[str]:
    """The PromQL name of one of the LOG_METRICS; ``part`` of a distribution is _bucket, _count or _sum.

    https://cloud.google.com/monitoring/promql/promql-mapping
    """

    def of(metric: str) -> str:
        domain, _, path = metric.partition("/")
        return re.sub(r"\W", "_", domain) + ":" + re.sub(r"\W", "_", path) + part

    return metric_type(deployment, role).apply(of)


def create_log_metrics(
    deployment: Deployment, service: str, parent: pulumi.Resource, *, canary: bool
) -> list[pulumi.Resource]:
    """Create the LOG_METRICS from the entries of an App Engine service, and that of the canary if there is one."""
    of_canary = {"canary": canary_metric(deployment)} if canary else {}
    return [_metric(deployment, service, role, metric, parent) for role, metric in {**LOG_METRICS, **of_canary}.items()]


def _name(deployment: Deployment, role: str) -> pulumi.Output[str]:
    return deployment.physical_name(role, 100)


def _metric(
    deployment: Deployment, service: str, role: str, metric: LogMetric, parent: pulumi.Resource
) -> logging.Metric:
    is_distribution = metric.value is not None
    return logging.Metric(
        deployment.logical_name(f"metric-{role}"),
        project=deployment.project,
        name=_name(deployment, role),
        description=pulumi.Output.concat(deployment.title, f": {metric.description}"),
        filter=pulumi.Output.concat(f"{service_log_filter(service)}\n", metric.entries)
        if metric.resource == "gae_app"
        else metric.entries,
        metric_descriptor=logging.MetricMetricDescriptorArgs(
            metric_kind="DELTA",
            value_type="DISTRIBUTION" if is_distribution else "INT64",
            unit=metric.unit,
            display_name=pulumi.Output.concat(deployment.title, f": {metric.description}"),
            labels=[logging.MetricMetricDescriptorLabelArgs(key=key, value_type="STRING") for key in metric.labels],
        ),
        label_extractors={key: f"EXTRACT({from_})" for key, from_ in metric.labels.items()} or None,
        value_extractor=f"EXTRACT({metric.value})" if is_distribution else None,
        # From a millisecond to half an hour, each 25 % wider than the previous one.
        bucket_options=(
            logging.MetricBucketOptionsArgs(
                exponential_buckets=logging.MetricBucketOptionsExponentialBucketsArgs(
                    num_finite_buckets=64, growth_factor=1.25, scale=1
                )
            )
            if is_distribution
            else None
        ),
        opts=pulumi.ResourceOptions(parent=parent),
    )
