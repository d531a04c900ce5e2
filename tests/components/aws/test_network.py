"""The VPC: what is reachable from where, what a later change touches, and in which order it goes."""

import ipaddress
from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components.aws.network import Network
from components.aws.network_settings import NetworkSettings
from components.aws.new_vpc import ranges
from preview.aws import mock_outputs
from preview.graph import Graph, Resource
from preview.recorder import record

from .helpers import KEY, make_deployment, only, statements

SUBNET = "aws:ec2/subnet:Subnet"
NAT = "aws:ec2/natGateway:NatGateway"
GATEWAY = "aws:ec2/internetGateway:InternetGateway"
ROUTE = "aws:ec2/route:Route"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
IN = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
OUT = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
EXISTING: dict[str, Any] = {
    "vpc_id": "vpc-0aaaaaaaaaaaaaaaa",
    "vpc_cidr": "10.9.0.0/16",
    "private_subnet_ids": ["subnet-0aaaaaaaaaaaaaaa0", "subnet-0aaaaaaaaaaaaaaa1"],
    "public_subnet_ids": ["subnet-0aaaaaaaaaaaaaaa2", "subnet-0aaaaaaaaaaaaaaa3"],
    "private_route_table_ids": ["rtb-0aaaaaaaaaaaaaaaa"],
}


@pytest.fixture(autouse=True)
def _four_zones(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setattr(mock_outputs, "ZONES", [f"eu-west-1{letter}" for letter in "abcd"])


def recorded(
    *,
    public: bool = False,
    kms_key_arn: str | None = None,
    then: Callable[[Network], object] = lambda _: None,
    **args: Any,
) -> Graph:
    def program() -> None:
        then(Network(make_deployment(kms_key_arn=kms_key_arn), NetworkSettings(**args), public=public))

    return record(program)


def subnets(graph: Graph, kind: str) -> dict[str, Resource]:
    return {one.name: one for one in graph.of(SUBNET) if one.name.startswith(f"proxy-{kind}-")}


def allow_egress(*roles: str) -> Callable[[Network], None]:
    def then(network: Network) -> None:
        for role in roles:
            group = aws.ec2.SecurityGroup(f"{role}-group")
            network.allow_egress(make_deployment(), role, group.id, network)

    return then


def test_more_zones_renumber_no_subnet() -> None:
    two, three, four = (recorded(az_count=zones, egress="nat-per-az", public=True) for zones in (2, 3, 4))
    for fewer, more in ((two, three), (three, four)):
        after = {one.name: one.inputs for one in more.of(SUBNET)}
        assert len(after) > len(fewer.of(SUBNET))
        for one in fewer.of(SUBNET):
            assert after[one.name] == one.inputs


@pytest.mark.parametrize("cidr", ["10.42.0.0/16", "192.168.4.0/22", "172.16.0.0/20"])
def test_ranges_lie_in_the_vpc_and_do_not_overlap(cidr: str) -> None:
    private, public = ranges(cidr)
    networks = [ipaddress.ip_network(one) for one in [*private, *public]]
    vpc = ipaddress.IPv4Network(cidr)
    assert len(networks) == 8
    assert all(vpc.supernet_of(ipaddress.IPv4Network(one)) for one in [*private, *public])
    assert not any(one.overlaps(other) for one in networks for other in networks if one is not other)


def test_the_smallest_vpc_has_room_for_load_balancer_endpoints_and_tasks() -> None:
    private, public = ranges("192.168.4.0/22")
    # AWS keeps five of each; a load balancer wants a /27 and eight free addresses.
    assert all(ipaddress.ip_network(one).num_addresses - 5 >= 120 for one in private)
    assert all(ipaddress.ip_network(one).prefixlen <= 27 for one in public)


def test_zones_are_real_ones_that_are_available() -> None:
    graph = recorded()
    asked = next(one for one in graph.calls if one.token.endswith("getAvailabilityZones")).args
    assert asked["state"] == "available"
    assert {one["name"]: one["values"] for one in asked["filters"]} == {
        "opt-in-status": ["opt-in-not-required"],
        "zone-type": ["availability-zone"],
    }


def test_a_list_of_zones_that_changes_replaces_no_subnet() -> None:
    graph = recorded(egress="nat-per-az")
    assert len(graph.of(SUBNET)) == 4
    assert all(one.ignore_changes == ("availabilityZone",) for one in graph.of(SUBNET))


def test_each_zone_has_one_private_subnet() -> None:
    zones = [one.inputs["availabilityZone"] for one in subnets(recorded(az_count=3), "private").values()]
    assert zones == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]


