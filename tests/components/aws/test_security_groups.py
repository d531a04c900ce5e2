"""Security groups of tasks and instances."""

from typing import Any

import pytest

from components import proxy_environment
from preview.graph import Graph

from .helpers import only, record_stack

IN = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
OUT = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
PUBLIC = {"loadBalancer": {"public": True, "certificateArn": CERTIFICATE}}
STACKS = [
    {},
    PUBLIC,
    {
        "network": {"egress": "endpoints"},
        "loadBalancer": {"allowedCidrs": ["192.0.2.0/24"], "certificateArn": CERTIFICATE},
    },
]


def group_id(graph: Graph, name: str) -> str:
    return only(graph, "aws:ec2/securityGroup:SecurityGroup", f"proxy-{name}").id


def rules(graph: Graph, kind: str, group: str) -> list[tuple[str | None, int, int]]:
    """(referenced group, from port, to port) of the rules of a group."""
    return [
        (rule.inputs.get("referencedSecurityGroupId"), rule.inputs["fromPort"], rule.inputs["toPort"])
        for rule in graph.of(kind)
        if rule.inputs["securityGroupId"] == group_id(graph, group)
    ]


@pytest.fixture(params=STACKS, ids=["internal", "public", "endpoints"])
def graph(request: pytest.FixtureRequest) -> Graph:
    return record_stack(request.param)


def test_tasks_accept_requests_from_the_load_balancer_only(graph: Graph) -> None:
    port = proxy_environment.PORT
    assert rules(graph, IN, "tasks") == [(group_id(graph, "load-balancer"), port, port)]


def test_instances_accept_no_inbound_connections(graph: Graph) -> None:
    assert rules(graph, IN, "instances") == []


def test_load_balancer_connects_to_tasks_only(graph: Graph) -> None:
    port = proxy_environment.PORT
    assert rules(graph, OUT, "load-balancer") == [(group_id(graph, "tasks"), port, port)]


def test_tasks_connect_with_https_only(graph: Graph) -> None:
    assert {(first, last) for _, first, last in rules(graph, OUT, "tasks")} == {(443, 443)}


@pytest.mark.parametrize("settings", [STACKS[0], STACKS[2]], ids=["http", "https"])
def test_instances_connect_to_an_internal_load_balancer(settings: dict[str, Any]) -> None:
    graph = record_stack(settings)
    port = 443 if "loadBalancer" in settings else 80
    assert (group_id(graph, "load-balancer"), port, port) in rules(graph, OUT, "instances")
    assert (group_id(graph, "instances"), port, port) in rules(graph, IN, "load-balancer")


def test_instances_do_not_connect_to_a_public_load_balancer() -> None:
    graph = record_stack(PUBLIC)
    assert group_id(graph, "instances") not in {source for source, _, _ in rules(graph, IN, "load-balancer")}
    assert group_id(graph, "load-balancer") not in {target for target, _, _ in rules(graph, OUT, "instances")}
