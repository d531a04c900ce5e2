import pulumi
import pulumi_aws as aws

from preview.drawing import mermaid
from preview.recorder import record

from .aws.programs import proxy_in_front


class Part(pulumi.ComponentResource):
    def __init__(self, kind: str, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(f"test:index:{kind}", name, {}, opts)


def inside(parent: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(parent=parent)


def alarms_and_stores() -> None:
    top = Part("Deployment", "proxy")
    watching, stores = Part("Watching", "proxy-watching", inside(top)), Part("Stores", "proxy-stores", inside(top))
    topic = aws.sns.Topic("proxy-topic", opts=inside(watching))
    for number in range(3):
        aws.cloudwatch.MetricAlarm(
            f"proxy-alarm-{number}",
            comparison_operator="GreaterThanThreshold",
            evaluation_periods=1,
            alarm_actions=[topic.arn],
            opts=inside(watching),
        )
    aws.sns.TopicSubscription(
        "proxy-mail", topic=topic.arn, protocol="email", endpoint='"me"@example.com', opts=inside(watching)
    )
    aws.s3.Bucket("proxy-unused", opts=inside(stores))


def test_parts_are_boxes_and_many_of_a_kind_are_one() -> None:
    assert mermaid(record(alarms_and_stores)) == (
        "flowchart LR\n"
        "  outside0([\"'me'@example.com\"])\n"
        '  subgraph proxy_Deployment["Deployment"]\n'
        '    subgraph proxy_watching_Watching["Watching"]\n'
        '      proxy_topic_Topic["SNS topic"]\n'
        '      proxy_watching_MetricAlarm["3 alarms"]\n'
        "    end\n"
        "  end\n"
        "  proxy_watching_MetricAlarm --> proxy_topic_Topic\n"
        '  proxy_topic_Topic -->|"email"| outside0\n'
    )


def test_what_nobody_talks_to_is_not_drawn() -> None:
    assert "unused" not in mermaid(record(alarms_and_stores))


def test_who_talks_to_whom_follows_from_rules_and_listeners() -> None:
    drawn = mermaid(record(proxy_in_front))
    assert '  outside0(["the internet"])\n' in drawn
    assert '  outside0 -->|"443"| alb_LoadBalancer\n' in drawn
    assert '  alb_LoadBalancer -->|"8080"| proxy_Service\n' in drawn
