"""Logs, metrics, alarms and who is told."""

from typing import TYPE_CHECKING, Any

from ...kind import ACCOUNT, Kind, Making, Name, Problems, Refers, RefusedError, Values
from ..common import among, json_in, known, matches
from .policies import policy_problems

if TYPE_CHECKING:
    from ...cloud import Cloud, Thing

LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
TOPIC = "aws:sns/topic:Topic"
# CloudWatch Logs' PutRetentionPolicy; 0 is for ever.
_RETENTION = (
    0,
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)
_PERIODS = (10, 20, 30)


def _log_group_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "name", r"(?!aws/)[a-zA-Z0-9_\-/.#]{1,512}")
    yield from among(inputs, "retentionInDays", _RETENTION)


def _topic(making: Making) -> tuple[str, dict[str, object]]:
    arn = making.arn("sns", str(making.inputs["name"]))
    return arn, {"arn": arn, "owner": ACCOUNT}


def _subscription(making: Making) -> tuple[str, dict[str, object]]:
    # Somebody has to click first; the provider keeps the ARN that the topic's owner sees.
    waits = making.inputs["protocol"] in ("email", "email-json")
    arn = f"{making.inputs['topic']}:{making.hexes(8)}-{making.hexes(4, 'a')}-{making.hexes(4, 'b')}"
    return arn, {"arn": arn, "ownerId": ACCOUNT, "pendingConfirmation": waits, "confirmationWasAuthenticated": False}


def _alarm_problems(inputs: Values) -> Problems:
    if not inputs.get("metricQueries"):
        for field in ("metricName", "namespace", "period"):
            if inputs.get(field) is None:
                yield field, "an alarm of one metric needs it"
        if bool(inputs.get("statistic")) == bool(inputs.get("extendedStatistic")):
            yield "statistic", "exactly one of statistic, extendedStatistic is wanted"
    elif inputs.get("metricName") or inputs.get("period") or inputs.get("statistic"):
        yield "metricQueries", "it conflicts with metricName, period and statistic"
    period = known(inputs, "period")
    if period is not None and period not in _PERIODS and period % 60:
        yield "period", f"{period} is given; allowed is 10, 20, 30 or a multiple of 60"
    yield from among(inputs, "treatMissingData", ("missing", "ignore", "breaching", "notBreaching"))
    yield from among(
        inputs,
        "comparisonOperator",
        (
            "GreaterThanOrEqualToThreshold",
            "GreaterThanThreshold",
            "LessThanThreshold",
            "LessThanOrEqualToThreshold",
            "LessThanLowerOrGreaterThanUpperThreshold",
            "LessThanLowerThreshold",
            "GreaterThanUpperThreshold",
        ),
    )


def _dashboard_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "dashboardName", r"[A-Za-z0-9\-_]{1,255}")
    try:
        body: Any = json_in(inputs, "dashboardBody")
    except ValueError:
        yield "dashboardBody", "it is not JSON"
        return
    if body is None:
        return
    for index, widget in enumerate(body.get("widgets", [])):
        path = f"dashboardBody.widgets[{index}]"
        if widget.get("type") not in ("metric", "text", "log", "alarm", "explorer"):
            yield path, f"type {widget.get('type')!r} is unknown"
        if widget.get("x", 0) + widget.get("width", 6) > 24:
            yield path, "it is wider than the grid's 24 columns"
        if widget.get("type") == "metric" and not widget.get("properties", {}).get("region"):
            yield path, "its properties name no region"


def _filters_fit(thing: "Thing", cloud: "Cloud") -> None:
    same = [one for one in cloud.of(thing.kind.token) if one.inputs["logGroupName"] == thing.inputs["logGroupName"]]
    if len([one for one in same if one.id != thing.id]) >= 100:
        raise RefusedError("LimitExceeded: a log group has 100 metric filters at most.")


KINDS = (
    Kind(
        token=LOG_GROUP,
        name=Name(limit=512),
        make=lambda making: (
            str(making.inputs["name"]),
            {"arn": making.arn("logs", f"log-group:{making.inputs['name']}")},
        ),
        one_of=(("name",),),
        check=_log_group_problems,
    ),
    Kind(
        token="aws:cloudwatch/logMetricFilter:LogMetricFilter",
        puts=True,
        name=Name(limit=512),
        make=lambda making: (str(making.inputs["name"]), {}),
        refers=(Refers(path="logGroupName", kinds=(LOG_GROUP,), by=("name",), holds=False, within=True),),
        one_of=(("logGroupName", "name"),),
        check=lambda inputs: matches(inputs, "name", r"[^:*]{1,512}"),
        made=_filters_fit,
    ),
    Kind(
        token="aws:cloudwatch/logResourcePolicy:LogResourcePolicy",
        puts=True,
        make=lambda making: (str(making.inputs["policyName"]), {}),
        one_of=(("policyName",),),
        check=lambda inputs: policy_problems(inputs, "policyDocument", principal=True),
    ),
    Kind(
        token="aws:cloudwatch/metricAlarm:MetricAlarm",
        puts=True,
        name=Name(),
        make=lambda making: (
            str(making.inputs["name"]),
            {"arn": making.arn("cloudwatch", f"alarm:{making.inputs['name']}")},
        ),
        one_of=(("name",),),
        refers=tuple(
            Refers(path=f"{field}[*]", kinds=(TOPIC,), by=("arn",), holds=False)
            for field in ("alarmActions", "okActions", "insufficientDataActions")
        ),
        check=_alarm_problems,
    ),
    Kind(
        token="aws:cloudwatch/dashboard:Dashboard",
        puts=True,
        make=lambda making: (
            str(making.inputs["dashboardName"]),
            {"dashboardArn": making.arn("cloudwatch", f"dashboard/{making.inputs['dashboardName']}", region="")},
        ),
        one_of=(("dashboardName",),),
        check=_dashboard_problems,
    ),
    Kind(
        token=TOPIC,
        name=Name(),
        make=_topic,
        one_of=(("name",),),
        check=lambda inputs: matches(inputs, "name", r"[A-Za-z0-9_-]{1,256}"),
    ),
    Kind(
        token="aws:sns/topicPolicy:TopicPolicy",
        puts=True,
        make=lambda making: (str(making.inputs["arn"]), {"owner": ACCOUNT}),
        refers=(Refers(path="arn", kinds=(TOPIC,), by=("arn",), holds=False, within=True),),
        check=lambda inputs: policy_problems(inputs, "policy", principal=True),
    ),
    Kind(
        token="aws:sns/topicSubscription:TopicSubscription",
        make=_subscription,
        refers=(Refers(path="topic", kinds=(TOPIC,), by=("arn",), holds=False, within=True),),
        check=lambda inputs: among(
            inputs,
            "protocol",
            ("email", "email-json", "sms", "sqs", "lambda", "http", "https", "firehose", "application"),
        ),
    ),
)
