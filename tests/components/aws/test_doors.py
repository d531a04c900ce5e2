"""Security groups of instances and proxies."""

from typing import Any

import pytest

from components import proxy_environment
from preview.graph import Graph

from .boxes import only
from .whole import whole

IN = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
OUT = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
PUBLIC = {"edge": {"public": True, "certificateArn": CERTIFICATE}}
STACKS = [
    {},
    PUBLIC,
    {"network": {"egress": "endpoints"}, "edge": {"allowedCidrs": ["192.0.2.0/24"], "certificateArn": CERTIFICATE}},
]


def group_id(graph: Graph, name: str) -> str:
    return only(graph, "aws:ec2/securityGroup:SecurityGroup", f"proxy-{name}").id


def ways(graph: Graph, kind: str, group: str) -> list[tuple[str | None, int, int]]:
    """(referenced group, from port, to port) of the rules of a group."""
    return [
        (one.inputs.get("referencedSecurityGroupId"), one.inputs["fromPort"], one.inputs["toPort"])
        for one in graph.of(kind)
        if one.inputs["securityGroupId"] == group_id(graph, group)
    ]


@pytest.fixture(params=STACKS, ids=["internal", "public", "endpoints"])
def graph(request: pytest.FixtureRequest) -> Graph:
    return whole(request.param)


def test_proxy_take_requests_from_the_load_balancer_alone(graph: Graph) -> None:
    port = proxy_environment.PORT
    assert ways(graph, IN, "proxies") == [(group_id(graph, "edge"), port, port)]


def test_nobody_comes_in_to_the_instances(graph: Graph) -> None:
    assert ways(graph, IN, "instances") == []


def test_the_load_balancer_is_let_out_to_the_proxy_and_nowhere_else(graph: Graph) -> None:
    port = proxy_environment.PORT
    assert ways(graph, OUT, "edge") == [(group_id(graph, "proxies"), port, port)]


def test_proxy_go_nowhere_but_by_https(graph: Graph) -> None:
    assert {(first, last) for _, first, last in ways(graph, OUT, "proxies")} == {(443, 443)}


@pytest.mark.parametrize("settings", [STACKS[0], STACKS[2]], ids=["http", "https"])
def test_an_internal_load_balancer_can_be_reached_through_an_instance(settings: dict[str, Any]) -> None:
    graph = whole(settings)
    port = 443 if "edge" in settings else 80
    assert (group_id(graph, "edge"), port, port) in ways(graph, OUT, "instances")
    assert (group_id(graph, "instances"), port, port) in ways(graph, IN, "edge")


def test_a_public_one_is_not() -> None:
    graph = whole(PUBLIC)
    assert group_id(graph, "instances") not in {source for source, _, _ in ways(graph, IN, "edge")}
    assert group_id(graph, "edge") not in {target for target, _, _ in ways(graph, OUT, "instances")}
