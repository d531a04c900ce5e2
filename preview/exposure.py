"""What is exposed to whom: from where, to what, on which port, and who is asked for what on the way."""

from collections.abc import Iterable

from .cloud import Exposure, Reach
from .clouds import CLOUDS
from .graph import Graph


def exposure(graph: Graph) -> Exposure:
    """Derived from the graph, of all clouds."""
    found = [cloud.exposure(graph) for cloud in CLOUDS]
    return Exposure(
        ways_in=_merged(way for one in found for way in one.ways_in),
        ways_out=list(dict.fromkeys(way for one in found for way in one.ways_out)),
        grants=list(dict.fromkeys(grant for one in found for grant in one.grants)),
        holders=[holder for one in found for holder in one.holders],
    )


def _merged(ways: Iterable[Reach]) -> list[Reach]:
    """One row for those who reach the same."""
    sources: dict[Reach, list[str]] = {}
    for way in ways:
        found = sources.setdefault(way._replace(source=""), [])
        if way.source not in found:
            found.append(way.source)
    return [way._replace(source=", ".join(found)) for way, found in sources.items()]
