"""Log groups, metric filters, alarms, dashboards and topics."""

from typing import TYPE_CHECKING, Any

from ...kind import ACCOUNT, CloudError, CreateRequest, Kind, Name, Problems, Reference, Values
from ..common import among, group, json_in, known, matches
from .policies import policy_problems

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
TOPIC = "aws:sns/topic:Topic"
# CloudWatch Logs' PutRetentionPolicy; 0 keeps logs forever.
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


def _topic(request: CreateRequest) -> tuple[str, dict[str, object]]:
    arn = request.arn("sns", str(request.inputs["name"]))
    return arn, {"arn": arn, "owner": ACCOUNT}


def _subscription(request: CreateRequest) -> tuple[str, dict[str, object]]:
    # The recipient must confirm first; the provider stores the ARN that the topic's owner gets.
    pending = request.inputs["protocol"] in ("email", "email-json")
    arn = f"{request.inputs['topic']}:{request.hex_digits(8)}-{request.hex_digits(4, 'a')}-{request.hex_digits(4, 'b')}"
    return arn, {"arn": arn, "ownerId": ACCOUNT, "pendingConfirmation": pending, "confirmationWasAuthenticated": False}


def _mute_problems(inputs: Values) -> Problems:
    # Five fields, unlike the cron expressions of Application Auto Scaling: CloudWatch's API, Schedule.
    schedule = group(group(inputs, "rule"), "schedule")
    yield from matches(schedule, "expression", r"cron\(\d{1,2} \d{1,2} \* \* ([A-Z]{3}(,[A-Z]{3})*|\*)\)")
    yield from matches(schedule, "duration", r"P(\d{1,2}D)?(T(\d{1,2}H)?(\d{1,2}M)?)?")


def _alarm_problems(inputs: Values) -> Problems:
    if not inputs.get("metricQueries"):
        for field in ("metricName", "namespace", "period"):
            if inputs.get(field) is None:
                yield field, "required for an alarm without metricQueries"
        if bool(inputs.get("statistic")) == bool(inputs.get("extendedStatistic")):
            yield "statistic", "expected exactly one of statistic, extendedStatistic"
    elif inputs.get("metricName") or inputs.get("period") or inputs.get("statistic"):
        yield "metricQueries", "conflicts with metricName, period and statistic"
    period = known(inputs, "period")
    if period is not None and period not in _PERIODS and period % 60:
        yield "period", f"got {period}, expected 10, 20, 30 or a multiple of 60"
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
        yield "dashboardBody", "not valid JSON"
        return
    if body is None:
        return
    for index, widget in enumerate(body.get("widgets", [])):
        path = f"dashboardBody.widgets[{index}]"
        if widget.get("type") not in ("metric", "text", "log", "alarm", "explorer"):
            yield path, f"type {widget.get('type')!r} is unknown"
        if widget.get("x", 0) + widget.get("width", 6) > 24:
            yield path, "exceeds the 24 columns of the grid"
        if widget.get("type") == "metric" and not widget.get("properties", {}).get("region"):
            yield path, "properties.region is required"


def _filters_fit(resource: "Resource", cloud: "Cloud") -> None:
    same = [
        other
        for other in cloud.of(resource.kind.token)
        if other.inputs["logGroupName"] == resource.inputs["logGroupName"]
    ]
    if len([other for other in same if other.id != resource.id]) >= 100:
        raise CloudError("LimitExceeded: a log group has 100 metric filters at most.")


KINDS = (
    Kind(
        token=LOG_GROUP,
        name=Name(limit=512),
        make=lambda request: (
            str(request.inputs["name"]),
            {"arn": request.arn("logs", f"log-group:{request.inputs['name']}")},
        ),
        unique=(("name",),),
        check=_log_group_problems,
    ),
    Kind(
        token="aws:cloudwatch/logMetricFilter:LogMetricFilter",
        overwrites=True,
        name=Name(limit=512),
        make=lambda request: (str(request.inputs["name"]), {}),
        references=(
            Reference(path="logGroupName", kinds=(LOG_GROUP,), by=("name",), blocks_delete=False, deleted_with=True),
        ),
        unique=(("logGroupName", "name"),),
        check=lambda inputs: matches(inputs, "name", r"[^:*]{1,512}"),
        on_create=_filters_fit,
    ),
    Kind(
        token="aws:cloudwatch/logResourcePolicy:LogResourcePolicy",
        overwrites=True,
        make=lambda request: (str(request.inputs["policyName"]), {}),
        unique=(("policyName",),),
        check=lambda inputs: policy_problems(inputs, "policyDocument", principal=True),
    ),
    Kind(
        token="aws:cloudwatch/metricAlarm:MetricAlarm",
        overwrites=True,
        name=Name(),
        make=lambda request: (
            str(request.inputs["name"]),
            {"arn": request.arn("cloudwatch", f"alarm:{request.inputs['name']}")},
        ),
        unique=(("name",),),
        references=tuple(
            Reference(path=f"{field}[*]", kinds=(TOPIC,), by=("arn",), blocks_delete=False)
            for field in ("alarmActions", "okActions", "insufficientDataActions")
        ),
        check=_alarm_problems,
    ),
    Kind(
        token="aws:cloudwatch/alarmMuteRule:AlarmMuteRule",
        overwrites=True,
        name=Name(),
        make=lambda request: (
            str(request.inputs["name"]),
            {
                "arn": request.arn("cloudwatch", f"alarm-mute-rule:{request.inputs['name']}"),
                "status": "SCHEDULED",
                "muteType": "RECURRING",
            },
        ),
        unique=(("name",),),
        references=(
            Reference(
                path="muteTargets.alarmNames[*]",
                kinds=("aws:cloudwatch/metricAlarm:MetricAlarm",),
                by=("name",),
                blocks_delete=False,
            ),
        ),
        check=_mute_problems,
    ),
    Kind(
        token="aws:cloudwatch/dashboard:Dashboard",
        overwrites=True,
        make=lambda request: (
            str(request.inputs["dashboardName"]),
            {"dashboardArn": request.arn("cloudwatch", f"dashboard/{request.inputs['dashboardName']}", region="")},
        ),
        unique=(("dashboardName",),),
        check=_dashboard_problems,
    ),
    Kind(
        token=TOPIC,
        name=Name(),
        make=_topic,
        unique=(("name",),),
        check=lambda inputs: matches(inputs, "name", r"[A-Za-z0-9_-]{1,256}"),
    ),
    Kind(
        token="aws:sns/topicPolicy:TopicPolicy",
        overwrites=True,
        make=lambda request: (str(request.inputs["arn"]), {"owner": ACCOUNT}),
        references=(Reference(path="arn", kinds=(TOPIC,), by=("arn",), blocks_delete=False, deleted_with=True),),
        check=lambda inputs: policy_problems(inputs, "policy", principal=True),
    ),
    Kind(
        token="aws:sns/topicSubscription:TopicSubscription",
        make=_subscription,
        references=(Reference(path="topic", kinds=(TOPIC,), by=("arn",), blocks_delete=False, deleted_with=True),),
        check=lambda inputs: among(
            inputs,
            "protocol",
            ("email", "email-json", "sms", "sqs", "lambda", "http", "https", "firehose", "application"),
        ),
    ),
)
