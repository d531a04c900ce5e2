"""The VPC: subnets, routes, NAT gateways, security group rules, flow logs, and existing VPCs."""

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
INTERNET_GATEWAY = "aws:ec2/internetGateway:InternetGateway"
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


def record_network(
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
    return {resource.name: resource for resource in graph.of(SUBNET) if resource.name.startswith(f"proxy-{kind}-")}


def allow_egress(*roles: str) -> Callable[[Network], None]:
    def then(network: Network) -> None:
        for role in roles:
            group = aws.ec2.SecurityGroup(f"{role}-group")
            network.allow_egress(make_deployment(), role, group.id, network)

    return then


def test_more_zones_do_not_change_existing_subnets() -> None:
    two, three, four = (record_network(az_count=zones, egress="nat-per-az", public=True) for zones in (2, 3, 4))
    for fewer, more in ((two, three), (three, four)):
        after = {resource.name: resource.inputs for resource in more.of(SUBNET)}
        assert len(after) > len(fewer.of(SUBNET))
        for resource in fewer.of(SUBNET):
            assert after[resource.name] == resource.inputs


@pytest.mark.parametrize("cidr", ["10.42.0.0/16", "192.168.4.0/22", "172.16.0.0/20"])
def test_subnet_ranges_are_in_the_vpc_and_do_not_overlap(cidr: str) -> None:
    private, public = ranges(cidr)
    networks = [ipaddress.ip_network(network) for network in [*private, *public]]
    vpc = ipaddress.IPv4Network(cidr)
    assert len(networks) == 8
    assert all(vpc.supernet_of(ipaddress.IPv4Network(network)) for network in [*private, *public])
    assert not any(network.overlaps(other) for network in networks for other in networks if network is not other)


def test_subnets_of_the_smallest_vpc_are_large_enough() -> None:
    private, public = ranges("192.168.4.0/22")
    # AWS reserves five addresses of each subnet; a load balancer needs a /27 and eight free addresses.
    assert all(ipaddress.ip_network(cidr).num_addresses - 5 >= 120 for cidr in private)
    assert all(ipaddress.ip_network(cidr).prefixlen <= 27 for cidr in public)


def test_zones_are_available_and_need_no_opt_in() -> None:
    graph = record_network()
    args = next(call for call in graph.calls if call.token.endswith("getAvailabilityZones")).args
    assert args["state"] == "available"
    assert {item["name"]: item["values"] for item in args["filters"]} == {
        "opt-in-status": ["opt-in-not-required"],
        "zone-type": ["availability-zone"],
    }


def test_subnets_ignore_changes_of_the_availability_zone() -> None:
    graph = record_network(egress="nat-per-az")
    assert len(graph.of(SUBNET)) == 4
    assert all(resource.ignore_changes == ("availabilityZone",) for resource in graph.of(SUBNET))


def test_each_zone_has_one_private_subnet() -> None:
    zones = [
        resource.inputs["availabilityZone"] for resource in subnets(record_network(az_count=3), "private").values()
    ]
    assert zones == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]


def test_more_zones_than_the_region_has_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mock_outputs, "ZONES", ["eu-west-1a", "eu-west-1b"])
    with pytest.raises(
        pulumi.RunError, match=r"network\.azCount: got 3, expected at most 2 in this region: eu-west-1a, eu-west-1b"
    ):
        record_network(az_count=3)


def test_subnets_assign_no_public_ipv4_and_no_ipv6_addresses() -> None:
    graph = record_network(egress="nat", public=True)
    assert graph.of(SUBNET)
    assert all(resource.inputs["mapPublicIpOnLaunch"] is False for resource in graph.of(SUBNET))
    assert not any("ipv6" in name.lower() for resource in graph.resources for name in resource.inputs)


def test_egress_endpoints_creates_no_route_to_the_internet() -> None:
    graph = record_network(egress="endpoints")
    assert len(subnets(graph, "private")) == len(graph.of(SUBNET)) == 2
    for kind in (NAT, INTERNET_GATEWAY, ROUTE, "aws:ec2/eip:Eip"):
        assert not graph.of(kind), kind


