"""Whether IAM allows a request: an evaluator of Allow statements, for the operators that this project uses.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

Statement = Mapping[str, Any]
Context = Mapping[str, str | tuple[str, ...]]


def allowed(statements: Sequence[Statement], action: str, resource: str, context: Context) -> bool:
    """``resource`` "*" is a request without a resource: only a statement with Resource "*" allows it."""
    return any(
        _matches(_as_list(statement["Action"]), action, ignoring_case=True)
        and _matches(_as_list(statement["Resource"]), resource)
        and _condition_met(statement.get("Condition", {}), context)
        for statement in statements
    )


def _as_list(value: Any) -> list[str]:
    return cast("list[str]", value) if isinstance(value, list) else [str(value)]


def _matches(patterns: Sequence[str], value: str, *, ignoring_case: bool = False) -> bool:
    return any(_regex(pattern, ignoring_case).fullmatch(value) for pattern in patterns)


@functools.cache
def _regex(text: str, ignoring_case: bool) -> re.Pattern[str]:
    regex = re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(regex, re.IGNORECASE if ignoring_case else 0)


def _condition_met(condition: Mapping[str, Mapping[str, Any]], context: Context) -> bool:
    return all(
        _operator_met(operator, _as_list(expected), context.get(key))
        for operator, keys in condition.items()
        for key, expected in keys.items()
    )


def _operator_met(operator: str, expected: Sequence[str], actual: str | tuple[str, ...] | None) -> bool:
    if operator == "Null":
        return (actual is None) == (expected == ["true"])
    if operator == "ForAllValues:StringEquals":
        return all(value in expected for value in ((actual,) if isinstance(actual, str) else actual or ()))
    base, if_exists, _ = operator.partition("IfExists")
    if actual is None:
        return bool(if_exists)
    if base == "StringEquals":
        return actual in expected
    if base in ("StringLike", "ArnLike"):
        return _matches(expected, str(actual))
    raise NotImplementedError(operator)
