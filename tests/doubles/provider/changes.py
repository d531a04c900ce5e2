"""Diffs of inputs, and whether a change is an update or a replacement, from the replace tables."""

import functools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from .documents import Document
from .kind import Values
from .paths import values_at
from .wire import UNKNOWN

TABLES = tuple(Path(__file__).with_name(name) for name in ("replace_table.toml", "replace_table_gcp.toml"))


@dataclass(frozen=True, slots=True)
class Entry:
    """Which changes replace a resource. ``every``: all fields except ``exceptions``; otherwise those in ``fields``.

    ``alternatives``: fields that replace when another of them is set. ``unless``: a field replaces unless the other is
    true. ``removed``: fields that replace when they are removed. ``retained``: fields that retain their value when the
    program no longer sets them.
    """

    fields: frozenset[str]
    every: bool
    exceptions: frozenset[str]
    alternatives: frozenset[str]
    unless: Mapping[str, str]
    removed: frozenset[str]
    retained: frozenset[str]
    by_region: bool
    source: str

    def replaces(self, path: str, olds: Values, news: Values) -> bool:
        """Whether a change at this path replaces the resource."""
        plain = _plain(path)
        top = plain.split(".")[0]
        if top == "region" and self.by_region:
            return True
        if self.every:
            return top not in self.exceptions
        if top in self.alternatives:
            return _present(olds, self.alternatives) != _present(news, self.alternatives)
        if top in self.unless:
            return not news.get(self.unless[top])
        if plain in self.removed and next(values_at(news, plain), None) is None:
            return True
        # A change of an enclosing or an enclosed path also affects the field.
        return any(f"{plain}.".startswith(f"{field}.") or f"{field}.".startswith(f"{plain}.") for field in self.fields)


def _present(values: Values, fields: frozenset[str]) -> set[str]:
    return {name for name in fields if values.get(name) is not None}


@functools.cache
def table() -> dict[str, Entry]:
    """Return the entries of both replace tables by type token."""
    read = {token: entry for file in TABLES for token, entry in tomllib.loads(file.read_text(encoding="utf-8")).items()}
    return {
        token: Entry(
            fields=frozenset(entry.get("replace", [])),
            every="all_but" in entry,
            exceptions=frozenset(entry.get("all_but", [])),
            alternatives=frozenset(entry.get("one_of", [])),
            unless=entry.get("unless", {}),
            removed=frozenset(entry.get("removed", [])),
            retained=frozenset(entry.get("retained", [])),
            by_region=token.startswith("aws:"),
            source=entry["source"],
        )
        for token, entry in read.items()
        if ":" in token
    }


def changed_paths(
    olds: Values,
    news: Values,
    retained: frozenset[str] = frozenset(),
    documents: Mapping[str, Document] | None = None,
) -> Iterator[str]:
    """Yield paths whose values differ. Fields in ``retained`` may be missing; an unknown value counts as a change.

    ``documents``: the JSON documents among the fields.
    """
    for name in sorted({*olds, *news} - {"__defaults"}):
        old, new, document = olds.get(name), news.get(name), (documents or {}).get(name)
        if document is None or not isinstance(old, str) or not isinstance(new, str):
            yield from _differences(old, new, name, retained)
        elif not document.is_same(document.returned_text(old), new):
            yield name


def _plain(path: str) -> str:
    """A path without list indexes."""
    return ".".join(part.split("[")[0] for part in path.split("."))


def _differences(old: Any, new: Any, path: str, retained: frozenset[str]) -> Iterator[str]:
    if new is None and _plain(path) in retained:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        before, after = cast("Values", old), cast("Values", new)
        for name in sorted({*before, *after}):
            yield from _differences(before.get(name), after.get(name), f"{path}.{name}", retained)
    elif isinstance(old, list) and isinstance(new, list) and len(cast("list[Any]", old)) == len(cast("list[Any]", new)):
        for index, pair in enumerate(zip(cast("list[Any]", old), cast("list[Any]", new), strict=True)):
            yield from _differences(*pair, f"{path}[{index}]", retained)
    elif new is UNKNOWN or not _same(old, new):
        yield path


def _same(old: Any, new: Any) -> bool:
    # The provider treats an empty value and a missing one as equal.
    return old == new or (not old and not new and not isinstance(old, bool | int) and not isinstance(new, bool | int))
