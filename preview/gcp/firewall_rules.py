"""Ingress rules of a VPC's firewall."""

from dataclasses import dataclass
from typing import Any

from ..graph import Graph, Resource, as_list, value_at
from ..names import ResourceNames
from .resource_types import FIREWALL, FLEXIBLE, NETWORK

# https://cloud.google.com/load-balancing/docs/firewall-rules
_GOOGLE = frozenset({"35.191.0.0/16", "130.211.0.0/22"})
_ANY_ADDRESS = "0.0.0.0/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An ingress rule; ``sources`` and ``ports`` are as in the report."""

    network: str
    sources: str
    ports: str


def rules(graph: Graph) -> list[Rule]:
    """Return every rule that allows ingress."""
    return [
        Rule(
            network=str(firewall.inputs.get("network")),
            sources=_sources([str(source) for source in as_list(firewall.inputs.get("sourceRanges"))]),
            ports=_ports(allowed),
        )
        for firewall in graph.of(FIREWALL)
        for allowed in as_list(firewall.inputs.get("allows"))
    ]


def _sources(ranges: list[str]) -> str:
    if not ranges or _ANY_ADDRESS in ranges:
        return "the internet"
    if set(ranges) <= _GOOGLE:
        return "Google's front end and health checks"
    return ", ".join(ranges)


def _ports(allowed: Any) -> str:
    # A rule without ports applies to all ports: https://cloud.google.com/firewall/docs/firewalls#protocols_and_ports
    protocol, ports = str(value_at(allowed, "protocol")), ", ".join(map(str, as_list(value_at(allowed, "ports"))))
    if not ports:
        return "all" if protocol == "all" else f"all {protocol}"
    return ports if protocol == "tcp" else f"{ports} {protocol}"


def vpc(graph: Graph, version: Resource) -> Resource | None:
    """Return the network of this stack that a version's instances are in."""
    name = value_at(version.inputs, "network", "name")
    return next(
        (network for network in graph.of(NETWORK) if name is not None and network.outputs.get("name") == name), None
    )


def versions(graph: Graph, rule: Rule) -> list[Resource]:
    """Return the App Engine versions whose instances a rule applies to."""
    network = ResourceNames(graph).resource(rule.network)
    return [version for version in graph.of(FLEXIBLE) if network is not None and vpc(graph, version) is network]
