"""The permissions of IAM roles as lines of text."""

import textwrap
from collections.abc import Iterator, Sequence

from ..console import Style, plain
from ..graph import Graph
from ..names import ResourceNames, class_name
from .iam_roles import Permission, Role, roles

_WIDTH = 120


def lines(graph: Graph, style: Style) -> Iterator[str]:
    """Yield the lines of every role."""
    names = ResourceNames(graph)
    for role in roles(graph):
        yield from _role(role, names, style)


def _role(role: Role, names: ResourceNames, style: Style) -> Iterator[str]:
    used_by = ", ".join(sorted({f"{user.name} ({class_name(user)})" for user in role.used_by}))
    yield f"  {style(role.role.name, 'bold')}{f', used by {used_by}' if used_by else ''}"
    for principal in role.assumed_by:
        yield f"    {style('assumed by', 'dim')} {principal}"
    if role.boundary:
        yield f"    {style('permissions boundary', 'dim')} {names.display(role.boundary)}"
    for permission in role.permissions:
        yield from _permission(permission, names, style)


def _permission(permission: Permission, names: ResourceNames, style: Style) -> Iterator[str]:
    if permission.managed:
        yield f"    {style('allow', 'dim')} AWS managed policy {style(permission.managed, 'yellow')}"
        return
    effect = "allow" if permission.allow else "deny"
    yield from _wrap(f"    {style(effect, 'dim')} ", _actions(permission.actions))
    for resource in permission.resources:
        found = names.split(resource)
        type_label = f" {style(f'({class_name(found[0])})', 'dim')}" if found else ""
        target = style("all resources (*)", "yellow") if resource == "*" else names.display(resource)
        yield f"      {style('on', 'dim')} {target}{type_label}"
    for condition in permission.conditions:
        yield f"      {style('if', 'dim')} {condition}"


def _actions(actions: Sequence[str]) -> str:
    """The actions of each service after its prefix."""
    by_service: dict[str, list[str]] = {}
    for action in actions:
        service, _, name = action.rpartition(":")
        by_service.setdefault(service, []).append(name)
    return "; ".join(
        f"{service}:{', '.join(names)}" if service else ", ".join(names) for service, names in by_service.items()
    )


def _wrap(before: str, text: str) -> Iterator[str]:
    width = len(plain(before))
    for number, line in enumerate(textwrap.wrap(text, _WIDTH - width, break_long_words=False, break_on_hyphens=False)):
        yield f"{before if number == 0 else ' ' * width}{line}"
