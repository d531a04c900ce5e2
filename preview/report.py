"""The whole preview as text: resources, exposure, grants, outputs, and what destroy would keep."""

import json
from collections.abc import Container, Iterator, Sequence
from typing import Any, cast

from .clouds import CLOUDS
from .console import Style, table
from .destroy import PROTECTED, kept
from .exposure import exposure
from .graph import Graph, Resource
from .names import kind
from .stack_files import Stack
from .traits import OFF, Kept
from .tree import tree


def report(stack: Stack, graph: Graph, style: Style) -> str:
    """Everything that a reader of a stack wants to know before it runs."""
    sections: list[tuple[str, Sequence[str]]] = [
        (f"{stack.project}, stack {stack.name} ({stack.file.name})", _config(stack, style)),
        (f"Resources: {sum(one.custom for one in graph.resources)}", tree(graph, style)),
        *exposed(graph, style),
        *((cloud.rights_title, list(cloud.rights(graph, style))) for cloud in CLOUDS),
        ("Outputs", _outputs(graph, style)),
        ("pulumi destroy", _kept(graph, style)),
    ]
    return "\n\n".join("\n".join([style.title(title), *lines]) for title, lines in sections if lines) + "\n"


def _config(stack: Stack, style: Style) -> list[str]:
    rows = [(key, value) for name, text in sorted(stack.config.items()) for key, value in _settings(name, text)]
    return table(style, ["setting", ""], rows) if rows else []


def _settings(name: str, text: str) -> Iterator[tuple[str, str]]:
    try:
        value: Any = json.loads(text)
    except ValueError:
        value = text
    if isinstance(value, dict) and value:
        for inner, one in cast("dict[str, Any]", value).items():
            yield from _settings(f"{name}.{inner}", json.dumps(one))
    else:
        yield name, value if isinstance(value, str) else text


def exposed(graph: Graph, style: Style) -> Iterator[tuple[str, list[str]]]:
    """(title, lines) of who may come in, what may go out, and what resources' own policies say."""
    found = exposure(graph)
    if found.ways_in:
        heads = ["from", "to", "port", "requests", "who is asked for what"]
        yield "Exposed to whom", table(style, heads, found.ways_in)
    if found.ways_out:
        yield "What may go out", table(style, ["from", "to", "port"], found.ways_out)
    if found.grants:
        yield "What resources' own policies say", table(style, ["who", "may", "on", "if"], found.grants)
    if found.holders:
        yield "Who has which role in MLflow", table(style, ["role", "who", "of"], found.holders)


def _outputs(graph: Graph, style: Style) -> list[str]:
    rows = [(name, line) for name, value in graph.outputs.items() for name, line in _lines(name, value)]
    return table(style, ["output", "value"], rows) if rows else []


def _lines(name: str, value: Any) -> Iterator[tuple[str, str]]:
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in values):
        values = [json.dumps(value)]
    for number, line in enumerate("\n".join(values).splitlines() or [""]):
        yield name if number == 0 else "", line


def _kept(graph: Graph, style: Style) -> list[str]:
    rows: dict[tuple[bool, str], list[Kept]] = {}
    found = kept(graph)
    protected = {one.resource.urn for one in found if one.what == PROTECTED}
    for one in found:
        if one.what != PROTECTED or not _within(graph, one.resource, protected):
            name = one.together or f"{one.resource.name} ({kind(one.resource)})"
            rows.setdefault((one.stops, name), []).append(one)
    lines = [
        (
            style("stops at", "red") if stops else style("keeps", "yellow"),
            f"{len(those)} {name}" if those[0].together else name,
            "; ".join(dict.fromkeys(map(_what, those))),
            "; or ".join(_lifts(those)),
        )
        for (stops, name), those in rows.items()
    ]
    return table(style, ["it", "", "which", "to lift that"], lines) if lines else ["  It takes everything away."]


def _what(one: Kept) -> str:
    return f"{one.what}, with all its parts" if one.what == PROTECTED and not one.resource.custom else one.what


def _lifts(those: Sequence[Kept]) -> list[str]:
    found = list(dict.fromkeys(one.lift for one in those))
    # Nothing else helps what is protected.
    return [OFF] if OFF in found and all(OFF in one for one in found) else found


def _within(graph: Graph, one: Resource, protected: Container[str]) -> bool:
    """It goes with something else that is protected."""
    return one.deleted_with in protected or any(above.urn in protected for above in graph.ancestors(one))
