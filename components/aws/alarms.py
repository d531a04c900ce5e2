"""What somebody should know of, and what to look at first then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pulumi
from pulumi_aws import cloudwatch

from .args import WatchingArgs
from .edge import Edge
from .metrics import namespace
from .place import Place
from .service import Service

_BALANCER = "AWS/ApplicationELB"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alarm:
    """It goes off when ``metric`` is over ``above``, or under ``below``, so many ``periods`` in a row."""

    metric: str
    says: str
    namespace: str
    statistic: str = "Sum"
    period: int = 300
    periods: int = 1
    above: float | None = None
    below: float | None = None
    missing: Literal["breaching", "notBreaching"] = "notBreaching"
    dimensions: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])


def alarms(
    place: Place,
    args: WatchingArgs,
    *,
    edge: Edge,
    service: Service,
    topic_arn: pulumi.Output[str],
    parent: pulumi.Resource,
) -> Sequence[cloudwatch.MetricAlarm]:
    """All of them; each tells the topic when it goes off, and when it is over."""
    # There from when the service is, and gone before it goes: what is being built or destroyed is no reason for mail.
    inside = pulumi.ResourceOptions(parent=parent, depends_on=[service])
    return [
        cloudwatch.MetricAlarm(
            place.named(f"alarm-{role}"),
            alarm_description=f"{place.name} ({place.stack}): {alarm.says}",
            namespace=alarm.namespace,
            metric_name=alarm.metric,
            dimensions=alarm.dimensions or None,
            statistic=alarm.statistic if alarm.statistic.isalpha() else None,
            extended_statistic=None if alarm.statistic.isalpha() else alarm.statistic,
            period=alarm.period,
            evaluation_periods=alarm.periods,
            comparison_operator="LessThanThreshold" if alarm.above is None else "GreaterThanThreshold",
            threshold=alarm.below if alarm.above is None else alarm.above,
            treat_missing_data=alarm.missing,
            alarm_actions=[topic_arn],
            ok_actions=[topic_arn],
            tags=place.tagged(f"alarm-{role}"),
            opts=inside,
        )
        for role, alarm in {**_of_the_balancer(edge), **_of_the_proxy(namespace(place), args.slow_seconds)}.items()
    ]


def _of_the_balancer(edge: Edge) -> dict[str, _Alarm]:
    balancer: dict[str, pulumi.Input[str]] = {"LoadBalancer": edge.load_balancer_suffix}
    proxies: dict[str, pulumi.Input[str]] = {**balancer, "TargetGroup": edge.target_group_suffix}
    return {
        "no-proxy": _Alarm(
            says="no proxy is in service, and callers get nothing. Look at the ECS service's events first, then at the "
            "last lines of the log: a proxy that cannot start says why.",
            namespace=_BALANCER,
            metric="HealthyHostCount",
            dimensions=proxies,
            # Of what the load balancer's nodes see, the best.
            statistic="Maximum",
            below=1,
            period=60,
            periods=3,
            # With no target at all there is nothing to report.
            missing="breaching",
        ),
        "unhealthy-proxy": _Alarm(
            says="a proxy does not answer the load balancer. Look at the stopped tasks' reasons in ECS, and at memory "
            "and CPU of the service.",
            namespace=_BALANCER,
            metric="UnHealthyHostCount",
            dimensions=proxies,
            statistic="Maximum",
            above=0,
            period=60,
            periods=5,
        ),
        "balancer-errors": _Alarm(
            says="the load balancer answers with errors of its own (5xx): proxies break connections, or there are "
            "none. "
            "Look at the access logs' error reasons, and whether a deployment is under way.",
            namespace=_BALANCER,
            metric="HTTPCode_ELB_5XX_Count",
            dimensions=balancer,
            above=4,
        ),
    }


def _of_the_proxy(where: str, slow_seconds: int) -> dict[str, _Alarm]:
    return {
        "proxy-errors": _Alarm(
            says="the proxy fails requests (5xx). Look at the word in `error` in the log: fault has its traceback in a "
            "line beside it, no-credentials and credentials-refused mean the task role, body-budget wants memory.",
            namespace=where,
            metric="ProxyErrors",
            above=4,
        ),
        "upstream-errors": _Alarm(
            says="SageMaker's MLflow fails, cannot be reached, or refuses the proxy's role. Look at the status of the "
            "tracking server or app, then at `error` and `upstream_ms` in the log; aws-error with 403 is IAM.",
            namespace=where,
            metric="UpstreamErrors",
            above=4,
            periods=2,
        ),
        "slow": _Alarm(
            says=f"a twentieth of all answers take more than {slow_seconds} s. Look at the slowest routes on the "
            "dashboard: where upstream_ms is as high, it is SageMaker, else the proxy's CPU or callers' own lines.",
            namespace=where,
            metric="Latency",
            statistic="p95",
            above=slow_seconds * 1000,
            # A few slow requests at night are a twentieth, too.
            periods=3,
        ),
        "throttled": _Alarm(
            says="callers are told to slow down (429). Look at `error` in the log: too-many is the proxy's own limit "
            "(more tasks), all else is SageMaker's throttling; the dashboard says who asks that much.",
            namespace=where,
            metric="Throttled",
            above=20,
            periods=2,
        ),
        "credentials": _Alarm(
            says="the proxy cannot renew its AWS credentials; when those it has end, it can sign nothing. Look at the "
            "lines with event credentials in the log, and at the task role.",
            namespace=where,
            metric="CredentialFailures",
            # The first tries after a failure come within seconds.
            above=2,
        ),
        "tokens": _Alarm(
            says="the proxy cannot read the callers' tokens: those read before stay in force, and none can be revoked. "
            "Look at the lines with event tokens in the log, and at the secret.",
            namespace=where,
            metric="TokensUnread",
            # Told once, and not at every try.
            above=0,
        ),
    }
