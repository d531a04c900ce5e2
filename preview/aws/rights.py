"""IAM's roles as lines."""

import textwrap
from collections.abc import Iterator, Sequence

from ..console import Style, plain
from ..graph import Graph
from ..names import Names, kind
from .grants import May, Role, roles

_WIDTH = 120


def lines(graph: Graph, style: Style) -> Iterator[str]:
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
