"""Queries on a recorded graph, for the tests of both clouds."""

from preview.graph import Graph, Resource


def only(graph: Graph, kind: str, name: str | None = None) -> Resource:
    """The only resource of a type, or of a type and a name."""
    resources = [resource for resource in graph.of(kind) if name is None or resource.name == name]
    assert len(resources) == 1, f"{kind} {name or ''}: {[resource.name for resource in resources]}"
    return resources[0]


def transitive_dependencies(graph: Graph, resource: Resource) -> set[str]:
    """The URNs of all resources that are created before a resource and deleted after it.

    The engine's order follows dependencies and parents (pulumi, pkg/resource/graph/dependency_graph.go).
    """
    urns: set[str] = set()
    queue = [resource]
    while queue:
        current = queue.pop()
        for urn in {*current.dependencies, current.parent} - urns:
            urns.add(urn)
            dependency = graph.by_urn(urn)
            if dependency is not None:
                queue.append(dependency)
    return urns
