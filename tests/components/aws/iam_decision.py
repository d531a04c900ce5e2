"""Whether IAM would let a call pass: an allow of identity policies, as far as this project's documents need it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

Statement = Mapping[str, Any]
Context = Mapping[str, str | tuple[str, ...]]


def allowed(statements: Sequence[Statement], action: str, resource: str, context: Context) -> bool:
    """``resource`` "*" is a call that names none: only a statement about everything covers it."""
    return any(
        _matches(_listed(one["Action"]), action, ignoring_case=True)
        and _matches(_listed(one["Resource"]), resource)
        and _holds(one.get("Condition", {}), context)
        for one in statements
    )


def _listed(value: Any) -> list[str]:
    return cast("list[str]", value) if isinstance(value, list) else [str(value)]


def _matches(patterns: Sequence[str], value: str, *, ignoring_case: bool = False) -> bool:
    return any(_pattern(one, ignoring_case).fullmatch(value) for one in patterns)


@functools.cache
def _pattern(text: str, ignoring_case: bool) -> re.Pattern[str]:
    plain = re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(plain, re.IGNORECASE if ignoring_case else 0)


def _holds(condition: Mapping[str, Mapping[str, Any]], context: Context) -> bool:
    return all(
        _one(operator, _listed(wanted), context.get(key))
        for operator, keys in condition.items()
        for key, wanted in keys.items()
    )


def _one(operator: str, wanted: Sequence[str], given: str | tuple[str, ...] | None) -> bool:
    if operator == "Null":
        return (given is None) == (wanted == ["true"])
    if operator == "ForAllValues:StringEquals":
        return all(one in wanted for one in ((given,) if isinstance(given, str) else given or ()))
    plain, if_exists, _ = operator.partition("IfExists")
    if given is None:
        return bool(if_exists)
    if plain == "StringEquals":
        return given in wanted
    if plain in ("StringLike", "ArnLike"):
        return _matches(wanted, str(given))
    raise NotImplementedError(operator)
