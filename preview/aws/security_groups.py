"""Rules of security groups, and the resources that a security group is attached to."""

from dataclasses import dataclass
from typing import Any

from ..graph import Graph, Resource, strings_in

_ANY_ADDRESS = "0.0.0.0/0"
_GROUP = "aws:ec2/securityGroup:SecurityGroup"
_INBOUND = {
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": True,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``peer`` is the other side: a CIDR range, or the id of a security group or prefix list."""

    group: str
    inbound: bool
    peer: str
    low: int
    high: int
    protocol: str

    @property
    def is_any_address(self) -> bool:
        """Whether the rule is for every IPv4 address."""
        return self.peer == _ANY_ADDRESS

    def allows(self, port: int) -> bool:
        """Whether the port is in the rule's range."""
        return self.low <= port <= self.high

    @property
    def ports(self) -> str:
        """The range as text, such as 443, 1-2 udp or all."""
        if (self.low, self.high) == (0, 65535):
            return "all" if self.protocol == "all" else f"all {self.protocol}"
        both = str(self.low) if self.low == self.high else f"{self.low}-{self.high}"
        return both if self.protocol == "tcp" else f"{both} {self.protocol}"


def rules(graph: Graph) -> list[Rule]:
    """Return every ingress and egress rule."""
    return [
        _rule(resource.inputs, inbound=_INBOUND[resource.type])
        for resource in graph.resources
        if resource.type in _INBOUND
    ]


def _rule(inputs: dict[str, Any], *, inbound: bool) -> Rule:
    protocol = str(inputs.get("ipProtocol", "-1"))
    every = protocol == "-1"
    peers = (inputs.get(name) for name in ("cidrIpv4", "referencedSecurityGroupId", "prefixListId"))
    return Rule(
        group=inputs["securityGroupId"],
        inbound=inbound,
        peer=next((str(peer) for peer in peers if peer), ""),
        low=0 if every else int(inputs.get("fromPort", 0)),
        high=65535 if every else int(inputs.get("toPort", 65535)),
        protocol="all" if every else protocol,
    )


def members(graph: Graph, group: str) -> list[Resource]:
    """Return the resources that a security group is attached to."""
    own = (_GROUP, *_INBOUND)
    return [
        resource
        for resource in graph.resources
        if resource.custom and resource.type not in own and group in strings_in(resource.inputs)
    ]
