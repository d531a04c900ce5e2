"""The VPC network and private services access."""

import ipaddress
from typing import Any

import pulumi
import pytest

from components.gcp.data_settings import NetworkSettings
from components.gcp.network import Network
from preview.graph import Graph
from preview.recorder import record

from .helpers import PROJECT, REGION, make_deployment, only

VPC = "gcp:compute/network:Network"
SUBNETWORK = "gcp:compute/subnetwork:Subnetwork"
FIREWALL = "gcp:compute/firewall:Firewall"
ADDRESS_RANGE = "gcp:compute/globalAddress:GlobalAddress"
ROUTER = "gcp:compute/router:Router"
NAT = "gcp:compute/routerNat:RouterNat"
CONNECTION = "gcp:servicenetworking/connection:Connection"


def record_network(*, private: bool = True, location: str = "europe-west", **args: Any) -> tuple[Graph, dict[str, Any]]:
    """(graph, the component's outputs)."""
    outputs: dict[str, Any] = {}

    def program() -> None:
        network = Network(make_deployment(), NetworkSettings(**args), private_ip=private, location=location)
        outputs.update(region=network.region, created=network.created, retained=network.retained_on_destroy)
        component_outputs = {
            "network": network.network,
            "subnetwork": network.subnetwork,
            "network_id": network.network_id,
        }
        connection = None if network.connection is None else network.connection.urn
        pulumi.Output.all(**component_outputs, connection=connection).apply(outputs.update)

    return record(program), outputs


def test_public_database_creates_no_network() -> None:
    graph, outputs = record_network(private=False)
    assert {resource.type for resource in graph.resources} == {"mlflow:gcp:Network"}
    assert (outputs["network"], outputs["subnetwork"], outputs["connection"], outputs["created"]) == (
        None,
        None,
        None,
        False,
    )
    assert not outputs["retained"]


def test_private_database_creates_a_network() -> None:
    graph, outputs = record_network()
    assert only(graph, VPC).inputs["autoCreateSubnetworks"] is False
    subnetwork = only(graph, SUBNETWORK)
    assert subnetwork.inputs["network"] == only(graph, VPC).id
    assert subnetwork.inputs["region"] == outputs["region"] == REGION
    assert subnetwork.inputs["privateIpGoogleAccess"] is True
    assert subnetwork.inputs["logConfig"]["flowSampling"] > 0
    assert outputs["created"]
    assert not outputs["retained"]


def test_outputs_are_the_short_names_and_the_network_id() -> None:
    graph, outputs = record_network()
    assert (outputs["network"], outputs["subnetwork"]) == ("mlflow-network", "mlflow-network")
    assert outputs["network_id"] == only(graph, VPC).id == f"projects/{PROJECT}/global/networks/mlflow-network"


def test_subnetwork_has_the_configured_cidr() -> None:
    graph, _ = record_network(cidr="192.168.0.0/20")
    assert only(graph, SUBNETWORK).inputs["ipCidrRange"] == "192.168.0.0/20"


@pytest.mark.parametrize("private", [False, True])
def test_instances_without_external_addresses_have_nat_in_a_new_network(private: bool) -> None:
    graph, outputs = record_network(private=private, instance_ip="internal")
    router, nat = only(graph, ROUTER), only(graph, NAT)
    assert router.inputs["network"] == only(graph, VPC).id
    assert nat.inputs["router"] == router.inputs.get("name", "mlflow-nat")
    assert router.inputs["region"] == nat.inputs["region"] == outputs["region"]
    # Google's APIs are reached without NAT.
    assert only(graph, SUBNETWORK).inputs["privateIpGoogleAccess"] is True
    assert nat.inputs["sourceSubnetworkIpRangesToNat"] == "LIST_OF_SUBNETWORKS"
    assert [entry["sourceIpRangesToNats"] for entry in nat.inputs["subnetworks"]] == [["ALL_IP_RANGES"]]
    assert (outputs["connection"] is None) != private


def test_instances_with_external_addresses_have_no_nat() -> None:
    graph, _ = record_network(instance_ip="external")
    assert graph.of(ROUTER) == graph.of(NAT) == []


def test_existing_network_gets_no_nat() -> None:
    graph, _ = record_network(instance_ip="internal", vpc_name="corp", subnetwork="corp-ew1")
    assert graph.of(ROUTER) == graph.of(NAT) == []


