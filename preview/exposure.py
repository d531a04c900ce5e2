"""Inbound and outbound access, resource policies and MLflow roles of a stack, over all clouds."""

from collections.abc import Iterable

from .cloud import Exposure, Ingress
from .clouds import CLOUDS
from .graph import Graph


def exposure(graph: Graph) -> Exposure:
    """Return the exposure that the graph's resources would have."""
    parts = [cloud.exposure(graph) for cloud in CLOUDS]
    return Exposure(
        ingress=_merge_sources(row for part in parts for row in part.ingress),
        egress=list(dict.fromkeys(row for part in parts for row in part.egress)),
        policy_grants=list(dict.fromkeys(row for part in parts for row in part.policy_grants)),
        role_bindings=[row for part in parts for row in part.role_bindings],
    )


def _merge_sources(rows: Iterable[Ingress]) -> list[Ingress]:
    """One row for all sources that reach the same target in the same way."""
    sources: dict[Ingress, list[str]] = {}
    for row in rows:
        same_path = sources.setdefault(row._replace(source=""), [])
        if row.source not in same_path:
            same_path.append(row.source)
    return [row._replace(source=", ".join(names)) for row, names in sources.items()]
