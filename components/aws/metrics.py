"""What is counted from the proxy's log: a metric filter for each, in a namespace of this deployment.

The proxy writes a JSON line for each request, with the reason where it ended one itself (proxy_app/access_log.py,
proxy_app/errors.py); a test holds the patterns to its lines.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch

from .deployment import Deployment
from .proxy_log import ProxyLog

_REQUEST = '$.event = "request"'
# MLflow's own errors pass without a reason; a reason of these names what MLflow, or AWS's front, did.
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
class Counted:
    """A metric: which lines count, and what each adds."""

    pattern: str
    value: str = "1"
    unit: str = "Count"
    dimensions: Mapping[str, str] | None = None


METRICS = {
    "Requests": Counted(pattern=f"{{ {_REQUEST} }}"),
    # Only who is known has a role. Each role is a metric of its own to CloudWatch, and to its bill.
    "RequestsByRole": Counted(pattern=f"{{ {_REQUEST} && ({_ROLES}) }}", dimensions={"Role": "$.role"}),
    # Of what MLflow was asked: a flood of refusals, which take no time, would hide all else.
    "Latency": Counted(
        pattern=f"{{ {_REQUEST} && $.upstream_duration_ms >= 0 }}", value="$.duration_ms", unit="Milliseconds"
    ),
    "ProxyErrors": Counted(pattern=f"{{ {_REQUEST} && {_PROXY} }}"),
    "UpstreamErrors": Counted(pattern=f"{{ {_REQUEST} && ({_UPSTREAM}) }}"),
    "Throttled": Counted(pattern=f"{{ {_REQUEST} && $.status = 429 }}"),
    # A refresh begins a quarter of an hour before the keys end: this comes before anybody is refused.
    "CredentialFailures": Counted(pattern='{ $.event = "credentials" && $.level = "warning" }'),
    "TokenReadFailures": Counted(pattern='{ $.event = "tokens" && $.level = "error" }'),
}


def namespace(deployment: Deployment) -> str:
    return f"MLflow/{deployment.stack}/{deployment.name}"


def metric_filters(deployment: Deployment, log: ProxyLog, parent: pulumi.Resource) -> None:
    """CloudWatch counts from now on; lines from before are not looked at."""
    for metric, counted in METRICS.items():
        cloudwatch.LogMetricFilter(
            deployment.logical_name(f"metric-{metric}"),
            log_group_name=log.name,
            pattern=counted.pattern,
            metric_transformation=cloudwatch.LogMetricFilterMetricTransformationArgs(
                namespace=namespace(deployment),
                name=metric,
                value=counted.value,
                unit=counted.unit,
                # Zero where other lines come, or an alarm could not tell quiet from silent.
                default_value="0" if counted.value == "1" and counted.dimensions is None else None,
                dimensions=counted.dimensions,
            ),
            opts=pulumi.ResourceOptions(parent=parent),
        )
