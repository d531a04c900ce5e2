"""Settings of the hours in which the service runs, and the schedules that follow from them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..validation import ValidatedArgs, text_type

if TYPE_CHECKING:
    Time = str
    TimeZone = str
else:
    Time = text_type(r"([01]\d|2[0-3]):[0-5]\d", "a time, such as 08:00")
    TimeZone = text_type(r"[A-Za-z]+(/[A-Za-z0-9_+-]+)*", "a time zone, such as Europe/Berlin")

Day = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
_WEEK: tuple[Day, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_MINUTES = 24 * 60
# Minutes after the start until the first task is healthy: an instance starts, and pulls the image.
_STARTING = 30


class ScheduleSettings(ValidatedArgs):
    """The hours in which the service runs. Outside of them, it has no tasks and no instances."""

    start: Time
    """Time at which tasks start, such as 08:00."""
    stop: Time
    """Time on the same day at which they stop, such as 20:00."""
    days: list[Day] = Field(default=["Mon", "Tue", "Wed", "Thu", "Fri"])
    """Days on which the service runs."""
    time_zone: TimeZone = "UTC"
    """Time zone of both times, such as Europe/Berlin."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for hours that are not within a day, and for days that are missing or named twice."""
        if self.stop <= self.start:
            yield "stop", f"got {self.stop}, expected a time after start ({self.start})."
        if not self.days or len(set(self.days)) < len(self.days):
            yield "days", f"got {', '.join(self.days) or 'none'}, expected days, each once."

    def weekdays(self) -> str:
        """The days in cron's form, such as MON,TUE."""
        return ",".join(day.upper() for day in _WEEK if day in self.days)

    def sleeping(self) -> Mapping[int, list[Day]]:
        """Days by the minutes from their stop until tasks run again on the next day of the schedule."""
        numbers = [number for number, day in enumerate(_WEEK) if day in self.days]
        awake = _minutes(self.stop) - _minutes(self.start)
        found: dict[int, list[Day]] = {}
        for number, following in zip(numbers, [*numbers[1:], numbers[0] + 7], strict=True):
            minutes = (following - number) * _DAY_MINUTES - awake + _STARTING
            found.setdefault(minutes, []).append(_WEEK[number])
        return found


def _minutes(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


def cron_time(time: str) -> str:
    """The minute and the hour of a time, as cron's first two fields."""
    hours, minutes = time.split(":")
    return f"{int(minutes)} {int(hours)}"
