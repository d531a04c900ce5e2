"""Requests for logs, alarms, the dashboard and the SNS topic, by resource type."""

from collections.abc import Mapping

from .rows import TAG_ACTIONS, Row, on_resource, without_resource

ROWS: Mapping[str, tuple[Row, ...]] = {
    "aws:cloudwatch/logGroup:LogGroup": (
        on_resource(
            "logs",
            "log-group:{name}",
            "CreateLogGroup PutRetentionPolicy DeleteRetentionPolicy AssociateKmsKey DisassociateKmsKey "
            f"DeleteLogGroup {TAG_ACTIONS}",
        ),
        without_resource("logs", "DescribeLogGroups"),
    ),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": (
        on_resource("logs", "log-group:{name}", "PutMetricFilter DescribeMetricFilters DeleteMetricFilter"),
    ),
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": (
        without_resource("logs", "PutResourcePolicy DescribeResourcePolicies DeleteResourcePolicy"),
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": (
        on_resource("cloudwatch", "alarm:{name}", f"PutMetricAlarm DescribeAlarms DeleteAlarms {TAG_ACTIONS}"),
    ),
    "aws:cloudwatch/alarmMuteRule:AlarmMuteRule": (
        on_resource(
            "cloudwatch",
            "alarm-mute-rule:{name}",
            f"PutAlarmMuteRule GetAlarmMuteRule DeleteAlarmMuteRule {TAG_ACTIONS}",
        ),
        # The alarm that it mutes.
        on_resource("cloudwatch", "alarm:mlflow-any", "PutAlarmMuteRule"),
    ),
    "aws:cloudwatch/dashboard:Dashboard": (
        on_resource("cloudwatch", "dashboard/{name}", "PutDashboard GetDashboard DeleteDashboards"),
    ),
    "aws:sns/topic:Topic": (
        on_resource("sns", "{name}", f"CreateTopic GetTopicAttributes SetTopicAttributes DeleteTopic {TAG_ACTIONS}"),
    ),
    "aws:sns/topicPolicy:TopicPolicy": (on_resource("sns", "{name}", "GetTopicAttributes SetTopicAttributes"),),
    "aws:sns/topicSubscription:TopicSubscription": (
        on_resource("sns", "{name}", "Subscribe"),
        without_resource("sns", "GetSubscriptionAttributes Unsubscribe"),
    ),
}
