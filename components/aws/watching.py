"""Metrics from the proxy's log, alarms, a topic that tells of them, and a dashboard."""

import pulumi
from pulumi_aws import sns

from .alarms import alarms
from .args import WatchingArgs
from .dashboard import dashboard
from .edge import Edge
from .identity import document
from .metrics import metric_filters
from .place import Place
from .proxy_log import ProxyLog
from .service import Service


class Watching(pulumi.ComponentResource):
    """Is it up, who uses it, what is slow."""

    topic_arn: pulumi.Output[str]
    dashboard_url: pulumi.Output[str | None]

    def __init__(
        self,
        place: Place,
        args: WatchingArgs,
        *,
        log: ProxyLog,
        edge: Edge,
        service: Service,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlflow:aws:Watching", place.named("watching"), {}, opts)
        self.topic_arn = _topic(place, args, self)
        metric_filters(place, log, self)
        made = alarms(place, args, edge=edge, service=service, topic_arn=self.topic_arn, parent=self)
        self.dashboard_url = pulumi.Output.from_input(
            dashboard(place, log=log, edge=edge, service=service, alarms=made, parent=self) if args.dashboard else None
        )
        self.register_outputs({"topic_arn": self.topic_arn, "dashboard_url": self.dashboard_url})


def _topic(place: Place, args: WatchingArgs, parent: pulumi.Resource) -> pulumi.Output[str]:
    inside = pulumi.ResourceOptions(parent=parent)
    topic = sns.Topic(
        place.named("alarms"),
        # CloudWatch can only use a key whose policy lets cloudwatch.amazonaws.com (kms:Decrypt, kms:GenerateDataKey*):
        # alias/aws/sns does not, and every alarm would be lost without a word.
        kms_master_key_id=place.kms_key_arn,
        tags=place.tagged("alarms"),
        opts=inside,
    )
    sns.TopicPolicy(place.named("alarms"), arn=topic.arn, policy=document([_publishing(place, topic)]), opts=inside)
    if args.email is not None:
        sns.TopicSubscription(place.named("email"), topic=topic.arn, protocol="email", endpoint=args.email, opts=inside)
    return topic.arn


def _publishing(place: Place, topic: sns.Topic) -> dict[str, object]:
    """Alarms of this account and region may tell the topic, and nothing else in AWS."""
    return {
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": topic.arn,
        "Condition": {
            "StringEquals": {"aws:SourceAccount": place.account},
            "ArnLike": {"aws:SourceArn": place.arn("cloudwatch", "alarm:*")},
        },
    }
