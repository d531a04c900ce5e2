"""Statements of IAM policy documents, with their principals and conditions as text."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

# Other operators are shown by their name.
_OPERATORS = {
    "StringEquals": "is",
    "StringNotEquals": "is not",
    "StringLike": "is like",
    "StringNotLike": "is not like",
    "ArnEquals": "is",
    "ArnLike": "is like",
    "ArnNotEquals": "is not",
    "ArnNotLike": "is not like",
    "NumericLessThan": "is less than",
    "NumericLessThanEquals": "is at most",
    "NumericGreaterThan": "is more than",
    "Bool": "is",
    "IpAddress": "is in",
    "NotIpAddress": "is not in",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement; ``principals`` is empty in an identity-based policy."""

    allow: bool
    principals: tuple[str, ...]
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[str, ...]


def statements(document: Any) -> list[Statement]:
    """Return the statements of a policy document, as JSON or parsed; an empty list for a value that is not a policy."""
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            return []
    found: Any = cast("dict[str, Any]", document).get("Statement", []) if isinstance(document, dict) else []
    return [
        _statement(cast("Mapping[str, Any]", statement)) for statement in _list(found) if isinstance(statement, dict)
    ]


def _statement(statement: Mapping[str, Any]) -> Statement:
    return Statement(
        allow=statement.get("Effect") == "Allow",
        principals=tuple(_principals(statement.get("Principal"))),
        actions=tuple(map(str, _list(statement.get("Action", [])))),
        resources=tuple(map(str, _list(statement.get("Resource", [])))),
        conditions=tuple(_conditions(statement.get("Condition") or {})),
    )


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _principals(principal: Any) -> Iterator[str]:
    if principal == "*":
        yield "everyone"
    elif isinstance(principal, dict):
        for kind, names in cast("dict[str, Any]", principal).items():
            for name in _list(names):
                yield "everyone" if name == "*" else str(name) if kind in ("Service", "AWS") else f"{kind} {name}"


def _conditions(conditions: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for operator, keys in conditions.items():
        quantifier, _, rest = operator.rpartition(":")
        name, if_exists, _ = rest.partition("IfExists")
        for key, value in keys.items():
            values = " or ".join(map(_text, _list(value)))
            if name == "Null":
                yield f"{key} is {'absent' if values == 'true' else 'present'}"
                continue
            prefix = {"ForAnyValue": "any of ", "ForAllValues": "all of "}.get(quantifier, "")
            yield f"{prefix}{key} {_OPERATORS.get(name, name)} {values}{', if present' if if_exists else ''}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