def test_public_load_balancer_adds_a_default_route_to_public_subnets_only() -> None:
    graph = record_network(egress="endpoints", public=True)
    assert len(subnets(graph, "public")) == 2
    assert not graph.of(NAT)
    assert [resource.name for resource in graph.of(ROUTE)] == ["proxy-public"]


def test_internal_load_balancer_adds_no_public_subnet_to_that_of_the_nat() -> None:
    assert list(subnets(record_network(egress="nat", az_count=3), "public")) == ["proxy-public-1"]


@pytest.mark.parametrize(("egress", "count"), [("nat", 1), ("nat-per-az", 3)])
def test_private_subnets_route_to_the_nat_of_their_zone_or_to_the_only_nat(egress: str, count: int) -> None:
    graph = record_network(egress=egress, az_count=3)
    assert len(graph.of(NAT)) == count
    nat_of = {resource.id: resource for resource in graph.of(NAT)}
    subnet_of = {resource.id: resource for resource in graph.of(SUBNET)}
    defaults = {
        resource.inputs["routeTableId"]: nat_of[resource.inputs["natGatewayId"]]
        for resource in graph.of(ROUTE)
        if "natGatewayId" in resource.inputs
    }
    associations = graph.of("aws:ec2/routeTableAssociation:RouteTableAssociation")
    tables = {resource.inputs["subnetId"]: resource.inputs["routeTableId"] for resource in associations}
    private = subnets(graph, "private").values()
    assert len({tables[resource.id] for resource in private}) == 3
    for resource in private:
        zone = subnet_of[defaults[tables[resource.id]].inputs["subnetId"]].inputs["availabilityZone"]
        assert zone == (resource.inputs["availabilityZone"] if count > 1 else "eu-west-1a")


def test_public_subnets_addresses_and_nats_depend_on_the_internet_gateway() -> None:
    graph = record_network(egress="nat", public=True)
    gateway = only(graph, INTERNET_GATEWAY)
    address = only(graph, "aws:ec2/eip:Eip")
    for resource in [*subnets(graph, "public").values(), only(graph, NAT), address]:
        assert gateway.urn in resource.dependencies, resource.name
    assert address.urn in only(graph, NAT).dependencies


def test_dns_support_and_hostnames_are_enabled() -> None:
    vpc = only(record_network(), "aws:ec2/vpc:Vpc")
    assert vpc.inputs["enableDnsSupport"] is True
    assert vpc.inputs["enableDnsHostnames"] is True