def test_more_zones_than_the_region_has_are_refused_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mock_outputs, "ZONES", ["eu-west-1a", "eu-west-1b"])
    with pytest.raises(
        pulumi.RunError, match=r"network\.azCount: got 3, expected at most 2 in this region: eu-west-1a, eu-west-1b"
    ):
        recorded(az_count=3)


def test_nothing_gets_a_public_address_by_itself() -> None:
    graph = recorded(egress="nat", public=True)
    assert graph.of(SUBNET)
    assert all(one.inputs["mapPublicIpOnLaunch"] is False for one in graph.of(SUBNET))
    assert not any("ipv6" in name.lower() for one in graph.resources for name in one.inputs)


def test_endpoints_alone_leave_no_way_to_the_internet() -> None:
    graph = recorded(egress="endpoints")
    assert len(subnets(graph, "private")) == len(graph.of(SUBNET)) == 2
    for kind in (NAT, GATEWAY, ROUTE, "aws:ec2/eip:Eip"):
        assert not graph.of(kind), kind


def test_a_public_load_balancer_does_not_let_private_subnets_out() -> None:
    graph = recorded(egress="endpoints", public=True)
    assert len(subnets(graph, "public")) == 2
    assert not graph.of(NAT)
    assert [one.name for one in graph.of(ROUTE)] == ["proxy-public"]


def test_an_internal_load_balancer_gets_no_public_subnet_beyond_the_nats() -> None:
    assert list(subnets(recorded(egress="nat", az_count=3), "public")) == ["proxy-public-1"]


@pytest.mark.parametrize(("egress", "count"), [("nat", 1), ("nat-per-az", 3)])
def test_each_private_subnet_goes_out_by_a_nat_of_its_zone_if_there_is_one(egress: str, count: int) -> None:
    graph = recorded(egress=egress, az_count=3)
    assert len(graph.of(NAT)) == count
    nat_of = {one.id: one for one in graph.of(NAT)}
    subnet_of = {one.id: one for one in graph.of(SUBNET)}
    defaults = {
        one.inputs["routeTableId"]: nat_of[one.inputs["natGatewayId"]]
        for one in graph.of(ROUTE)
        if "natGatewayId" in one.inputs
    }
    ways = graph.of("aws:ec2/routeTableAssociation:RouteTableAssociation")
    tables = {one.inputs["subnetId"]: one.inputs["routeTableId"] for one in ways}
    private = subnets(graph, "private").values()
    assert len({tables[one.id] for one in private}) == 3
    for one in private:
        zone = subnet_of[defaults[tables[one.id]].inputs["subnetId"]].inputs["availabilityZone"]
        assert zone == (one.inputs["availabilityZone"] if count > 1 else "eu-west-1a")


def test_the_internet_gateway_goes_after_all_that_has_public_addresses() -> None:
    graph = recorded(egress="nat", public=True)
    gateway = only(graph, GATEWAY)
    address = only(graph, "aws:ec2/eip:Eip")
    for one in [*subnets(graph, "public").values(), only(graph, NAT), address]:
        assert gateway.urn in one.dependencies, one.name
    assert address.urn in only(graph, NAT).dependencies


def test_names_of_endpoints_resolve_in_the_vpc() -> None:
    vpc = only(recorded(), "aws:ec2/vpc:Vpc")
    assert vpc.inputs["enableDnsSupport"] is True
    assert vpc.inputs["enableDnsHostnames"] is True


