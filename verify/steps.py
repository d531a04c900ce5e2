"""What a step is, how steps run, and the values that they write and read."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence

from verify.errors import StepFailed, StepNotRun, StepSkipped, VerificationAborted
from verify.report import Report, Status

# Values that a proxy that signs or rewrites requests could change.
PARAM = ("optimizer", "Adam, \u03b2\u2081 = 0.9 + 'warm up' / 100 %")
BATCH_PARAM = ("depth", "12")
METRIC = ("loss", 1 / 3, 0)
BATCH_METRICS = (("accuracy", 0.5, 1), ("accuracy", 0.75, 2))
BATCH_TAG = ("stage", "batch")
TAG = ("created by", "make verify & \u00fc")
NOTE = ("mlflow.note.content", "Created by `make verify`, which deletes it at its end.")

# A run shows the value logged last.
WRITTEN_PARAMS: dict[str, object] = dict([PARAM, BATCH_PARAM])
WRITTEN_METRICS: dict[str, object] = {METRIC[0]: METRIC[1], BATCH_METRICS[-1][0]: BATCH_METRICS[-1][1]}
WRITTEN_TAGS: dict[str, object] = dict([BATCH_TAG, TAG])


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """A step: `run` performs it and returns a short note or None.

    `run` raises StepFailed, VerificationAborted, StepSkipped or StepNotRun.
    """

    title: str
    run: Callable[[], str | None]


def run_steps(via: str, steps: Sequence[Step], report: Report) -> bool:
    """Run and report the steps; False when one aborted the verification."""
    for step in steps:
        begin = time.perf_counter()
        stop = False
        try:
            status, note = Status.OK, step.run() or ""
        except (StepSkipped, StepNotRun) as why:
            status, note = Status.SKIPPED if isinstance(why, StepSkipped) else Status.NOT_RUN, str(why)
        except StepFailed as failure:
            status, note, stop = Status.FAILED, str(failure), isinstance(failure, VerificationAborted)
        report.row(via, step.title, status, (time.perf_counter() - begin) * 1000, note)
        if stop:
            return False
    return True


def same_values(what: str, written: Mapping[str, object], read: Mapping[str, object]) -> None:
    """StepFailed unless all written values were read; numbers may differ in the last digits."""
    for key, value in written.items():
        if key not in read:
            raise StepFailed(f"The {what} {key!r} was written but is missing.")
        actual = read[key]
        if isinstance(value, float):
            same = isinstance(actual, int | float) and math.isclose(actual, value, rel_tol=1e-9)
        else:
            same = actual == value
        if not same:
            raise StepFailed(f"The {what} {key!r}: got {actual!r}, expected {value!r}.")


def expect(what: str, expected: object, got: object) -> None:
    """StepFailed when the two differ."""
    if expected != got:
        raise StepFailed(f"{what}: got {got!r}, expected {expected!r}.")
