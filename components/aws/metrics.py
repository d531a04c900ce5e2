"""Metric filters on the proxy's log, in a namespace of this deployment.

The proxy writes a JSON line for each request, with `error` for its own error responses (proxy_app/access_log.py,
proxy_app/errors.py); a test checks the patterns against these lines.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch

from .deployment import Deployment
from .proxy_log import ProxyLog

_REQUEST = '$.event = "request"'
# Errors of MLflow itself have no `error` field; these values are for errors of MLflow or of AWS's API.
_UPSTREAM = (
    '($.status >= 500 && $.error NOT EXISTS) || $.error = "upstream-*" || $.error = "outcome-unknown" || '
    '$.error = "ui-link-failed" || ($.error = "aws-error" && ($.status = 403 || $.status >= 500))'
)
_PROXY = (
    '$.status >= 500 && $.error = "*" && $.error != "upstream-*" && $.error != "ui-link-failed" && '
    '$.error != "aws-error"'
)
_ROLES = '$.role = "viewer" || $.role = "editor" || $.role = "admin"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric filter: pattern of the log lines, and the value that each adds."""

    pattern: str
    value: str = "1"
    unit: str = "Count"
    dimensions: Mapping[str, str] | None = None


METRICS = {
    "Requests": Metric(pattern=f"{{ {_REQUEST} }}"),
    # Only authenticated requests have a role. CloudWatch bills each role as a metric.
    "RequestsByRole": Metric(pattern=f"{{ {_REQUEST} && ({_ROLES}) }}", dimensions={"Role": "$.role"}),
    # Forwarded requests only: many rejected requests, which take no time, would hide slow ones.
    "Latency": Metric(
        pattern=f"{{ {_REQUEST} && $.upstream_duration_ms >= 0 }}", value="$.duration_ms", unit="Milliseconds"
    ),
    "ProxyErrors": Metric(pattern=f"{{ {_REQUEST} && {_PROXY} }}"),
    "UpstreamErrors": Metric(pattern=f"{{ {_REQUEST} && ({_UPSTREAM}) }}"),
    "Throttled": Metric(pattern=f"{{ {_REQUEST} && $.status = 429 }}"),
    # Credentials are refreshed 15 minutes before they expire, so this comes before requests fail.
    "CredentialFailures": Metric(pattern='{ $.event = "credentials" && $.level = "warning" }'),
    # Each task checks once a minute (proxy_app/handlers/health.py).
    "NotReady": Metric(pattern='{ $.event = "not-ready" }'),
    "TokenReadFailures": Metric(pattern='{ $.event = "tokens" && $.level = "error" }'),
}


def namespace(deployment: Deployment) -> pulumi.Output[str]:
    """The CloudWatch namespace of a deployment's metrics."""
    return pulumi.Output.concat("MLflow/", deployment.stack, "/", deployment.name)


def metric_filters(deployment: Deployment, log: ProxyLog, parent: pulumi.Resource) -> None:
    """Create the metric filters. CloudWatch applies them to new log lines only."""
    for metric, definition in METRICS.items():
        cloudwatch.LogMetricFilter(
            deployment.logical_name(f"metric-{metric}"),
            log_group_name=log.name,
            pattern=definition.pattern,
            metric_transformation=cloudwatch.LogMetricFilterMetricTransformationArgs(
                namespace=namespace(deployment),
                name=metric,
                value=definition.value,
                unit=definition.unit,
                # Zero for other log lines, so that alarms can distinguish no errors from no data.
                default_value="0" if definition.value == "1" and definition.dimensions is None else None,
                dimensions=definition.dimensions,
            ),
            opts=pulumi.ResourceOptions(parent=parent),
        )
