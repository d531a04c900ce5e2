"""Runs checks at the same time, within a time limit for all of them."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from .errors import Unchecked
from .model import CREDENTIALS, Check, Result, Status
from .subject import Subject

SECONDS = 50
"""The time limit of a run: what has not ended by then could not be checked."""
_REQUESTS_AT_ONCE = 8

Item = TypeVar("Item")
Value = TypeVar("Value")


def run(checks: Sequence[Check], subject: Subject, seconds: float = SECONDS) -> list[Result]:
    """Return the results in the order of the checks. A check that fails unexpectedly, or hangs, could not be done."""
    done: queue.Queue[Result] = queue.Queue()
    for one in checks:
        # A daemon thread does not keep the process alive, where it hangs in a connection or a command.
        threading.Thread(target=_work, args=(one, subject, done), daemon=True).start()
    found: dict[str, Result] = {}
    end = time.monotonic() + seconds
    while len(found) < len(checks):
        try:
            ended = done.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        found[ended.name] = ended
    late = f"no result within {seconds:g} s"
    return _without_credentials([found.get(one.name) or Result(one.name, Status.UNCHECKED, late) for one in checks])


def _work(one: Check, subject: Subject, done: queue.Queue[Result]) -> None:
    done.put(result(one, subject))


def _without_credentials(results: list[Result]) -> list[Result]:
    """Without credentials, no check of a cloud says anything; the check of the credentials says what to do."""
    absent = tuple(
        prefix
        for name, prefix in CREDENTIALS.items()
        if any(one.name == name and one.status is not Status.PASSED for one in results)
    )
    return [
        Result(one.name, Status.UNCHECKED, "no credentials")
        if absent and one.name.startswith(absent) and one.name not in CREDENTIALS
        else one
        for one in results
    ]


def result(one: Check, subject: Subject) -> Result:
    """Run one check."""
    try:
        outcome = one.function(subject)
    except Unchecked as error:
        return Result(one.name, Status.UNCHECKED, str(error), permission=error.permission)
    except Exception as error:  # noqa: BLE001 - the other checks are still of use
        return Result(one.name, Status.UNCHECKED, f"{type(error).__name__}: {error}")
    if isinstance(outcome, str):
        return Result(one.name, Status.PASSED, outcome)
    return Result(one.name, Status.FAILED, outcome[0].problem, tuple(outcome))


def in_parallel(function: Callable[[Item], Value], items: Iterable[Item]) -> list[Value]:
    """Return the function's values for the items, in their order; a few calls run at once. Raises the first error."""
    rest = list(enumerate(items))
    values: dict[int, Value] = {}
    errors: dict[int, Exception] = {}
    waiting: queue.Queue[tuple[int, Item]] = queue.Queue()
    for entry in rest:
        waiting.put(entry)

    def work() -> None:
        while not errors:
            try:
                number, item = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                values[number] = function(item)
            except Exception as error:  # noqa: BLE001 - raised below
                errors[number] = error

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(_REQUESTS_AT_ONCE, len(rest)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[min(errors)]
    return [values[number] for number, _ in rest]
