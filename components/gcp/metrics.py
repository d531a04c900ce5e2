"""What is counted from the lines of the proxy and the container, since App Engine's own metrics do not tell it.

Each line is JSON (mlflow_app/logs.py); a test holds the filters to what is written. Cloud Logging counts lines whether
or not they are kept, from now on.
https://cloud.google.com/logging/docs/logs-based-metrics
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_gcp import logging

from .log_store import lines_of
from .place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A metric: which lines count, what each adds, and which of their fields are labels."""

    about: str
    lines: str
    value: str | None = None
    unit: str = "1"
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


_REQUEST = 'jsonPayload.event = "request"'
METRICS = {
    "requests": Counted(about="Requests, by the caller's role", lines=_REQUEST, labels={"role": "jsonPayload.role"}),
    # Of what MLflow was asked. How long an artifact takes is a matter of its size; App Engine's own metric has them in.
    "latency": Counted(
        about="Time until MLflow's answer began, without artifacts",
        lines=f'{_REQUEST}\njsonPayload.upstream_ms >= 0\nNOT jsonPayload.route =~ "artifact"',
        value="jsonPayload.upstream_ms",
        unit="ms",
    ),
    # One or more for each time that the container ends by itself, or cannot start.
    "ends": Counted(
        about="Last lines of containers that ended by themselves",
        lines='jsonPayload.process = "container"\nseverity >= CRITICAL',
    ),
}


def metric_type(place: Place, role: str) -> str:
    """As Monitoring calls one of them."""
    return f"logging.googleapis.com/user/{_name(place, role)}"


def metric_in_promql(place: Place, role: str, part: str = "") -> str:
    """As PromQL does; a distribution has the parts _bucket, _count and _sum.

    https://cloud.google.com/monitoring/promql/promql-mapping
    """
    domain, _, path = metric_type(place, role).partition("/")
    return re.sub(r"\W", "_", domain) + ":" + re.sub(r"\W", "_", path) + part


def metrics(place: Place, service: str, parent: pulumi.Resource) -> list[pulumi.Resource]:
    return [_metric(place, service, role, counted, parent) for role, counted in METRICS.items()]


def _name(place: Place, role: str) -> str:
    return place.physical_name(role, 100)


def _metric(place: Place, service: str, role: str, counted: Counted, parent: pulumi.Resource) -> logging.Metric:
    spread = counted.value is not None
    return logging.Metric(
        place.named(f"count-{role}"),
        project=place.project,
        name=_name(place, role),
        description=f"{place.name} ({place.stack}): {counted.about}",
        filter=f"{lines_of(service)}\n{counted.lines}",
        metric_descriptor=logging.MetricMetricDescriptorArgs(
            metric_kind="DELTA",
            value_type="DISTRIBUTION" if spread else "INT64",
            unit=counted.unit,
            display_name=f"{place.name} ({place.stack}): {counted.about}",
            labels=[logging.MetricMetricDescriptorLabelArgs(key=key, value_type="STRING") for key in counted.labels],
        ),
        label_extractors={key: f"EXTRACT({from_})" for key, from_ in counted.labels.items()} or None,
        value_extractor=f"EXTRACT({counted.value})" if spread else None,
        # From a millisecond to half an hour, each a quarter more than the one before.
        bucket_options=(
            logging.MetricBucketOptionsArgs(
                exponential_buckets=logging.MetricBucketOptionsExponentialBucketsArgs(
                    num_finite_buckets=64, growth_factor=1.25, scale=1
                )
            )
            if spread
            else None
        ),
        opts=pulumi.ResourceOptions(parent=parent),
    )
