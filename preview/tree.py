"""The resources as a tree, each with selected inputs."""

import json
from collections.abc import Iterator
from typing import Any, cast

from .clouds import CLOUDS
from .console import Style, plain
from .graph import Graph, Resource, value_at
from .names import ResourceNames, class_name

# By type token; the paths use the provider's property names.
DISPLAYED_INPUTS: dict[str, tuple[str, ...]] = {
    **{type_token: paths for cloud in CLOUDS for type_token, paths in cloud.displayed_inputs.items()},
    "docker-build:index:Image": ("push", "platforms", "tags"),
    "random:index/randomPassword:RandomPassword": ("length",),
    "random:index/randomString:RandomString": ("length",),
}
_MAX_VALUE_LENGTH = 60
# Longer types are not aligned.
_MAX_TYPE_WIDTH = 32
# Number of inputs shown for a type that is not in DISPLAYED_INPUTS.
_MAX_INPUTS = 4


def tree(graph: Graph, style: Style) -> list[str]:
    """Return a line for each resource: name, type, options, inputs."""
    names = ResourceNames(graph)
    lines = [
        (f"{style(branch, 'dim')}{resource.name}", resource)
        for branch, resource in _branches(graph, graph.stack_urn, "")
    ]
    name_width = max((len(plain(name)) for name, _ in lines), default=0)
    type_width = min(_MAX_TYPE_WIDTH, max((len(class_name(resource)) for _, resource in lines), default=0))
    return [
        "  ".join(
            [
                f"  {name}{' ' * (name_width - len(plain(name)))}",
                f"{style(class_name(resource), 'cyan')}{' ' * (type_width - len(class_name(resource)))}",
                *(style(option, "yellow") for option in _options(resource)),
                *_inputs(resource, names, style),
            ]
        ).rstrip()
        for name, resource in lines
    ]


def _branches(graph: Graph, urn: str, indent: str) -> Iterator[tuple[str, Resource]]:
    children = graph.children(urn)
    for child in children:
        last = child is children[-1]
        top = urn == graph.stack_urn
        yield "" if top else indent + ("└─ " if last else "├─ "), child
        yield from _branches(graph, child.urn, "" if top else indent + ("   " if last else "│  "))


def _options(resource: Resource) -> Iterator[str]:
    if resource.protect:
        yield "[protected]"
    if resource.retain_on_delete:
        yield "[retained]"
    if resource.import_id:
        yield "[imported]"
    if resource.read:
        yield "[read]"


def _inputs(resource: Resource, names: ResourceNames, style: Style) -> Iterator[str]:
    for path in DISPLAYED_INPUTS.get(resource.type, tuple(_scalars(resource))):
        value = value_at(resource.inputs, *path.split("."))
        if value is not None and value != "":
            yield f"{style(_short(path), 'dim')}={_text(value, names)}"


def _short(path: str) -> str:
    """The last part of a path; the last two if the last is ambiguous."""
    *_, above, last = ["", *path.split(".")]
    return f"{above}.{last}" if above and last in ("enabled", "name") else last


def _scalars(resource: Resource) -> list[str]:
    scalars = (
        name for name, value in resource.inputs.items() if isinstance(value, bool | int | str) and name != "description"
    )
    return sorted(scalars)[:_MAX_INPUTS]


def _text(value: Any, names: ResourceNames) -> str:
    if isinstance(value, list):
        text = ",".join(_text(element, names) for element in cast("list[Any]", value))
    elif isinstance(value, str):
        text = names.display(value)
    else:
        text = json.dumps(value)
    text = " ".join(text.split())
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[: _MAX_VALUE_LENGTH - 3]}..."
