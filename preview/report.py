"""The whole preview as text: resources, exposure, grants, outputs, and what destroy would keep."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, cast

from .console import Style, plain, table
from .destroy import PROTECTED, Kept, kept
from .exposure import exposure
from .grants import May, Role, roles
from .graph import Graph
from .names import Names, kind
from .stack_files import Stack
from .tree import tree

_WIDTH = 120


def report(stack: Stack, graph: Graph, style: Style) -> str:
    """Everything that a reader of a stack wants to know before it runs."""
    sections: list[tuple[str, Sequence[str]]] = [
        (f"{stack.project}, stack {stack.name} ({stack.file.name})", _config(stack, style)),
        (f"Resources: {sum(one.custom for one in graph.resources)}", tree(graph, style)),
        *exposed(graph, style),
        ("IAM roles", list(_roles(graph, style))),
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


def _roles(graph: Graph, style: Style) -> Iterator[str]:
    names = Names(graph)
    for role in roles(graph):
        yield from _role(role, names, style)


def _role(role: Role, names: Names, style: Style) -> Iterator[str]:
    used = ", ".join(sorted({f"{one.name} ({kind(one)})" for one in role.used_by}))
    yield f"  {style(role.role.name, 'bold')}{f', for {used}' if used else ''}"
    for one in role.assumed_by:
        yield f"    {style('may be assumed by', 'dim')} {one}"
    if role.boundary:
        yield f"    {style('within', 'dim')} {names.called(role.boundary)}"
    for may in role.may:
        yield from _may(may, names, style)


def _may(may: May, names: Names, style: Style) -> Iterator[str]:
    if may.managed:
        yield f"    {style('may', 'dim')} all of AWS's policy {style(may.managed, 'yellow')}"
        return
    yield from _wrapped(f"    {style('may' if may.allow else 'may never', 'dim')} ", _actions(may.actions))
    for resource in may.resources:
        found = names.within(resource)
        which = f" {style(f'({kind(found[0])})', 'dim')}" if found else ""
        shown = style("everything (*)", "yellow") if resource == "*" else names.called(resource)
        yield f"      {style('on', 'dim')} {shown}{which}"
    for condition in may.conditions:
        yield f"      {style('if', 'dim')} {condition}"


def _actions(actions: Sequence[str]) -> str:
    """Each service's name once."""
    by_service: dict[str, list[str]] = {}
    for action in actions:
        service, _, name = action.rpartition(":")
        by_service.setdefault(service, []).append(name)
    return "; ".join(
        f"{service}:{', '.join(names)}" if service else ", ".join(names) for service, names in by_service.items()
    )


def _wrapped(before: str, text: str) -> Iterator[str]:
    width = len(plain(before))
    for number, line in enumerate(textwrap.wrap(text, _WIDTH - width, break_long_words=False, break_on_hyphens=False)):
        yield f"{before if number == 0 else ' ' * width}{line}"


def _outputs(graph: Graph, style: Style) -> list[str]:
    rows = [(name, line) for name, value in graph.outputs.items() for name, line in _lines(name, value)]
    return table(style, ["output", "value"], rows) if rows else []


def _lines(name: str, value: Any) -> Iterator[tuple[str, str]]:
    text = value if isinstance(value, str) else json.dumps(value)
    for number, line in enumerate(text.splitlines() or [""]):
        yield name if number == 0 else "", line


def _kept(graph: Graph, style: Style) -> list[str]:
    rows: dict[str, tuple[bool, list[str], list[str]]] = {}
    found = kept(graph)
    inside = {one.resource.urn for one in found if one.what == PROTECTED and _within(graph, one, found)}
    for one in found:
        if one.what == PROTECTED and one.resource.urn in inside:
            continue
        row = rows.setdefault(f"{one.resource.name} ({kind(one.resource)})", (one.stops, [], []))
        row[1].append(one.what if one.what != PROTECTED or one.resource.custom else f"{one.what}, with all its parts")
        row[2].append(one.lift)
    lines = [
        (
            style("stops at", "red") if stops else style("keeps", "yellow"),
            name,
            "; ".join(dict.fromkeys(what)),
            "; or ".join(dict.fromkeys(lift)),
        )
        for name, (stops, what, lift) in rows.items()
    ]
    return table(style, ["it", "", "which", "to lift that"], lines) if lines else ["  It takes everything away."]


def _within(graph: Graph, one: Kept, found: Sequence[Kept]) -> bool:
    protected = {other.resource.urn for other in found if other.what == PROTECTED}
    return any(above.urn in protected for above in graph.ancestors(one.resource))
