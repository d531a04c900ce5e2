"""The grammar of IAM's policy documents."""

from collections.abc import Mapping
from typing import Any, cast

from ...kind import Problems, Values
from ..common import json_in


def policy_problems(inputs: Values, field: str, *, principal: bool) -> Problems:
    """Check the grammar of a policy document. ``principal``: a resource-based policy has one, a role's does not."""
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
