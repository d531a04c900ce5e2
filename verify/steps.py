"""What a step is, how steps are run one after the other, and the values that they write and read back."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence

from verify.failures import Failed, NotTried, Skipped, Stop
from verify.report import Report, Status

# Between them the values hold what a proxy that signs or rewrites requests could break.
PARAM = ("optimizer", "Adam, \u03b2\u2081 = 0.9 + 'warm up' / 100 %")
BATCH_PARAM = ("depth", "12")
METRIC = ("loss", 1 / 3, 0)
BATCH_METRICS = (("accuracy", 0.5, 1), ("accuracy", 0.75, 2))
BATCH_TAG = ("stage", "batch")
TAG = ("made by", "make verify & \u00fc")
NOTE = ("mlflow.note.content", "Made by `make verify`, which marks it as deleted at its end.")

# The last one logged is what a run shows.
WRITTEN_PARAMS: dict[str, object] = dict([PARAM, BATCH_PARAM])
WRITTEN_METRICS: dict[str, object] = {METRIC[0]: METRIC[1], BATCH_METRICS[-1][0]: BATCH_METRICS[-1][1]}
WRITTEN_TAGS: dict[str, object] = dict([BATCH_TAG, TAG])


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """title: what it does; run: does it and returns a few words on what it saw, or nothing.

    run raises Failed, Stop, Skipped or NotTried.
    """

    title: str
    run: Callable[[], str | None]


def run_steps(via: str, steps: Sequence[Step], report: Report) -> bool:
    """Run and report each; False when one made all that follows pointless."""
    for step in steps:
        begin = time.perf_counter()
        stop = False
        try:
            status, note = Status.OK, step.run() or ""
        except (Skipped, NotTried) as why:
            status, note = Status.SKIPPED if isinstance(why, Skipped) else Status.NOT_TRIED, str(why)
        except Failed as failure:
            status, note, stop = Status.FAILED, str(failure), isinstance(failure, Stop)
        report.row(via, step.title, status, (time.perf_counter() - begin) * 1000, note)
        if stop:
            return False
    return True


def same_values(what: str, written: Mapping[str, object], read: Mapping[str, object]) -> None:
    """Failed unless everything written was read; numbers may lose the last digits in a database."""
    for key, value in written.items():
        if key not in read:
            raise Failed(f"The {what} {key!r} was written and is not there.")
        there = read[key]
        if isinstance(value, float):
            same = isinstance(there, int | float) and math.isclose(there, value, rel_tol=1e-9)
        else:
            same = there == value
        if not same:
            raise Failed(f"The {what} {key!r} was written as {value!r} and reads {there!r}.")


def expect(what: str, wanted: object, got: object) -> None:
    """Failed when the two differ."""
    if wanted != got:
        raise Failed(f"{what} should be {wanted!r} and is {got!r}.")
