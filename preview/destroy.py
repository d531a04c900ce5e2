"""What `pulumi destroy` keeps, or stops at, and the way to lift it."""

from collections.abc import Iterator

from .clouds import CLOUDS
from .graph import Graph, Resource
from .traits import OFF, Kept

PROTECTED = "is protected"


def kept(graph: Graph) -> list[Kept]:
    """Everything that destroy would not simply take away, in the graph's order."""
    return [found for one in graph.resources if not one.read for found in _of(graph, one)]


def _of(graph: Graph, one: Resource) -> Iterator[Kept]:
    if one.protect:
        yield Kept(one, True, PROTECTED, OFF)
    found = [each for cloud in CLOUDS for each in cloud.kept(one)]
    stays = any(not each.stops for each in found)
    if one.retain_on_delete and not stays and not _goes_with_its_repository(graph, one):
        yield Kept(one, False, "stays in the account, and leaves the state", "delete it by hand")
    yield from found


def _goes_with_its_repository(graph: Graph, one: Resource) -> bool:
    """An image is no resource of a cloud's: it is in a repository, and goes when that goes."""
    found = [graph.by_urn(urn) for urn in one.dependencies]
    return one.type == "docker-build:index:Image" and any(
        other is not None and other.type.endswith("/repository:Repository") for other in found
    )
