"""Inbound and outbound access, resource policies and MLflow roles of a stack, over all clouds."""

from collections.abc import Iterable

from .cloud import Exposure, Ingress
from .clouds import CLOUDS
from .graph import Graph


def exposure(graph: Graph) -> Exposure:
    """Return the exposure that the graph's resources would have."""
    found = [cloud.exposure(graph) for cloud in CLOUDS]
    return Exposure(
        ingress=_merge_sources(row for one in found for row in one.ingress),
        egress=list(dict.fromkeys(row for one in found for row in one.egress)),
        policy_grants=list(dict.fromkeys(row for one in found for row in one.policy_grants)),
        role_bindings=[row for one in found for row in one.role_bindings],
    )


def _merge_sources(rows: Iterable[Ingress]) -> list[Ingress]:
    """One row for all sources that reach the same target in the same way."""
    sources: dict[Ingress, list[str]] = {}
    for row in rows:
        found = sources.setdefault(row._replace(source=""), [])
        if row.source not in found:
            found.append(row.source)
    return [row._replace(source=", ".join(found)) for row, found in sources.items()]
