"""The architecture as a Mermaid flowchart: a subgraph for each child component, and edges between its resources.

Only the types in a cloud's ``nodes`` appear, and only where an edge starts or ends.
"""

import json
import re
from collections.abc import Iterator, Mapping

from .cloud import Node
from .clouds import CLOUDS
from .graph import Graph, Resource

_NODES: Mapping[str, Node] = {type_token: node for cloud in CLOUDS for type_token, node in cloud.nodes.items()}


def mermaid(graph: Graph) -> str:
    """Return the flowchart."""
    ids = {resource.urn: _node_id(graph, resource) for resource in graph.resources if resource.type in _NODES}
    outside: dict[str, str] = {}
    labels: dict[tuple[str, str], list[str]] = {}
    for start, end, label in _edges(graph):
        ends = [
            outside.setdefault(end_node, f"outside{len(outside)}")
            if isinstance(end_node, str)
            else ids.get(end_node.urn)
            for end_node in (start, end)
        ]
        if ends[0] and ends[1]:
            texts = labels.setdefault((ends[0], ends[1]), [])
            if label and label not in texts:
                texts.append(label)
    connected = {end for ends in labels for end in ends}
    ids = {urn: node for urn, node in ids.items() if node in connected}
    components = [child for child in graph.children(graph.stack_urn) if not child.custom]
    lines = [
        *(f"  {node}([{_quote(text)}])" for text, node in outside.items()),
        *(line for component in components for line in _component(graph, component, ids)),
        *(_edge(start, end, texts) for (start, end), texts in labels.items()),
    ]
    return "\n".join(["flowchart LR", *lines, ""])


def _edges(graph: Graph) -> Iterator[tuple[Resource | str, Resource | str, str]]:
    """Edges that have two different ends; the same edge may come more than once."""
    for cloud in CLOUDS:
        for start, end, label in cloud.edges(graph):
            if start and end and start is not end:
                yield start, end, label


def _edge(start: str, end: str, texts: list[str]) -> str:
    label = f"|{_quote(', '.join(texts))}|" if texts else ""
    return f"  {start} -->{label} {end}"


def _child_component(graph: Graph, resource: Resource) -> Resource:
    """The child of a top-level component that contains the resource."""
    path = [resource, *graph.ancestors(resource)]
    return path[-2] if len(path) > 1 else path[-1]


def _node_id(graph: Graph, resource: Resource) -> str:
    owner = _child_component(graph, resource) if _NODES[resource.type].grouped else resource
    return _id(f"{owner.name}-{_class(resource)}")


def _component(graph: Graph, component: Resource, ids: Mapping[str, str]) -> Iterator[str]:
    yield f"  subgraph {_id(f'{component.name}-{_class(component)}')}[{_quote(_class(component))}]"
    for child in graph.children(component.urn):
        groups: dict[str, list[Resource]] = {}
        for resource in graph.resources:
            if resource.urn in ids and _child_component(graph, resource) is child:
                groups.setdefault(ids[resource.urn], []).append(resource)
        if groups:
            yield f"    subgraph {_id(f'{child.name}-{_class(child)}')}[{_quote(_class(child))}]"
            for node_id, group in groups.items():
                yield f"      {node_id}{_shape(_NODES[group[0].type], _quote(_label(component, group)))}"
            yield "    end"
    yield "  end"


def _shape(node: Node, text: str) -> str:
    return f"[({text})]" if node.store else f"[{text}]"


def _label(component: Resource, group: list[Resource]) -> str:
    resource, node = group[0], _NODES[group[0].type]
    if len(group) > 1:
        return f"{len(group)} {node.label}s"
    if node.named:
        return f"{node.label}: {resource.name.removeprefix(f'{component.name}-').replace('-', ' ')}"
    return node.describe(resource) if node.describe else node.label


def _class(resource: Resource) -> str:
    return resource.type.rpartition(":")[2]


def _id(text: str) -> str:
    return re.sub(r"\W", "_", text)


def _quote(text: str) -> str:
    return json.dumps(text.replace('"', "'"), ensure_ascii=False)
