"""A VPC's firewall rules: whom they let in or out, or refuse."""

from dataclasses import dataclass
from typing import Any

from ..graph import Graph, Resource, dig, listed
from ..names import Names
from .kinds import FIREWALL, FLEXIBLE, NETWORK

# https://cloud.google.com/load-balancing/docs/firewall-rules
_GOOGLE = frozenset({"35.191.0.0/16", "130.211.0.0/22"})
_WORLD = "0.0.0.0/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``others`` are the other side, in words."""

    network: str
    others: str
    ports: str


def rules(graph: Graph) -> list[Rule]:
    return [
        Rule(
            network=str(one.inputs.get("network")),
            others=_others([str(other) for other in listed(one.inputs.get("sourceRanges"))]),
            ports=_ports(said),
        )
        for one in graph.of(FIREWALL)
        for said in listed(one.inputs.get("allows"))
    ]


def _others(given: list[str]) -> str:
    if not given or _WORLD in given:
        return "the internet"
    if set(given) <= _GOOGLE:
        return "Google's front end and health checks"
    return ", ".join(given)


# https://cloud.google.com/firewall/docs/firewalls#protocols_and_ports: no ports are all.
def _ports(said: Any) -> str:
    protocol, ports = str(dig(said, "protocol")), ", ".join(map(str, listed(dig(said, "ports"))))
    if not ports:
        return "all" if protocol == "all" else f"all {protocol}"
    return ports if protocol == "tcp" else f"{ports} {protocol}"


def vpc(graph: Graph, version: Resource) -> Resource | None:
    """The network of this stack in which a version's machines are."""
    name = dig(version.inputs, "network", "name")
    return next((one for one in graph.of(NETWORK) if name is not None and one.outputs.get("name") == name), None)


def behind(graph: Graph, rule: Rule) -> list[Resource]:
    """Whose machines a rule is about."""
    network = Names(graph).resource(rule.network)
    return [one for one in graph.of(FLEXIBLE) if network is not None and vpc(graph, one) is network]
