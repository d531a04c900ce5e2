"""The schedule of the service: scaling actions, and when its alarm is muted."""

import datetime
import re
from typing import Any

import pytest

from components.aws.schedule_settings import ScheduleSettings
from components.validation import SettingsError, validate_args
from preview.graph import Graph

from .helpers import only, record_stack

ACTION = "aws:appautoscaling/scheduledAction:ScheduledAction"
MUTE = "aws:cloudwatch/alarmMuteRule:AlarmMuteRule"
WEEK = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
SCHEDULES: dict[str, dict[str, Any]] = {
    "working-days": {"start": "08:00", "stop": "20:00", "timeZone": "Europe/Berlin"},
    "one-day": {"start": "00:00", "stop": "23:59", "days": ["Wed"]},
    "every-day": {"start": "07:30", "stop": "07:31", "days": ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]},
    "gaps": {"start": "09:15", "stop": "17:45", "days": ["Sat", "Mon", "Thu"]},
}


def recorded(schedule: dict[str, Any]) -> Graph:
    return record_stack({"service": {"minTasks": 2, "maxTasks": 4, "schedule": schedule}})


def test_service_without_a_schedule_has_no_actions_and_mutes_no_alarm() -> None:
    graph = record_stack()
    assert graph.of(ACTION) == graph.of(MUTE) == []
    assert not only(graph, "aws:appautoscaling/target:Target").ignore_changes


def test_tasks_start_and_stop_at_the_times_of_the_schedule() -> None:
    graph = recorded(SCHEDULES["working-days"])
    actions = {action.name: action.inputs for action in graph.of(ACTION)}
    assert {name: inputs["schedule"] for name, inputs in actions.items()} == {
        "proxy-schedule-start": "cron(0 8 ? * MON,TUE,WED,THU,FRI *)",
        "proxy-schedule-stop": "cron(0 20 ? * MON,TUE,WED,THU,FRI *)",
    }
    assert {inputs["timezone"] for inputs in actions.values()} == {"Europe/Berlin"}
    assert [actions[f"proxy-schedule-{role}"]["scalableTargetAction"] for role in ("start", "stop")] == [
        {"minCapacity": 2, "maxCapacity": 4},
        {"minCapacity": 0, "maxCapacity": 0},
    ]


def test_pulumi_ignores_the_capacity_that_the_actions_change() -> None:
    target = only(recorded(SCHEDULES["working-days"]), "aws:appautoscaling/target:Target")
    assert set(target.ignore_changes) == {"minCapacity", "maxCapacity"}
    assert (target.inputs["minCapacity"], target.inputs["maxCapacity"]) == (2, 4)


@pytest.mark.parametrize("name", SCHEDULES)
def test_alarm_is_muted_exactly_while_the_service_is_stopped_and_starts(name: str) -> None:
    graph = recorded(SCHEDULES[name])
    alarm = only(graph, "aws:cloudwatch/metricAlarm:MetricAlarm", "proxy-alarm-no-healthy-task").outputs["name"]
    assert all(rule.inputs["muteTargets"] == {"alarmNames": [alarm]} for rule in graph.of(MUTE))
    start, stop = (
        datetime.timedelta(hours=int(SCHEDULES[name][key][:2]), minutes=int(SCHEDULES[name][key][3:]))
        for key in ("start", "stop")
    )
    days = [WEEK.index(day.upper()) for day in SCHEDULES[name].get("days", ["Mon", "Tue", "Wed", "Thu", "Fri"])]
    # Every 15 minutes of a week, in minutes from its beginning.
    week = 7 * 24 * 60
    running = {
        minute
        for minute in range(0, week, 15)
        for day in days
        if 24 * 60 * day + start.seconds / 60 + 30 <= minute < 24 * 60 * day + stop.seconds / 60
    }
    muted: set[int] = set()
    for rule in graph.of(MUTE):
        schedule = rule.inputs["rule"]["schedule"]
        expression = re.fullmatch(r"cron\((\d+) (\d+) \* \* ([A-Z,]+)\)", schedule["expression"])
        duration = re.fullmatch(r"P(\d+)DT(\d+)H(\d+)M", schedule["duration"])
        assert expression is not None
        assert duration is not None
        length = (int(duration[1]) * 24 + int(duration[2])) * 60 + int(duration[3])
        for day in expression[3].split(","):
            first = WEEK.index(day) * 24 * 60 + int(expression[2]) * 60 + int(expression[1])
            muted |= {minute for minute in range(0, 2 * week, 15) if first <= minute < first + length}
    assert {minute % week for minute in muted} == set(range(0, week, 15)) - running


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": "20:00", "stop": "08:00"}, "stop: got 08:00, expected a time after start (20:00)."),
        ({"start": "8:00", "stop": "20:00"}, 'start: got "8:00", expected a time, such as 08:00.'),
        ({"start": "08:00", "stop": "20:00", "days": []}, "days: got none, expected days, each once."),
        ({"start": "08:00", "stop": "20:00", "days": ["Mon", "Mon"]}, "days: got Mon, Mon, expected days, each once."),
        ({"start": "08:00", "stop": "20:00", "timeZone": "CET+1"}, 'timeZone: got "CET+1", expected a time zone'),
    ],
)
def test_invalid_schedule_is_rejected(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        validate_args(ScheduleSettings, settings, "schedule", production=False)
    assert [problem.startswith(f"schedule.{message}") for problem in caught.value.problems] == [True]