def test_default_security_group_has_no_rules() -> None:
    graph = record_network()
    group = only(graph, "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
    assert group.inputs["vpcId"] == only(graph, "aws:ec2/vpc:Vpc").id
    assert group.inputs["ingress"] == group.inputs["egress"] == []


def test_flow_logs_have_the_retention_and_the_customer_key() -> None:
    graph = record_network(flow_log_retention_days=90, kms_key_arn=KEY)
    group = only(graph, "aws:cloudwatch/logGroup:LogGroup")
    assert group.inputs["retentionInDays"] == 90
    assert group.inputs["kmsKeyId"] == KEY
    flow_log = only(graph, "aws:ec2/flowLog:FlowLog").inputs
    assert flow_log["trafficType"] == "ALL"
    assert flow_log["vpcId"] == only(graph, "aws:ec2/vpc:Vpc").id
    assert flow_log["logDestination"] == group.outputs["arn"]
    assert flow_log["iamRoleArn"] == only(graph, "aws:iam/role:Role").outputs["arn"]


def test_flow_log_role_writes_its_log_group_only_and_cannot_create_it() -> None:
    graph = record_network()
    trust = statements(only(graph, "aws:iam/role:Role").inputs["assumeRolePolicy"])
    assert [statement["Principal"] for statement in trust] == [{"Service": "vpc-flow-logs.amazonaws.com"}]
    group = only(graph, "aws:cloudwatch/logGroup:LogGroup")
    granted = statements(only(graph, "aws:iam/rolePolicy:RolePolicy").inputs["policy"])
    assert {target for statement in granted for target in statement["Resource"]} == {f"{group.outputs['arn']}:*"}
    assert "logs:CreateLogGroup" not in {action for statement in granted for action in statement["Action"]}


def test_existing_vpc_with_a_nat_gets_no_resources() -> None:
    networks: list[Network] = []
    graph = record_network(egress="nat", public=True, then=networks.append, **EXISTING)
    assert [resource.type for resource in graph.resources] == ["mlflow:aws:Network"]
    assert not graph.calls
    network = networks[0]
    assert network.private_subnet_ids == EXISTING["private_subnet_ids"]
    assert network.public_subnet_ids == EXISTING["public_subnet_ids"]
    assert network.private_route_table_ids == EXISTING["private_route_table_ids"]
    assert network.endpoints_security_group_id is None
    outputs = graph.resources[0].outputs
    assert (outputs["vpc_id"], outputs["cidr"]) == (EXISTING["vpc_id"], EXISTING["vpc_cidr"])


def test_existing_vpc_with_endpoints_gets_their_security_group_only() -> None:
    graph = record_network(egress="endpoints", **EXISTING)
    assert [resource.type for resource in graph.resources] == ["mlflow:aws:Network", GROUP, IN]
    assert only(graph, GROUP).inputs["vpcId"] == EXISTING["vpc_id"]
    assert only(graph, IN).inputs["cidrIpv4"] == EXISTING["vpc_cidr"]


def test_endpoints_accept_https_from_the_vpc_and_have_no_egress() -> None:
    graph = record_network(egress="endpoints")
    rule = only(graph, IN).inputs
    assert (rule["ipProtocol"], rule["fromPort"], rule["toPort"]) == ("tcp", 443, 443)
    assert rule["cidrIpv4"] == only(graph, "aws:ec2/vpc:Vpc").inputs["cidrBlock"]
    assert not graph.of(OUT)
    assert "egress" not in only(graph, GROUP).inputs


def test_with_a_nat_egress_is_https_to_any_address() -> None:
    rule = only(record_network(egress="nat", then=allow_egress("tasks")), OUT).inputs
    assert (rule["ipProtocol"], rule["fromPort"], rule["toPort"]) == ("tcp", 443, 443)
    assert rule["cidrIpv4"] == "0.0.0.0/0"


def test_without_a_nat_egress_is_https_to_endpoints_and_s3() -> None:
    graph = record_network(egress="endpoints", then=allow_egress("tasks"))
    to_endpoints, to_s3 = (resource.inputs for resource in graph.of(OUT))
    assert to_endpoints["referencedSecurityGroupId"] == only(graph, GROUP, "proxy-endpoints").id
    assert to_s3["prefixListId"] == mock_outputs.resource_id("pl", "com.amazonaws.eu-west-1.s3")
    for rule in (to_endpoints, to_s3):
        assert (rule["ipProtocol"], rule["fromPort"], rule["toPort"]) == ("tcp", 443, 443)
        assert "cidrIpv4" not in rule


def test_existing_endpoints_add_https_egress_to_the_vpc() -> None:
    graph = record_network(egress="endpoints", existing_endpoints=["sts"], then=allow_egress("tasks"), **EXISTING)
    rule = only(graph, OUT, "proxy-tasks-to-vpc").inputs
    assert (rule["cidrIpv4"], rule["fromPort"], rule["toPort"]) == (EXISTING["vpc_cidr"], 443, 443)


@pytest.mark.parametrize("egress", ["nat", "endpoints"])
def test_each_security_group_gets_its_own_egress_rules(egress: str) -> None:
    graph = record_network(egress=egress, then=allow_egress("tasks", "load-balancer"))
    groups = {resource.id: resource.name for resource in graph.of(GROUP)}
    assert {groups[resource.inputs["securityGroupId"]] for resource in graph.of(OUT)} == {
        "tasks-group",
        "load-balancer-group",
    }
    assert all(resource.inputs["description"] for resource in graph.of(OUT))


def test_resources_are_tagged_descendants_of_the_network_component() -> None:
    graph = record_network(egress="nat-per-az", public=True)
    component = only(graph, "mlflow:aws:Network")
    untaggable = {ROUTE, "aws:ec2/routeTableAssociation:RouteTableAssociation", "aws:iam/rolePolicy:RolePolicy"}
    for resource in graph.resources:
        if resource.urn == component.urn:
            continue
        assert component in list(graph.ancestors(resource)), resource.name
        assert resource.type in untaggable or resource.inputs["tags"]["Component"] == "proxy", resource.name
