"""The architecture as a mermaid flowchart: a box for each part of a component, an arrow for each that talks to another.

Only what a reader would draw is drawn.
"""

import json
import re
from collections.abc import Iterator, Mapping

from .arrows import ALARM, NAT, arrows
from .exposure import BALANCER, ENDPOINT, SERVICE
from .graph import Graph, Resource

_BUCKET = "aws:s3/bucket:Bucket"
_SECRET = "aws:secretsmanager/secret:Secret"  # noqa: S105 - a type
_BOX, _STORE = "[{}]", "[({})]"
_DRAWN: Mapping[str, tuple[str, str]] = {
    BALANCER: ("load balancer", _BOX),
    SERVICE: ("the gate: ECS on EC2", _BOX),
    ENDPOINT: ("VPC endpoint", _BOX),
    NAT: ("NAT gateway", _BOX),
    ALARM: ("alarm", _BOX),
    _BUCKET: ("bucket", _STORE),
    _SECRET: ("secret", _STORE),
    "aws:cloudwatch/dashboard:Dashboard": ("dashboard", _BOX),
    "aws:cloudwatch/logGroup:LogGroup": ("log group", _STORE),
    "aws:ecr/repository:Repository": ("image in ECR", _STORE),
    "aws:sagemaker/domain:Domain": ("SageMaker Studio", _BOX),
    "aws:sagemaker/mlflowApp:MlflowApp": ("SageMaker MLflow app", _BOX),
    "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer": ("SageMaker MLflow tracking server", _BOX),
    "aws:sns/topic:Topic": ("SNS topic", _BOX),
    "aws:wafv2/webAcl:WebAcl": ("WAF", _BOX),
}
# Drawn as one, with a number.
_TOGETHER = (ENDPOINT, NAT, ALARM)


def mermaid(graph: Graph) -> str:
    """The flowchart's text."""
    nodes = {one.urn: _node(graph, one) for one in graph.resources if one.type in _DRAWN}
    outside: dict[str, str] = {}
    said: dict[tuple[str, str], list[str]] = {}
    for arrow in arrows(graph):
        ends = [
            outside.setdefault(end, f"outside{len(outside)}") if isinstance(end, str) else nodes.get(end.urn)
            for end in (arrow.start, arrow.end)
        ]
        if ends[0] and ends[1]:
            texts = said.setdefault((ends[0], ends[1]), [])
            if arrow.text and arrow.text not in texts:
                texts.append(arrow.text)
    # What nobody talks to would only hang about.
    talking = {end for ends in said for end in ends}
    nodes = {urn: node for urn, node in nodes.items() if node in talking}
    lines = [
        *(f"  {node}([{_quoted(text)}])" for text, node in outside.items()),
        *(line for top in graph.children(graph.stack_urn) if not top.custom for line in _component(graph, top, nodes)),
        *(_line(start, end, texts) for (start, end), texts in said.items()),
    ]
    return "\n".join(["flowchart LR", *lines, ""])


def _line(start: str, end: str, texts: list[str]) -> str:
    text = f"|{_quoted(', '.join(texts))}|" if texts else ""
    return f"  {start} -->{text} {end}"


def _part(graph: Graph, one: Resource) -> Resource:
    """The part of a component that a resource belongs to."""
    above = [one, *graph.ancestors(one)]
    return above[-2] if len(above) > 1 else above[-1]


def _node(graph: Graph, one: Resource) -> str:
    owner = _part(graph, one) if one.type in _TOGETHER else one
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
                yield f"      {node}{_DRAWN[group[0].type][1].format(_quoted(_text(top, group)))}"
            yield "    end"
    yield "  end"


def _text(top: Resource, group: list[Resource]) -> str:
    one = group[0]
    text = _DRAWN[one.type][0]
    if len(group) > 1:
        return f"{len(group)} {text}s"
    if one.type == BALANCER:
        return f"{'internal' if one.inputs.get('internal') else 'public'} {text}"
    if one.type in (_BUCKET, _SECRET):
        return f"{text}: {one.name.removeprefix(f'{top.name}-').replace('-', ' ')}"
    if one.type == ENDPOINT:
        return f"VPC endpoint: {str(one.inputs.get('serviceName')).rpartition('.')[2]}"
    return text


def _class(one: Resource) -> str:
    return one.type.rpartition(":")[2]


def _id(text: str) -> str:
    return re.sub(r"\W", "_", text)


def _quoted(text: str) -> str:
    return json.dumps(text.replace('"', "'"), ensure_ascii=False)
