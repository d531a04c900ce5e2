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
ADDRESSES = "gcp:compute/globalAddress:GlobalAddress"
CONNECTION = "gcp:servicenetworking/connection:Connection"


def recorded(*, private: bool = True, location: str = "europe-west", **args: Any) -> tuple[Graph, dict[str, Any]]:
    """(graph, the component's outputs)."""
    seen: dict[str, Any] = {}

    def program() -> None:
        box = Network(make_deployment(), NetworkSettings(**args), private_ip=private, location=location)
        seen.update(region=box.region, created=box.created, retained=box.retained_on_destroy)
        outputs = {"network": box.network, "subnetwork": box.subnetwork, "network_id": box.network_id}
        connection = None if box.connection is None else box.connection.urn
        pulumi.Output.all(**outputs, connection=connection).apply(seen.update)

    return record(program), seen


def test_public_database_creates_no_network() -> None:
    graph, seen = recorded(private=False)
    assert {one.type for one in graph.resources} == {"mlflow:gcp:Network"}
    assert (seen["network"], seen["subnetwork"], seen["connection"], seen["created"]) == (None, None, None, False)
    assert not seen["retained"]


def test_private_database_creates_a_network() -> None:
    graph, seen = recorded()
    assert only(graph, VPC).inputs["autoCreateSubnetworks"] is False
    subnetwork = only(graph, SUBNETWORK)
    assert subnetwork.inputs["network"] == only(graph, VPC).id
    assert subnetwork.inputs["region"] == seen["region"] == REGION
    assert subnetwork.inputs["privateIpGoogleAccess"] is True
    assert subnetwork.inputs["logConfig"]["flowSampling"] > 0
    assert seen["created"]
    assert not seen["retained"]


def test_outputs_have_short_names_and_the_network_id() -> None:
    graph, seen = recorded()
    assert (seen["network"], seen["subnetwork"]) == ("mlflow-network", "mlflow-network")
    assert seen["network_id"] == only(graph, VPC).id == f"projects/{PROJECT}/global/networks/mlflow-network"


def test_subnetwork_has_the_configured_cidr() -> None:
    graph, _ = recorded(cidr="192.168.0.0/20")
    assert only(graph, SUBNETWORK).inputs["ipCidrRange"] == "192.168.0.0/20"


def test_firewall_allows_google_front_end_only() -> None:
    graph, _ = recorded()
    rules = graph.of(FIREWALL)
    assert {source for rule in rules for source in rule.inputs["sourceRanges"]} == {"35.191.0.0/16", "130.211.0.0/22"}
    assert {rule.inputs["direction"] for rule in rules} == {"INGRESS"}
    ports = [port for rule in rules for allowed in rule.inputs["allows"] for port in allowed["ports"]]
    # Without SSH (22).
    assert set(ports) == {"8443", "10402"}
    # Instances have a common tag in a Shared VPC only.
    assert not any(rule.inputs.get("targetTags") for rule in rules)


def test_connection_depends_on_its_address_range() -> None:
    graph, seen = recorded()
    connection, addresses = only(graph, CONNECTION), only(graph, ADDRESSES)
    assert seen["connection"] == connection.urn
    assert connection.inputs["reservedPeeringRanges"] == [addresses.outputs["name"]]
    assert addresses.urn in connection.property_dependencies["reservedPeeringRanges"]
    assert only(graph, VPC).urn in connection.property_dependencies["network"]
    assert (addresses.inputs["purpose"], addresses.inputs["addressType"]) == ("VPC_PEERING", "INTERNAL")
    # Cloud SQL needs at least a /24.
    assert addresses.inputs["prefixLength"] <= 24


def test_created_network_is_deleted_with_its_peering() -> None:
    graph, _ = recorded()
    assert only(graph, CONNECTION).inputs["deletionPolicy"] == "REMOVE_PEERING"
    assert not any(one.retain_on_delete for one in graph.resources)


@pytest.mark.parametrize("private", [True, False])
def test_existing_network_gets_no_subnetwork_and_no_firewall(private: bool) -> None:
    graph, seen = recorded(private=private, vpc_name="shared", subnetwork="apps")
    assert {one.type for one in graph.resources} - {"mlflow:gcp:Network"} == (
        {ADDRESSES, CONNECTION} if private else set()
    )
    assert (seen["network"], seen["subnetwork"]) == ("shared", "apps")
    assert seen["network_id"] == f"projects/{PROJECT}/global/networks/shared"
    assert not seen["created"]


def test_connection_of_an_existing_network_is_retained() -> None:
    graph, seen = recorded(vpc_name="shared")
    assert only(graph, CONNECTION).inputs["deletionPolicy"] == "ABANDON"
    assert only(graph, ADDRESSES).retain_on_delete
    (kept,) = seen["retained"]
    assert "VPC shared" in kept


def test_peered_network_gets_no_connection() -> None:
    graph, seen = recorded(vpc_name="shared", peered=True)
    assert {one.type for one in graph.resources} == {"mlflow:gcp:Network"}
    assert seen["connection"] is None
    assert not seen["retained"]


@pytest.mark.parametrize(
    ("location", "region"), [("europe-west", "europe-west1"), ("us-central", "us-central1"), ("us-east4", "us-east4")]
)
def test_existing_subnetwork_is_in_app_engines_region(location: str, region: str) -> None:
    assert recorded(vpc_name="shared", subnetwork="apps", location=location)[1]["region"] == region


def test_default_cidr_does_not_overlap_auto_mode_ranges() -> None:
    # https://cloud.google.com/vpc/docs/subnets#ip-ranges: subnetworks of auto mode.
    assert not ipaddress.ip_network(NetworkSettings().cidr).overlaps(ipaddress.ip_network("10.128.0.0/9"))


def test_resources_name_the_project() -> None:
    graph, _ = recorded()
    # A connection has its project in the network's ID.
    assert {one.type for one in graph.resources if one.custom and one.inputs.get("project") != PROJECT} == {CONNECTION}
