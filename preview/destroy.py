"""Resources that `pulumi destroy` leaves in the account or fails at, with the reason and the remedy."""

from collections.abc import Iterator

from .clouds import CLOUDS
from .graph import Graph, Resource
from .retention_rules import DISABLE_PROTECTION, Retention

PROTECTED = "is protected"


def retentions(graph: Graph) -> list[Retention]:
    """Return a retention for each resource that `pulumi destroy` does not simply delete, in the graph's order."""
    return [found for resource in graph.resources if not resource.read for found in _of(graph, resource)]


def _of(graph: Graph, resource: Resource) -> Iterator[Retention]:
    if resource.protect:
        yield Retention(resource, True, PROTECTED, DISABLE_PROTECTION)
    of_clouds = [retention for cloud in CLOUDS for retention in cloud.retentions(resource)]
    is_listed = any(not retention.blocks for retention in of_clouds)
    if resource.retain_on_delete and not is_listed and not _deleted_with_repository(graph, resource):
        yield Retention(resource, False, "is removed from the state only", "delete it manually")
    yield from of_clouds


def _deleted_with_repository(graph: Graph, resource: Resource) -> bool:
    """An image is part of its repository, and is deleted with it."""
    dependencies = [graph.by_urn(urn) for urn in resource.dependencies]
    return resource.type == "docker-build:index:Image" and any(
        dependency is not None and dependency.type.endswith("/repository:Repository") for dependency in dependencies
    )
