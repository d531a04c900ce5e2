"""Security groups: which rules let whom in or out, and who is behind them."""

from dataclasses import dataclass
from typing import Any

from ..graph import Graph, Resource, texts

_WORLD = "0.0.0.0/0"
_GROUP = "aws:ec2/securityGroup:SecurityGroup"
_RULES = {
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": True,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Who is on the other side is a range of addresses, another group's id, or a prefix list's."""

    group: str
    inbound: bool
    other: str
    low: int
    high: int
    protocol: str

    @property
    def world(self) -> bool:
        return self.other == _WORLD

    def lets(self, port: int) -> bool:
        return self.low <= port <= self.high

    @property
    def ports(self) -> str:
        if (self.low, self.high) == (0, 65535):
            return "all" if self.protocol == "all" else f"all {self.protocol}"
        both = str(self.low) if self.low == self.high else f"{self.low}-{self.high}"
        return both if self.protocol == "tcp" else f"{both} {self.protocol}"


def rules(graph: Graph) -> list[Rule]:
    """Every rule."""
    return [
        _rule(one.inputs["securityGroupId"], _RULES[one.type], _other(one.inputs), one.inputs)
        for one in graph.resources
        if one.type in _RULES
    ]


def _other(given: dict[str, Any]) -> str:
    names = ("cidrIpv4", "referencedSecurityGroupId", "prefixListId")
    return next((str(given[name]) for name in names if given.get(name)), "nobody")


def _rule(group: str, inbound: bool, other: str, given: dict[str, Any]) -> Rule:
    protocol = str(given.get("ipProtocol", "-1"))
    every = protocol == "-1"
    return Rule(
        group=group,
        inbound=inbound,
        other=other,
        low=0 if every else int(given.get("fromPort", 0)),
        high=65535 if every else int(given.get("toPort", 65535)),
        protocol="all" if every else protocol,
    )


def behind(graph: Graph, group: str) -> list[Resource]:
    """The resources that a group belongs to."""
    own = (_GROUP, *_RULES)
    return [one for one in graph.resources if one.custom and one.type not in own and group in texts(one.inputs)]
