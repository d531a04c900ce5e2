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
        yield field, "not valid JSON"
        return
    if policy is None:
        return
    if policy.get("Version") != "2012-10-17":
        yield field, "expected the Version 2012-10-17"
    statements = policy.get("Statement")
    for index, statement in enumerate(cast("list[Any]", statements if isinstance(statements, list) else [statements])):
        yield from _statement_problems(statement, f"{field}.Statement[{index}]", principal=principal)


def _statement_problems(statement: Any, path: str, *, principal: bool) -> Problems:
    allowed = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
    if not isinstance(statement, Mapping):
        yield path, "expected an object"
        return
    elements = cast("Mapping[str, Any]", statement)
    for name in set(elements) - allowed - ({"Principal", "NotPrincipal"} if principal else set[str]()):
        yield path, f"unknown element {name}"
    if elements.get("Effect") not in ("Allow", "Deny"):
        yield path, "expected the Effect Allow or Deny"
    if principal and not set(elements) & {"Principal", "NotPrincipal"}:
        yield path, "a resource-based policy requires a Principal"
    if not principal and not elements.get("Resource") and not elements.get("NotResource"):
        yield path, "an identity-based policy requires a Resource"
    actions = elements.get("Action", elements.get("NotAction"))
    for action in cast("list[Any]", actions if isinstance(actions, list) else [actions]):
        if not isinstance(action, str) or (action != "*" and ":" not in action):
            yield path, f"got {action!r}, expected an action such as s3:GetObject"
    if any(leaf is None for leaf in _leaves(elements)):
        yield path, "contains a null"


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for child in cast("Mapping[str, Any]", value).values() for leaf in _leaves(child)]
    if isinstance(value, list):
        return [leaf for child in cast("list[Any]", value) for leaf in _leaves(child)]
    return [value]
