"""A whole deployment, for what boxes owe each other."""

import functools
import json
from collections.abc import Mapping
from typing import Any

from components import AwsMlflowProxy
from preview.graph import Graph, Resource
from preview.recorder import record

DIGEST = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/proxy@sha256:{'0' * 64}"


def whole(settings: Mapping[str, Any] | None = None, name: str = "proxy") -> Graph:
    """The graph of one component with these settings and an image that is there; recorded once."""
    return _recorded(json.dumps({"image": {"imageUri": DIGEST}, **(settings or {})}), name)


@functools.cache
def _recorded(settings: str, name: str) -> Graph:
    return record(lambda: AwsMlflowProxy(name, json.loads(settings)), config={"aws:region": "eu-west-1"})


def container_definition(graph: Graph) -> dict[str, Any]:
    """The one container of the one task."""
    (task,) = graph.of("aws:ecs/taskDefinition:TaskDefinition")
    (found,) = json.loads(task.inputs["containerDefinitions"])
    return found


def needs(graph: Graph, resource: Resource) -> set[str]:
    """The URNs of everything that is made before a resource and unmade after it.

    The engine goes by dependencies and parents (pulumi, pkg/resource/graph/dependency_graph.go).
    """
    found: set[str] = set()
    open_ends = [resource]
    while open_ends:
        one = open_ends.pop()
        for urn in {*one.dependencies, one.parent} - found:
            found.add(urn)
            known = graph.by_urn(urn)
            if known is not None:
                open_ends.append(known)
    return found