def test_the_default_security_group_lets_nothing_through() -> None:
    graph = recorded()
    group = only(graph, "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
    assert group.inputs["vpcId"] == only(graph, "aws:ec2/vpc:Vpc").id
    assert group.inputs["ingress"] == group.inputs["egress"] == []


def test_flow_logs_are_kept_for_as_long_as_is_set_and_with_the_key() -> None:
    graph = recorded(flow_log_retention_days=90, kms_key_arn=KEY)
    group = only(graph, "aws:cloudwatch/logGroup:LogGroup")
    assert group.inputs["retentionInDays"] == 90
    assert group.inputs["kmsKeyId"] == KEY
    flows = only(graph, "aws:ec2/flowLog:FlowLog").inputs
    assert flows["trafficType"] == "ALL"
    assert flows["vpcId"] == only(graph, "aws:ec2/vpc:Vpc").id
    assert flows["logDestination"] == group.outputs["arn"]
    assert flows["iamRoleArn"] == only(graph, "aws:iam/role:Role").outputs["arn"]


def test_flow_logs_can_write_their_group_alone_and_not_bring_it_back() -> None:
    graph = recorded()
    trust = statements(only(graph, "aws:iam/role:Role").inputs["assumeRolePolicy"])
    assert [one["Principal"] for one in trust] == [{"Service": "vpc-flow-logs.amazonaws.com"}]
    group = only(graph, "aws:cloudwatch/logGroup:LogGroup")
    given = statements(only(graph, "aws:iam/rolePolicy:RolePolicy").inputs["policy"])
    assert {target for one in given for target in one["Resource"]} == {f"{group.outputs['arn']}:*"}
    assert "logs:CreateLogGroup" not in {action for one in given for action in one["Action"]}


def test_an_existing_vpc_with_a_nat_is_left_alone() -> None:
    seen: list[Network] = []
    graph = recorded(egress="nat", public=True, then=seen.append, **EXISTING)
    assert [one.type for one in graph.resources] == ["mlflow:aws:Network"]
    assert not graph.calls
    network = seen[0]
    assert network.private_subnet_ids == EXISTING["private_subnet_ids"]
    assert network.public_subnet_ids == EXISTING["public_subnet_ids"]
    assert network.private_route_table_ids == EXISTING["private_route_table_ids"]
    assert network.endpoints_security_group_id is None
    outputs = graph.resources[0].outputs
    assert (outputs["vpc_id"], outputs["cidr"]) == (EXISTING["vpc_id"], EXISTING["vpc_cidr"])


def test_an_existing_vpc_with_endpoints_gets_their_security_group_and_nothing_else() -> None:
    graph = recorded(egress="endpoints", **EXISTING)
    assert [one.type for one in graph.resources] == ["mlflow:aws:Network", GROUP, IN]
    assert only(graph, GROUP).inputs["vpcId"] == EXISTING["vpc_id"]
    assert only(graph, IN).inputs["cidrIpv4"] == EXISTING["vpc_cidr"]


def test_endpoints_take_https_from_the_vpc_and_call_nobody() -> None:
    graph = recorded(egress="endpoints")
    rule = only(graph, IN).inputs
    assert (rule["ipProtocol"], rule["fromPort"], rule["toPort"]) == ("tcp", 443, 443)
    assert rule["cidrIpv4"] == only(graph, "aws:ec2/vpc:Vpc").inputs["cidrBlock"]
    assert not graph.of(OUT)
    assert "egress" not in only(graph, GROUP).inputs


def test_with_a_nat_https_goes_anywhere_and_nothing_else_goes_out() -> None:
    rule = only(recorded(egress="nat", then=allow_egress("tasks")), OUT).inputs
    assert (rule["ipProtocol"], rule["fromPort"], rule["toPort"]) == ("tcp", 443, 443)
    assert rule["cidrIpv4"] == "0.0.0.0/0"


def test_without_a_nat_https_goes_to_the_endpoints_and_s3_alone() -> None:
    graph = recorded(egress="endpoints", then=allow_egress("tasks"))
    to_endpoints, to_s3 = (one.inputs for one in graph.of(OUT))
    assert to_endpoints["referencedSecurityGroupId"] == only(graph, GROUP, "proxy-endpoints").id
    assert to_s3["prefixListId"] == mock_outputs.resource_id("pl", "com.amazonaws.eu-west-1.s3")
    for rule in (to_endpoints, to_s3):
        assert (rule["ipProtocol"], rule["fromPort"], rule["toPort"]) == ("tcp", 443, 443)
        assert "cidrIpv4" not in rule


def test_endpoints_that_were_there_can_be_reached_too() -> None:
    graph = recorded(egress="endpoints", existing_endpoints=["sts"], then=allow_egress("tasks"), **EXISTING)
    rule = only(graph, OUT, "proxy-tasks-to-vpc").inputs
    assert (rule["cidrIpv4"], rule["fromPort"], rule["toPort"]) == (EXISTING["vpc_cidr"], 443, 443)


@pytest.mark.parametrize("egress", ["nat", "endpoints"])
def test_two_callers_are_let_out_by_rules_of_their_own(egress: str) -> None:
    graph = recorded(egress=egress, then=allow_egress("tasks", "load-balancer"))
    groups = {one.id: one.name for one in graph.of(GROUP)}
    assert {groups[one.inputs["securityGroupId"]] for one in graph.of(OUT)} == {"tasks-group", "load-balancer-group"}
    assert all(one.inputs["description"] for one in graph.of(OUT))


def test_everything_that_can_be_tagged_is_and_belongs_to_the_box() -> None:
    graph = recorded(egress="nat-per-az", public=True)
    box = only(graph, "mlflow:aws:Network")
    without = {ROUTE, "aws:ec2/routeTableAssociation:RouteTableAssociation", "aws:iam/rolePolicy:RolePolicy"}
    for one in graph.resources:
        if one.urn == box.urn:
            continue
        assert box in list(graph.ancestors(one)), one.name
        assert one.type in without or one.inputs["tags"]["Component"] == "proxy", one.name
