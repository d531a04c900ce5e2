"""Security groups: which rules let whom in or out, and who is behind them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from ..graph import Graph, Resource, texts

_WORLD = ("0.0.0.0/0", "::/0")
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
        return self.other in _WORLD

    def lets(self, port: int) -> bool:
        return self.low <= port <= self.high

    @property
    def ports(self) -> str:
        if (self.low, self.high) == (0, 65535):
            return "all" if self.protocol == "all" else f"all {self.protocol}"
        both = str(self.low) if self.low == self.high else f"{self.low}-{self.high}"
        return both if self.protocol == "tcp" else f"{both} {self.protocol}"


def rules(graph: Graph) -> list[Rule]:
    """Every rule, whether it is a resource of its own or written into its group."""
    return [rule for one in graph.resources for rule in _of(one)]


def _of(one: Resource) -> Iterator[Rule]:
    given = one.inputs
    if one.type in _RULES:
        yield _rule(given["securityGroupId"], _RULES[one.type], _other(given), given)
    elif one.type == "aws:ec2/securityGroupRule:SecurityGroupRule":
        for other in _others(given, given["securityGroupId"]):
            yield _rule(given["securityGroupId"], given["type"] == "ingress", other, given)
    elif one.type == _GROUP:
        for name, inbound in (("ingress", True), ("egress", False)):
            for inner in cast("list[dict[str, Any]]", given.get(name) or []):
                for other in _others(inner, one.id):
                    yield _rule(one.id, inbound, other, inner)


def _other(given: dict[str, Any]) -> str:
    names = ("cidrIpv4", "cidrIpv6", "referencedSecurityGroupId", "prefixListId")
    return next((str(given[name]) for name in names if given.get(name)), "nobody")


def _others(given: dict[str, Any], itself: str) -> Iterator[str]:
    for name in ("cidrBlocks", "ipv6CidrBlocks", "prefixListIds", "securityGroups"):
        yield from map(str, given.get(name) or [])
    if given.get("sourceSecurityGroupId"):
        yield str(given["sourceSecurityGroupId"])
    if given.get("self"):
        yield itself


def _rule(group: str, inbound: bool, other: str, given: dict[str, Any]) -> Rule:
    protocol = str(given.get("ipProtocol", given.get("protocol", "-1")))
    every = protocol in ("-1", "all")
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
    own = (_GROUP, "aws:ec2/securityGroupRule:SecurityGroupRule", *_RULES)
    return [one for one in graph.resources if one.custom and one.type not in own and group in texts(one.inputs)]
