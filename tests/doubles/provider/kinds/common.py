"""What several kinds check in the same way."""

import json
from collections.abc import Collection, Mapping
from typing import Any, cast

from ..kind import Problems, Values
from ..wire import UNKNOWN


def known(inputs: Values, field: str) -> Any:
    """The field's value; None while nobody knows it."""
    value = inputs.get(field)
    return None if value is UNKNOWN else value


def group(inputs: Values, field: str) -> dict[str, Any]:
    """What a nested field holds; nothing where it is not given, or not known yet."""
    value = known(inputs, field)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def groups(inputs: Values, field: str) -> list[dict[str, Any]]:
    """The entries of a list of nested fields that are known."""
    value = known(inputs, field)
    entries = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", entry) for entry in entries if isinstance(entry, dict)]


def json_in(inputs: Values, field: str) -> Any:
    """What the text of a field says; None where it is not given, or not known yet. Raises ValueError."""
    text = known(inputs, field)
    return None if text is None else json.loads(text)


def policy_problems(inputs: Values, field: str, *, principal: bool) -> Problems:
    """The grammar of IAM's policy documents. ``principal``: a policy of a resource names who, a role's does not."""
    try:
        policy = json_in(inputs, field)
    except ValueError:
        yield field, "it is not JSON"
        return
    if policy is None:
        return
    if policy.get("Version") != "2012-10-17":
        yield field, "its Version is not 2012-10-17"
    statements = policy.get("Statement")
    for index, statement in enumerate(cast("list[Any]", statements if isinstance(statements, list) else [statements])):
        yield from _statement_problems(statement, f"{field}.Statement[{index}]", principal=principal)


def _statement_problems(statement: Any, path: str, *, principal: bool) -> Problems:
    allowed = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
    if not isinstance(statement, Mapping):
        yield path, "it is not an object"
        return
    given = cast("Mapping[str, Any]", statement)
    for name in set(given) - allowed - ({"Principal", "NotPrincipal"} if principal else set[str]()):
        yield path, f"{name} has no place here"
    if given.get("Effect") not in ("Allow", "Deny"):
        yield path, "its Effect is neither Allow nor Deny"
    if principal and not set(given) & {"Principal", "NotPrincipal"}:
        yield path, "it names no Principal"
    if not principal and not given.get("Resource") and not given.get("NotResource"):
        yield path, "it names no Resource"
    actions = given.get("Action", given.get("NotAction"))
    for action in cast("list[Any]", actions if isinstance(actions, list) else [actions]):
        if not isinstance(action, str) or (action != "*" and ":" not in action):
            yield path, f"{action!r} is no action"
    if any(one is None for one in _leaves(given)):
        yield path, "it holds a null"


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for one in cast("Mapping[str, Any]", value).values() for leaf in _leaves(one)]
    if isinstance(value, list):
        return [leaf for one in cast("list[Any]", value) for leaf in _leaves(one)]
    return [value]


def exactly_one(inputs: Values, *fields: str) -> Problems:
    given = [field for field in fields if inputs.get(field)]
    if len(given) != 1:
        yield fields[0], f"exactly one of {', '.join(fields)} is wanted, {', '.join(given) or 'none'} is given"


def among(inputs: Values, field: str, allowed: Collection[Any]) -> Problems:
    value = known(inputs, field)
    if value is not None and value not in allowed:
        yield field, f"{value!r} is given; allowed is {', '.join(map(str, allowed))}"


def between(inputs: Values, field: str, least: int, most: int) -> Problems:
    value = known(inputs, field)
    if value is not None and not least <= value <= most:
        yield field, f"{value!r} is given; allowed is {least} to {most}"


def matches(inputs: Values, field: str, pattern: str) -> Problems:
    import re

    value = known(inputs, field)
    if value is not None and not re.fullmatch(pattern, value):
        yield field, f"{value!r} is given; allowed is {pattern}"
