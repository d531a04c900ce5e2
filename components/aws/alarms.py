"""CloudWatch alarms for the load balancer and the proxy; each description names what to check first."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pulumi
from pulumi_aws import cloudwatch

from .deployment import Deployment
from .load_balancer import LoadBalancer
from .metrics import namespace
from .schedule_settings import ScheduleSettings, cron_time
from .service import Service
from .settings import MonitoringSettings

_ALB_NAMESPACE = "AWS/ApplicationELB"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alarm:
    """An alarm on ``metric`` above or below a threshold for ``periods`` periods of ``period`` seconds in a row."""

    metric: str
    description: str
    namespace: pulumi.Input[str]
    statistic: str = "Sum"
    period: int = 300
    periods: int = 1
    above: float | None = None
    below: float | None = None
    missing: Literal["breaching", "notBreaching", "ignore"] = "notBreaching"
    dimensions: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])


def alarms(
    deployment: Deployment,
    args: MonitoringSettings,
    *,
    load_balancer: LoadBalancer,
    service: Service,
    topic_arn: pulumi.Output[str],
    parent: pulumi.Resource,
) -> Mapping[str, cloudwatch.MetricAlarm]:
    """Create all alarms, and return them by name; each notifies the SNS topic when it starts and when it ends."""
    # Created after the service and deleted before it, so that neither `up` nor `destroy` raises an alarm.
    inside = pulumi.ResourceOptions(parent=parent, depends_on=[service])
    return {
        role: cloudwatch.MetricAlarm(
            deployment.logical_name(f"alarm-{role}"),
            alarm_description=pulumi.Output.concat(deployment.title, f": {alarm.description}"),
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
            tags=deployment.tags_for(f"alarm-{role}"),
            opts=inside,
        )
        for role, alarm in {
            **_load_balancer_alarms(load_balancer),
            **_edge_alarms(deployment, load_balancer),
            **_capacity_alarms(service),
            **_proxy_alarms(namespace(deployment), args.latency_threshold_seconds),
        }.items()
    }


def mute_while_stopped(
    deployment: Deployment, schedule: ScheduleSettings, alarm: cloudwatch.MetricAlarm, parent: pulumi.Resource
) -> None:
    """Send no notifications of an alarm while the schedule has stopped the service."""
    for minutes, days in schedule.sleeping().items():
        role = f"alarm-mute-{'-'.join(days).lower()}"
        cloudwatch.AlarmMuteRule(
            deployment.logical_name(role),
            description=pulumi.Output.concat(deployment.title, ": stopped by service.schedule"),
            rule=cloudwatch.AlarmMuteRuleRuleArgs(
                schedule=cloudwatch.AlarmMuteRuleRuleScheduleArgs(
                    expression=f"cron({cron_time(schedule.stop)} * * {','.join(days).upper()})",
                    duration=f"P{minutes // 1440}DT{minutes // 60 % 24}H{minutes % 60}M",
                    timezone=schedule.time_zone,
                )
            ),
            mute_targets=cloudwatch.AlarmMuteRuleMuteTargetsArgs(alarm_names=[alarm.name]),
            tags=deployment.tags_for(role),
            opts=pulumi.ResourceOptions(parent=parent),
        )


def _load_balancer_alarms(load_balancer: LoadBalancer) -> dict[str, _Alarm]:
    of_load_balancer: dict[str, pulumi.Input[str]] = {"LoadBalancer": load_balancer.arn_suffix}
    of_tasks: dict[str, pulumi.Input[str]] = {**of_load_balancer, "TargetGroup": load_balancer.target_group_suffix}
    return {
        "no-healthy-task": _Alarm(
            description="no task is healthy: clients get no response. Look at the events of the ECS service first, "
            "then at the last log lines: a proxy that cannot start logs the reason.",
            namespace=_ALB_NAMESPACE,
            metric="HealthyHostCount",
            dimensions=of_tasks,
            # The highest count among the load balancer's nodes.
            statistic="Maximum",
            below=1,
            period=60,
            periods=3,
            # Without any target, the metric has no data.
            missing="breaching",
        ),
        "unhealthy-task": _Alarm(
            description="a task fails the load balancer's health checks. Look at the stopped tasks' reasons in ECS, "
            "and at memory and CPU of the service.",
            namespace=_ALB_NAMESPACE,
            metric="UnHealthyHostCount",
            dimensions=of_tasks,
            statistic="Maximum",
            above=0,
            period=60,
            periods=5,
        ),
        "load-balancer-errors": _Alarm(
            description="the load balancer itself returns 5xx: tasks close connections, or there are none. Look at the "
            "error reasons in the access logs, and whether a deployment is in progress.",
            namespace=_ALB_NAMESPACE,
            metric="HTTPCode_ELB_5XX_Count",
            dimensions=of_load_balancer,
            above=4,
        ),
    }


def _edge_alarms(deployment: Deployment, load_balancer: LoadBalancer) -> dict[str, _Alarm]:
    found: dict[str, _Alarm] = {}
    if load_balancer.certificate_arn is not None:
        found["certificate-expiry"] = _Alarm(
            description="the certificate of the load balancer expires in less than 30 days. ACM renews its own "
            "certificates 60 days before. Look at the certificate's renewal status in ACM, and at its validation "
            "record in DNS; an imported certificate has to be imported again.",
            # https://docs.aws.amazon.com/acm/latest/userguide/cloudwatch-metrics.html: twice a day.
            namespace="AWS/CertificateManager",
            metric="DaysToExpiry",
            dimensions={"CertificateArn": load_balancer.certificate_arn},
            statistic="Minimum",
            below=30,
            period=86400,
        )
    if load_balancer.web_acl_metric is not None:
        found["waf-blocks"] = _Alarm(
            description="WAF blocks requests, which the proxy's log does not contain: clients get 403, or 429 above "
            "the rate limit. Look at the rule and the address in the log group aws-waf-logs-*.",
            # https://docs.aws.amazon.com/waf/latest/developerguide/waf-metrics.html
            namespace="AWS/WAFV2",
            metric="BlockedRequests",
            dimensions={"WebACL": load_balancer.web_acl_metric, "Region": deployment.region, "Rule": "ALL"},
            above=100,
            periods=2,
        )
    return found


def _capacity_alarms(service: Service) -> dict[str, _Alarm]:
    return {
        "no-capacity": _Alarm(
            description="tasks have been waiting for instances for 30 minutes. Look at the activity history of the "
            "Auto Scaling group: quota of vCPUs, no capacity in the zones, a key or a role that instances may not use; "
            "if instances run, their agent did not join the cluster, which a new service.ami can cause.",
            # Above 100, more instances are needed than there are.
            # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-auto-scaling.html
            namespace="AWS/ECS/ManagedScaling",
            metric="CapacityProviderReservation",
            dimensions={"ClusterName": service.cluster_name, "CapacityProviderName": service.capacity_provider},
            statistic="Minimum",
            above=100,
            periods=6,
        ),
        "old-instances": _Alarm(
            description="an instance has been terminating for an hour: its task does not start on another instance, as "
            "after a service.ami whose instances do not join the cluster. Look at the instances of the cluster, and at "
            "the instance refresh; set service.ami back to the previous label.",
            # https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-metrics.html
            namespace="AWS/AutoScaling",
            metric="GroupTerminatingInstances",
            dimensions={"AutoScalingGroupName": service.instances_group_name},
            statistic="Minimum",
            above=0,
            periods=12,
        ),
    }


def _proxy_alarms(namespace: pulumi.Input[str], latency_threshold_seconds: int) -> dict[str, _Alarm]:
    return {
        "proxy-errors": _Alarm(
            description="the proxy fails requests (5xx). Look at `error` in the log: internal-error has a traceback "
            "in the next line, aws-credentials-unavailable and aws-credentials-rejected point to the task role, "
            "body-budget means that "
            "more memory is needed.",
            namespace=namespace,
            metric="ProxyErrors",
            above=4,
        ),
        "upstream-errors": _Alarm(
            description="SageMaker MLflow returns errors, is unreachable, or rejects the proxy's role. Look at the "
            "status of the tracking server or app, then at `error` and `upstream_duration_ms` in the log; aws-error "
            "with 403 is "
            "IAM.",
            namespace=namespace,
            metric="UpstreamErrors",
            above=4,
            periods=2,
        ),
        "not-ready": _Alarm(
            description="a task does not reach SageMaker MLflow, or lacks a permission, a secret or credentials. Look "
            "at the log lines with event not-ready, which have the reason, and at the status of the app or tracking "
            "server.",
            namespace=namespace,
            metric="NotReady",
            # A task logs it once a minute.
            above=2,
            periods=2,
        ),
        "high-latency": _Alarm(
            description=f"the 95th percentile of response times is above {latency_threshold_seconds} s. Look at the "
            "slowest routes on the dashboard: where upstream_duration_ms is as high, SageMaker is slow; otherwise "
            "look at the "
            "proxy's CPU and the clients' connections.",
            namespace=namespace,
            metric="Latency",
            statistic="p95",
            above=latency_threshold_seconds * 1000,
            # With little traffic, a few slow requests are enough to move the percentile.
            periods=3,
        ),
        "throttled": _Alarm(
            description="clients get 429. Look at `error` in the log: aws-throttled is SageMaker, principal-* are "
            "limits of one principal, too-many-requests is the limit of a task (add tasks); the dashboard shows which "
            "clients send the most requests.",
            namespace=namespace,
            metric="Throttled",
            above=20,
            periods=2,
        ),
        "credential-failures": _Alarm(
            description="the proxy cannot refresh its AWS credentials; when the current ones expire, it cannot sign "
            "requests. Look at the log lines with event credentials, and at the task role.",
            namespace=namespace,
            metric="CredentialFailures",
            # The first attempts after a failure follow within seconds.
            above=2,
        ),
        "token-read-failures": _Alarm(
            description="the proxy cannot read the tokens: those read before stay valid for an hour, and revocations "
            "have no effect. Look at the log lines with event tokens, and at the secret.",
            namespace=namespace,
            metric="TokenReadFailures",
            # Each task logs it every minute until the tokens can be read again. Silence is no success.
            above=0,
            missing="ignore",
        ),
    }
