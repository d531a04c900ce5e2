"""The results as a table or as JSON."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from preview.console import Style, table

from .model import CREDENTIALS, Result, Status

_MARKS = {Status.PASSED: ("✓", "cyan"), Status.FAILED: ("✗", "red"), Status.UNCHECKED: ("could not check", "yellow")}


def exit_code(results: Sequence[Result]) -> int:
    """Return 2 without credentials; otherwise 1 if a check failed, 2 if one could not be done, and 0 if all passed."""
    if any(result.name in CREDENTIALS and result.status is Status.UNCHECKED for result in results):
        return 2
    found = {result.status for result in results}
    return 1 if Status.FAILED in found else 2 if Status.UNCHECKED in found else 0


def text(title: str, results: Sequence[Result], style: Style) -> str:
    """Return a table with a row for each check, what to do below it, and the counts."""
    rows = [
        row
        for result in results
        for row in (
            [(style(*_MARKS[result.status]), result.name, _found(result))]
            if not result.faults
            else _rows(result, style)
        )
    ]
    counts = Counter(result.status for result in results)
    summary = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    lines = [style(title, "bold"), *table(style, ["result", "check", "found"], rows), "", summary]
    return "\n".join(lines) + "\n"


def _rows(result: Result, style: Style) -> list[tuple[str, str, str]]:
    rows = [("", "", line) for line in _lines(result)]
    return [(style(*_MARKS[result.status]), result.name, rows[0][2]), *rows[1:]]


def _lines(result: Result) -> Iterator[str]:
    """The faults, each remedy after the last of the faults that it mends."""
    for fault, following in zip_longest(result.faults, result.faults[1:]):
        yield fault.problem
        if following is None or following.remedy != fault.remedy:
            yield f"→ {fault.remedy}"


def _found(result: Result) -> str:
    return f"{result.text} (missing permission: {result.permission})" if result.permission else result.text


def as_json(stack: str, results: Sequence[Result]) -> str:
    """Return the stack's name, the exit code, and each check with its status, text, faults and missing permission."""
    checks = [
        {
            "check": result.name,
            "status": result.status,
            "text": result.text,
            **({"permission": result.permission} if result.permission else {}),
            **({"faults": [fault._asdict() for fault in result.faults]} if result.faults else {}),
        }
        for result in results
    ]
    return json.dumps({"stack": stack, "exit_code": exit_code(results), "checks": checks}, indent=2) + "\n"
