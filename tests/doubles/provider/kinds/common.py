"""What several kinds check in the same way."""

import json
import re
from collections.abc import Collection
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
    value = known(inputs, field)
    if value is not None and not re.fullmatch(pattern, value):
        yield field, f"{value!r} is given; allowed is {pattern}"
