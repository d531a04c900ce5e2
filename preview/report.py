"""The preview as text: resources, exposure, permissions, outputs, and the resources that `pulumi destroy` retains."""

import json
from collections.abc import Container, Iterator, Sequence
from typing import Any, cast

from .clouds import CLOUDS
from .console import Style, table
from .destroy import PROTECTED, retentions
from .exposure import exposure
from .graph import Graph, Resource
from .names import class_name
from .retention_rules import DISABLE_PROTECTION, Retention
from .stack_files import Stack
from .tree import tree


def report(stack: Stack, graph: Graph, style: Style) -> str:
    """Return the report, without sections that have no lines."""
    sections: list[tuple[str, Sequence[str]]] = [
        (f"{stack.project}, stack {stack.name} ({stack.file.name})", _config(stack, style)),
        (f"Resources: {sum(resource.custom for resource in graph.resources)}", tree(graph, style)),
        *exposure_tables(graph, style),
        *((cloud.permissions_title, list(cloud.permissions(graph, style))) for cloud in CLOUDS),
        ("Outputs", _outputs(graph, style)),
        ("pulumi destroy", _destroy(graph, style)),
    ]
    return "\n\n".join("\n".join([style(title, "bold"), *lines]) for title, lines in sections if lines) + "\n"


def _config(stack: Stack, style: Style) -> list[str]:
    rows = [(key, value) for name, text in sorted(stack.config.items()) for key, value in _settings(name, text)]
    return table(style, ["setting", "value"], rows) if rows else []


def _settings(name: str, text: str) -> Iterator[tuple[str, str]]:
    try:
        value: Any = json.loads(text)
    except ValueError:
        value = text
    if isinstance(value, dict) and value:
        for inner, inner_value in cast("dict[str, Any]", value).items():
            yield from _settings(f"{name}.{inner}", json.dumps(inner_value))
    else:
        yield name, value if isinstance(value, str) else text


def exposure_tables(graph: Graph, style: Style) -> Iterator[tuple[str, list[str]]]:
    """Yield (title, lines) of each table that has rows: access, resource policies and MLflow roles."""
    found = exposure(graph)
    if found.ingress:
        headings = ["from", "to", "port", "requests", "authentication"]
        yield "Inbound access", table(style, headings, found.ingress)
    if found.egress:
        yield "Outbound access", table(style, ["from", "to", "port"], found.egress)
    if found.policy_grants:
        headings = ["effect", "principal", "action", "resource", "condition"]
        yield "Resource policies", table(style, headings, found.policy_grants)
    if found.role_bindings:
        yield "MLflow roles", table(style, ["role", "members", "service"], found.role_bindings)


def _outputs(graph: Graph, style: Style) -> list[str]:
    rows = [(name, line) for name, value in graph.outputs.items() for name, line in _lines(name, value)]
    return table(style, ["output", "value"], rows) if rows else []


def _lines(name: str, value: Any) -> Iterator[tuple[str, str]]:
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    if not all(isinstance(element, str) for element in values):
        values = [json.dumps(value)]
    for number, line in enumerate("\n".join(values).splitlines() or [""]):
        yield name if number == 0 else "", line


def _destroy(graph: Graph, style: Style) -> list[str]:
    rows: dict[tuple[bool, str], list[Retention]] = {}
    found = retentions(graph)
    protected = {retention.resource.urn for retention in found if retention.reason == PROTECTED}
    for retention in found:
        if retention.reason != PROTECTED or not _within(graph, retention.resource, protected):
            name = retention.group or f"{retention.resource.name} ({class_name(retention.resource)})"
            rows.setdefault((retention.blocks, name), []).append(retention)
    lines = [
        (
            style("fails at", "red") if blocks else style("leaves", "yellow"),
            f"{len(group)} {name}" if group[0].group else name,
            "; ".join(dict.fromkeys(map(_reason, group))),
            "; or ".join(_remedies(group)),
        )
        for (blocks, name), group in rows.items()
    ]
    headings = ["effect", "resource", "reason", "remedy"]
    return table(style, headings, lines) if lines else ["  Deletes every resource."]


def _reason(retention: Retention) -> str:
    with_children = retention.reason == PROTECTED and not retention.resource.custom
    return f"{retention.reason}, with all its children" if with_children else retention.reason


def _remedies(group: Sequence[Retention]) -> list[str]:
    found = list(dict.fromkeys(retention.remedy for retention in group))
    # The other remedies have no effect on a protected resource.
    protected = DISABLE_PROTECTION in found and all(DISABLE_PROTECTION in remedy for remedy in found)
    return [DISABLE_PROTECTION] if protected else found


def _within(graph: Graph, resource: Resource, protected: Container[str]) -> bool:
    """Whether the resource is deleted with a protected resource."""
    return resource.deleted_with in protected or any(
        ancestor.urn in protected for ancestor in graph.ancestors(resource)
    )
