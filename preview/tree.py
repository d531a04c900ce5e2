"""Every resource as a tree, with the inputs that matter."""

import json
from collections.abc import Iterator
from typing import Any, cast

from .console import Style, plain
from .graph import Graph, Resource, dig
from .matters import MATTERS
from .names import Names, kind

_LONGEST = 60
# Longer types stick out.
_WIDEST = 32
# Of a type that matters.py does not know.
_MOST = 4


def tree(graph: Graph, style: Style) -> list[str]:
    """A line for each resource: name, type, options, inputs."""
    names = Names(graph)
    lines = [(f"{style(branch, 'dim')}{one.name}", one) for branch, one in _branches(graph, graph.stack_urn, "")]
    names_wide = max((len(plain(name)) for name, _ in lines), default=0)
    types_wide = min(_WIDEST, max((len(kind(one)) for _, one in lines), default=0))
    return [
        "  ".join(
            [
                f"  {name}{' ' * (names_wide - len(plain(name)))}",
                f"{style(kind(one), 'cyan')}{' ' * (types_wide - len(kind(one)))}",
                *(style(option, "yellow") for option in _options(one)),
                *_inputs(one, names, style),
            ]
        ).rstrip()
        for name, one in lines
    ]


def _branches(graph: Graph, urn: str, before: str) -> Iterator[tuple[str, Resource]]:
    children = graph.children(urn)
    for one in children:
        last = one is children[-1]
        top = urn == graph.stack_urn
        yield "" if top else before + ("└─ " if last else "├─ "), one
        yield from _branches(graph, one.urn, "" if top else before + ("   " if last else "│  "))


def _options(one: Resource) -> Iterator[str]:
    if one.protect:
        yield "[protected]"
    if one.retain_on_delete:
        yield "[retained]"
    if one.import_id:
        yield "[imported]"
    if one.read:
        yield "[read]"


def _inputs(one: Resource, names: Names, style: Style) -> Iterator[str]:
    for path in MATTERS.get(one.type, tuple(_scalars(one))):
        value = dig(one.inputs, *path.split("."))
        if value is not None and value != "":
            yield f"{style(_short(path), 'dim')}={_shown(value, names)}"


def _short(path: str) -> str:
    """Its last name, where that says what it is."""
    *_, above, last = ["", *path.split(".")]
    return f"{above}.{last}" if above and last in ("enabled", "name") else last


def _scalars(one: Resource) -> list[str]:
    short = (
        name for name, value in one.inputs.items() if isinstance(value, bool | int | str) and name != "description"
    )
    return sorted(short)[:_MOST]


def _shown(value: Any, names: Names) -> str:
    if isinstance(value, list):
        text = ",".join(_shown(one, names) for one in cast("list[Any]", value))
    elif isinstance(value, str):
        text = names.called(value)
    else:
        text = json.dumps(value)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
