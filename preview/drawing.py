"""The architecture as a mermaid flowchart: a box for each part of a component, an arrow for each that talks to another.

Only what a reader would draw is drawn.
"""

import json
import re
from collections.abc import Iterator, Mapping

from .cloud import Drawn
from .clouds import CLOUDS
from .graph import Graph, Resource

_DRAWN: Mapping[str, Drawn] = {kind: drawn for cloud in CLOUDS for kind, drawn in cloud.drawn.items()}


def mermaid(graph: Graph) -> str:
    """The flowchart's text."""
    nodes = {one.urn: _node(graph, one) for one in graph.resources if one.type in _DRAWN}
    outside: dict[str, str] = {}
    said: dict[tuple[str, str], list[str]] = {}
    for start, end, text in _arrows(graph):
        ends = [
            outside.setdefault(one, f"outside{len(outside)}") if isinstance(one, str) else nodes.get(one.urn)
            for one in (start, end)
        ]
        if ends[0] and ends[1]:
            texts = said.setdefault((ends[0], ends[1]), [])
            if text and text not in texts:
                texts.append(text)
    # What nobody talks to would only hang about.
    talking = {end for ends in said for end in ends}
    nodes = {urn: node for urn, node in nodes.items() if node in talking}
    lines = [
        *(f"  {node}([{_quoted(text)}])" for text, node in outside.items()),
        *(line for top in graph.children(graph.stack_urn) if not top.custom for line in _component(graph, top, nodes)),
        *(_line(start, end, texts) for (start, end), texts in said.items()),
    ]
    return "\n".join(["flowchart LR", *lines, ""])


def _arrows(graph: Graph) -> Iterator[tuple[Resource | str, Resource | str, str]]:
    """Each may come more than once."""
    for cloud in CLOUDS:
        for start, end, text in cloud.arrows(graph):
            if start and end and start is not end:
                yield start, end, text


def _line(start: str, end: str, texts: list[str]) -> str:
    text = f"|{_quoted(', '.join(texts))}|" if texts else ""
    return f"  {start} -->{text} {end}"


def _part(graph: Graph, one: Resource) -> Resource:
    """The part of a component that a resource belongs to."""
    above = [one, *graph.ancestors(one)]
    return above[-2] if len(above) > 1 else above[-1]


def _node(graph: Graph, one: Resource) -> str:
    owner = _part(graph, one) if _DRAWN[one.type].together else one
    return _id(f"{owner.name}-{_class(one)}")


def _component(graph: Graph, top: Resource, nodes: Mapping[str, str]) -> Iterator[str]:
    yield f"  subgraph {_id(f'{top.name}-{_class(top)}')}[{_quoted(_class(top))}]"
    for part in graph.children(top.urn):
        groups: dict[str, list[Resource]] = {}
        for one in graph.resources:
            if one.urn in nodes and _part(graph, one) is part:
                groups.setdefault(nodes[one.urn], []).append(one)
        if groups:
            yield f"    subgraph {_id(f'{part.name}-{_class(part)}')}[{_quoted(_class(part))}]"
            for node, group in groups.items():
                yield f"      {node}{_shaped(_DRAWN[group[0].type], _quoted(_text(top, group)))}"
            yield "    end"
    yield "  end"


def _shaped(drawn: Drawn, text: str) -> str:
    return f"[({text})]" if drawn.store else f"[{text}]"


def _text(top: Resource, group: list[Resource]) -> str:
    one, drawn = group[0], _DRAWN[group[0].type]
    if len(group) > 1:
        return f"{len(group)} {drawn.text}s"
    if drawn.named:
        return f"{drawn.text}: {one.name.removeprefix(f'{top.name}-').replace('-', ' ')}"
    return drawn.said(one) if drawn.said else drawn.text


def _class(one: Resource) -> str:
    return one.type.rpartition(":")[2]


def _id(text: str) -> str:
    return re.sub(r"\W", "_", text)


def _quoted(text: str) -> str:
    return json.dumps(text.replace('"', "'"), ensure_ascii=False)
