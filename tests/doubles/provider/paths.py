"""Paths into nested values: a.b[*].c, where [*] is every entry of a list."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast


def values_at(values: Any, path: str) -> Iterator[Any]:
    """Yield the values at a path; none for a missing field."""
    head, _, rest = path.partition(".")
    name, every = head.removesuffix("[*]"), head.endswith("[*]")
    found = cast("Mapping[str, Any]", values).get(name) if isinstance(values, Mapping) else None
    entries = cast("list[Any]", found) if every and isinstance(found, list) else [] if every else [found]
    for entry in entries:
        if entry is None:
            continue
        if rest:
            yield from values_at(entry, rest)
        else:
            yield entry


def texts_in(value: Any) -> Iterator[str]:
    """Yield every string in a nested value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for child in cast("Mapping[str, Any]", value).values():
            yield from texts_in(child)
    elif isinstance(value, list):
        for child in cast("list[Any]", value):
            yield from texts_in(child)


def without(values: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Return a copy without these fields (a.b for a nested one)."""
    left = dict(values)
    for path in paths:
        head, _, rest = path.partition(".")
        if not rest:
            left.pop(head, None)
        elif isinstance(left.get(head), Mapping):
            left[head] = without(cast("Mapping[str, Any]", left[head]), [rest])
    return left