def test_shared_vpc_is_named_with_its_host_project() -> None:
    graph, outputs = record_network(
        instance_ip="internal", host_project="network-team-1", vpc_name="corp", subnetwork="corp-ew1", peered=True
    )
    name = "projects/network-team-1/global/networks/corp"
    assert (outputs["network"], outputs["network_id"], outputs["subnetwork"]) == (name, name, "corp-ew1")
    assert {resource.type for resource in graph.resources} == {"mlflow:gcp:Network"}


def test_firewall_allows_google_front_end_only() -> None:
    graph, _ = record_network()
    rules = graph.of(FIREWALL)
    assert {source for rule in rules for source in rule.inputs["sourceRanges"]} == {"35.191.0.0/16", "130.211.0.0/22"}
    assert {rule.inputs["direction"] for rule in rules} == {"INGRESS"}
    ports = [port for rule in rules for allowed in rule.inputs["allows"] for port in allowed["ports"]]
    # SSH (22) is not allowed.
    assert set(ports) == {"8443", "10402"}
    # A target tag needs a tag of the instances, which have a common tag in a Shared VPC only.
    assert not any(rule.inputs.get("targetTags") for rule in rules)


def test_connection_depends_on_its_address_range() -> None:
    graph, outputs = record_network()
    connection, address_range = only(graph, CONNECTION), only(graph, ADDRESS_RANGE)
    assert outputs["connection"] == connection.urn
    assert connection.inputs["reservedPeeringRanges"] == [address_range.outputs["name"]]
    assert address_range.urn in connection.property_dependencies["reservedPeeringRanges"]
    assert only(graph, VPC).urn in connection.property_dependencies["network"]
    assert (address_range.inputs["purpose"], address_range.inputs["addressType"]) == ("VPC_PEERING", "INTERNAL")
    # Cloud SQL needs at least a /24.
    assert address_range.inputs["prefixLength"] <= 24


def test_created_network_is_deleted_with_its_peering() -> None:
    graph, _ = record_network()
    assert only(graph, CONNECTION).inputs["deletionPolicy"] == "REMOVE_PEERING"
    assert not any(resource.retain_on_delete for resource in graph.resources)


@pytest.mark.parametrize("private", [True, False])
def test_existing_network_gets_no_subnetwork_and_no_firewall(private: bool) -> None:
    graph, outputs = record_network(private=private, vpc_name="shared", subnetwork="apps")
    assert {resource.type for resource in graph.resources} - {"mlflow:gcp:Network"} == (
        {ADDRESS_RANGE, CONNECTION} if private else set()
    )
    assert (outputs["network"], outputs["subnetwork"]) == ("shared", "apps")
    assert outputs["network_id"] == f"projects/{PROJECT}/global/networks/shared"
    assert not outputs["created"]


def test_connection_of_an_existing_network_is_retained() -> None:
    graph, outputs = record_network(vpc_name="shared")
    assert only(graph, CONNECTION).inputs["deletionPolicy"] == "ABANDON"
    assert only(graph, ADDRESS_RANGE).retain_on_delete
    (line,) = outputs["retained"]
    assert "VPC shared" in line


def test_peered_network_gets_no_connection() -> None:
    graph, outputs = record_network(vpc_name="shared", peered=True)
    assert {resource.type for resource in graph.resources} == {"mlflow:gcp:Network"}
    assert outputs["connection"] is None
    assert not outputs["retained"]


@pytest.mark.parametrize(
    ("location", "region"), [("europe-west", "europe-west1"), ("us-central", "us-central1"), ("us-east4", "us-east4")]
)
def test_existing_subnetwork_is_in_app_engines_region(location: str, region: str) -> None:
    assert record_network(vpc_name="shared", subnetwork="apps", location=location)[1]["region"] == region


def test_default_cidr_does_not_overlap_auto_mode_ranges() -> None:
    # https://cloud.google.com/vpc/docs/subnets#ip-ranges: subnetworks of auto mode.
    assert not ipaddress.ip_network(NetworkSettings().cidr).overlaps(ipaddress.ip_network("10.128.0.0/9"))


def test_resources_have_the_project() -> None:
    graph, _ = record_network()
    # The network's ID in a connection has the project.
    assert {
        resource.type for resource in graph.resources if resource.custom and resource.inputs.get("project") != PROJECT
    } == {CONNECTION}
