"""Metrics from the proxy's log, alarms, an SNS topic for notifications, and a dashboard."""

import pulumi
from pulumi_aws import sns

from .alarms import alarms, mute_while_stopped
from .dashboard import dashboard
from .deployment import Deployment
from .identity import document
from .load_balancer import LoadBalancer
from .metrics import metric_filters
from .proxy_log import ProxyLog
from .schedule_settings import ScheduleSettings
from .service import Service
from .settings import MonitoringSettings


class Monitoring(pulumi.ComponentResource):
    """Monitoring of one deployment."""

    topic_arn: pulumi.Output[str]
    """ARN of the SNS topic that alarms notify."""
    dashboard_url: pulumi.Output[str | None]
    """Console URL of the dashboard; None without one."""

    def __init__(
        self,
        deployment: Deployment,
        args: MonitoringSettings,
        *,
        log: ProxyLog,
        load_balancer: LoadBalancer,
        service: Service,
        schedule: ScheduleSettings | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlflow:aws:Monitoring", deployment.component, {}, opts)
        self.topic_arn = (
            _topic(deployment, args, self)
            if args.alarm_topic_arn is None
            else pulumi.Output.from_input(args.alarm_topic_arn)
        )
        metric_filters(deployment, log, self)
        made = alarms(
            deployment, args, load_balancer=load_balancer, service=service, topic_arn=self.topic_arn, parent=self
        )
        if schedule is not None:
            mute_while_stopped(deployment, schedule, made["no-healthy-task"], self)
        shown = None
        if args.dashboard:
            every = list(made.values())
            shown = dashboard(
                deployment, log=log, load_balancer=load_balancer, service=service, alarms=every, parent=self
            )
        self.dashboard_url = pulumi.Output.from_input(shown)
        self.register_outputs({"topic_arn": self.topic_arn, "dashboard_url": self.dashboard_url})


def _topic(deployment: Deployment, args: MonitoringSettings, parent: pulumi.Resource) -> pulumi.Output[str]:
    inside = pulumi.ResourceOptions(parent=parent)
    topic = sns.Topic(
        deployment.logical_name("alarms"),
        # The key's policy must allow cloudwatch.amazonaws.com kms:Decrypt and kms:GenerateDataKey*. With alias/aws/sns,
        # which does not, CloudWatch drops notifications silently.
        kms_master_key_id=deployment.kms_key_arn,
        tags=deployment.tags_for("alarms"),
        # It holds the subscriptions of others.
        opts=pulumi.ResourceOptions(parent=parent, protect=deployment.deletion_protection),
    )
    sns.TopicPolicy(
        deployment.logical_name("alarms"), arn=topic.arn, policy=document([_publishing(deployment, topic)]), opts=inside
    )
    if args.alarm_email is not None:
        sns.TopicSubscription(
            deployment.logical_name("alarm-email"),
            topic=topic.arn,
            protocol="email",
            endpoint=args.alarm_email,
            opts=inside,
        )
    return topic.arn


def _publishing(deployment: Deployment, topic: sns.Topic) -> dict[str, object]:
    """Only alarms of this account and region may publish."""
    return {
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": topic.arn,
        "Condition": {
            "StringEquals": {"aws:SourceAccount": deployment.account},
            "ArnLike": {"aws:SourceArn": deployment.arn("cloudwatch", "alarm:*")},
        },
    }
