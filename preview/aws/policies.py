"""What a policy document says, in words."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

# Of IAM's condition operators, those that a reader needs no manual for afterwards.
_OPERATORS = {
    "StringEquals": "is",
    "StringEqualsIgnoreCase": "is",
    "StringNotEquals": "is not",
    "StringLike": "is like",
    "StringNotLike": "is not like",
    "ArnEquals": "is",
    "ArnLike": "is like",
    "ArnNotEquals": "is not",
    "ArnNotLike": "is not like",
    "NumericEquals": "is",
    "NumericLessThan": "is less than",
    "NumericLessThanEquals": "is at most",
    "NumericGreaterThan": "is more than",
    "Bool": "is",
    "IpAddress": "is in",
    "NotIpAddress": "is not in",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement; ``who`` is empty in a policy of a role's own."""

    allow: bool
    who: tuple[str, ...]
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[str, ...]


def statements(document: Any) -> list[Statement]:
    """The statements of a policy, which is JSON or what it holds. A text that is no policy has none."""
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            return []
    found: Any = cast("dict[str, Any]", document).get("Statement", []) if isinstance(document, dict) else []
    return [_statement(cast("Mapping[str, Any]", one)) for one in _list(found) if isinstance(one, dict)]


def _statement(one: Mapping[str, Any]) -> Statement:
    return Statement(
        allow=one.get("Effect") == "Allow",
        who=tuple(_who(one)),
        actions=tuple(map(str, _list(one.get("Action", [])))),
        resources=tuple(map(str, _list(one.get("Resource", [])))),
        conditions=tuple(_conditions(one.get("Condition") or {})),
    )


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _who(one: Mapping[str, Any]) -> Iterator[str]:
    principal = one.get("Principal", {})
    if principal == "*":
        yield "everybody"
    elif isinstance(principal, dict):
        for kind, names in cast("dict[str, Any]", principal).items():
            for name in _list(names):
                yield "everybody" if name == "*" else str(name) if kind in ("Service", "AWS") else f"{kind} {name}"


def _conditions(given: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for operator, keys in given.items():
        each, _, rest = operator.rpartition(":")
        name, if_there, _ = rest.partition("IfExists")
        for key, value in keys.items():
            values = " or ".join(map(_text, _list(value)))
            if name == "Null":
                yield f"{key} is {'not there' if values == 'true' else 'there'}"
                continue
            which = {"ForAnyValue": "any of ", "ForAllValues": "all of "}.get(each, "")
            yield f"{which}{key} {_OPERATORS.get(name, name)} {values}{', if it is there' if if_there else ''}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
