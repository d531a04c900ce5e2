"""Checks that several types share."""

import json
import re
from collections.abc import Collection
from typing import Any, cast

from ..kind import Problems, Values
from ..wire import UNKNOWN


def known(inputs: Values, field: str) -> Any:
    """Return the field's value; None while it is unknown."""
    value = inputs.get(field)
    return None if value is UNKNOWN else value


def group(inputs: Values, field: str) -> dict[str, Any]:
    """Return a nested object; an empty one if it is missing or unknown."""
    value = known(inputs, field)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def groups(inputs: Values, field: str) -> list[dict[str, Any]]:
    """Return the known entries of a list of objects."""
    value = known(inputs, field)
    entries = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", entry) for entry in entries if isinstance(entry, dict)]


def json_in(inputs: Values, field: str) -> Any:
    """Return the parsed JSON of a field; None if it is missing or unknown. Raises ValueError."""
    text = known(inputs, field)
    return None if text is None else json.loads(text)


def exactly_one(inputs: Values, *fields: str) -> Problems:
    """Require exactly one of these fields."""
    present = [field for field in fields if inputs.get(field)]
    if len(present) != 1:
        yield fields[0], f"got {', '.join(present) or 'none'}, expected exactly one of {', '.join(fields)}"


def among(inputs: Values, field: str, allowed: Collection[Any]) -> Problems:
    """Require one of these values."""
    value = known(inputs, field)
    if value is not None and value not in allowed:
        yield field, f"got {value!r}, expected one of {', '.join(map(str, allowed))}"


def between(inputs: Values, field: str, least: int, most: int) -> Problems:
    """Require a number in this range."""
    value = known(inputs, field)
    if value is not None and not least <= value <= most:
        yield field, f"got {value!r}, expected {least} to {most}"


def matches(inputs: Values, field: str, pattern: str) -> Problems:
    """Require a string that matches the whole pattern."""
    value = known(inputs, field)
    if value is not None and not re.fullmatch(pattern, value):
        yield field, f"got {value!r}, expected {pattern}"
