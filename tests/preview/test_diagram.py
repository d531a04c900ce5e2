import pulumi
import pulumi_aws as aws

from preview.diagram import mermaid
from preview.recorder import record

from .aws.programs import proxy_behind_load_balancer


class Component(pulumi.ComponentResource):
    def __init__(self, kind: str, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(f"test:index:{kind}", name, {}, opts)


def child_of(parent: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(parent=parent)


def program_with_alarms_and_bucket() -> None:
    top = Component("Deployment", "proxy")
    monitoring, stores = (
        Component("Monitoring", "proxy-monitoring", child_of(top)),
        Component("Stores", "proxy-stores", child_of(top)),
    )
    topic = aws.sns.Topic("proxy-topic", opts=child_of(monitoring))
    for number in range(3):
        aws.cloudwatch.MetricAlarm(
            f"proxy-alarm-{number}",
            comparison_operator="GreaterThanThreshold",
            evaluation_periods=1,
            alarm_actions=[topic.arn],
            opts=child_of(monitoring),
        )
    aws.sns.TopicSubscription(
        "proxy-mail", topic=topic.arn, protocol="email", endpoint='"me"@example.com', opts=child_of(monitoring)
    )
    aws.s3.Bucket("proxy-unused", opts=child_of(stores))


def test_child_components_are_subgraphs_with_grouped_nodes() -> None:
    assert mermaid(record(program_with_alarms_and_bucket)) == (
        "flowchart LR\n"
        "  outside0([\"'me'@example.com\"])\n"
        '  subgraph proxy_Deployment["Deployment"]\n'
        '    subgraph proxy_monitoring_Monitoring["Monitoring"]\n'
        '      proxy_topic_Topic["SNS topic"]\n'
        '      proxy_monitoring_MetricAlarm["3 alarms"]\n'
        "    end\n"
        "  end\n"
        "  proxy_monitoring_MetricAlarm --> proxy_topic_Topic\n"
        '  proxy_topic_Topic -->|"email"| outside0\n'
    )


def test_resource_without_edges_is_left_out() -> None:
    assert "unused" not in mermaid(record(program_with_alarms_and_bucket))


def test_edges_follow_security_group_rules_and_listeners() -> None:
    flowchart = mermaid(record(proxy_behind_load_balancer))
    assert '  outside0(["the internet"])\n' in flowchart
    assert '  outside0 -->|"443"| alb_LoadBalancer\n' in flowchart
    assert '  alb_LoadBalancer -->|"8080"| proxy_Service\n' in flowchart
