"""What `pulumi destroy` leaves in the account, or fails at, and the remedy."""

from collections.abc import Iterator

from .clouds import CLOUDS
from .graph import Graph, Resource
from .retention_rules import DISABLE_PROTECTION, Retention

PROTECTED = "is protected"


def retentions(graph: Graph) -> list[Retention]:
    """Return everything that `pulumi destroy` does not simply delete, in the graph's order."""
    return [found for resource in graph.resources if not resource.read for found in _of(graph, resource)]


def _of(graph: Graph, resource: Resource) -> Iterator[Retention]:
    if resource.protect:
        yield Retention(resource, True, PROTECTED, DISABLE_PROTECTION)
    found = [retention for cloud in CLOUDS for retention in cloud.retentions(resource)]
    stays = any(not retention.blocks for retention in found)
    if resource.retain_on_delete and not stays and not _deleted_with_repository(graph, resource):
        yield Retention(resource, False, "is removed from the state only", "delete it manually")
    yield from found


def _deleted_with_repository(graph: Graph, resource: Resource) -> bool:
    """An image is part of its repository, and is deleted with it."""
    found = [graph.by_urn(urn) for urn in resource.dependencies]
    return resource.type == "docker-build:index:Image" and any(
        other is not None and other.type.endswith("/repository:Repository") for other in found
    )
