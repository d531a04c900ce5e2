"""Networks, and private services access."""

import ipaddress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...kind import CloudError, Name, Problems, Reference, Values
from ..common import among, between, exactly_one, group, groups, known, matches
from .identity import iam_member
from .project import NAME, PROJECT, in_region, of_google, self_link

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

NETWORK = "gcp:compute/network:Network"
SUBNETWORK = "gcp:compute/subnetwork:Subnetwork"
ROUTER = "gcp:compute/router:Router"
NAT = "gcp:compute/routerNat:RouterNat"
ADDRESS = "gcp:compute/globalAddress:GlobalAddress"
CONNECTION = "gcp:servicenetworking/connection:Connection"
SQL = "gcp:sql/databaseInstance:DatabaseInstance"
BY = ("id", "selfLink", "name")
_NAMED = Name(limit=63, lower=True)
OF_NETWORK = Reference(path="network", kinds=(NETWORK,), by=BY)


def exists_already(existing: "Resource") -> str:
    """Return Google's error for a duplicate name."""
    return f"googleapi: Error 409: The resource '{existing.id}' already exists, alreadyExists"


def _at(path: str, **outputs: object) -> tuple[str, dict[str, object]]:
    resource_id = f"projects/{PROJECT}/{path}"
    return resource_id, {
        "selfLink": self_link("compute", resource_id),
        "creationTimestamp": "2026-01-02T03:04:05.678-08:00",
        **outputs,
    }


def _named(inputs: Values) -> Problems:
    return matches(inputs, "name", NAME)


def same_network(value: Any, other: Any) -> bool:
    """Whether two values refer to the same network."""
    return str(value).rsplit("/", 1)[-1] == str(other).rsplit("/", 1)[-1]


def _subnetwork_problems(inputs: Values) -> Problems:
    """https://cloud.google.com/vpc/docs/subnets#ipv4-ranges."""
    yield from _named(inputs)
    yield from in_region(inputs, "region")
    cidr = known(inputs, "ipCidrRange")
    if cidr is None:
        return
    try:
        network = ipaddress.ip_network(cidr)
    except ValueError as error:
        yield "ipCidrRange", str(error)
        return
    if not 8 <= network.prefixlen <= 29:
        yield "ipCidrRange", f"got /{network.prefixlen}, expected /8 to /29"


def _no_overlap(resource: "Resource", cloud: "Cloud") -> None:
    own_range = ipaddress.ip_network(resource.inputs["ipCidrRange"])
    for other in cloud.of(SUBNETWORK):
        same = same_network(other.inputs["network"], resource.inputs["network"])
        if other.id != resource.id and same and own_range.overlaps(ipaddress.ip_network(other.inputs["ipCidrRange"])):
            raise CloudError(
                f"googleapi: Error 400: Invalid IPCidrRange: {own_range} conflicts with existing subnetwork {other.id}"
            )


def _subnetwork_changed(resource: "Resource", cloud: "Cloud") -> None:
    before = cloud.find(resource.id, (SUBNETWORK,))
    old, new = (ipaddress.ip_network(str(subnetwork.inputs["ipCidrRange"])) for subnetwork in (before, resource))
    # ExpandIpCidrRange: https://cloud.google.com/vpc/docs/create-modify-vpc-networks#expand-subnet
    if old != new and not (new.version == old.version and new.supernet_of(old)):  # pyright: ignore[reportArgumentType]
        raise CloudError(f"googleapi: Error 400: The new IP CIDR range {new} must contain the old one {old}, invalid")
    _no_overlap(resource, cloud)


def _router_problems(inputs: Values) -> Problems:
    yield from _named(inputs)
    yield from in_region(inputs, "region")


def _nat_problems(inputs: Values) -> Problems:
    """https://cloud.google.com/compute/docs/reference/rest/v1/routers#resource:-router, nats[]."""
    yield from _named(inputs)
    yield from in_region(inputs, "region")
    yield from among(inputs, "natIpAllocateOption", ("AUTO_ONLY", "MANUAL_ONLY"))
    if known(inputs, "natIpAllocateOption") == "AUTO_ONLY" and inputs.get("natIps"):
        yield "natIps", "only with MANUAL_ONLY"
    ranges = known(inputs, "sourceSubnetworkIpRangesToNat")
    options = ("ALL_SUBNETWORKS_ALL_IP_RANGES", "ALL_SUBNETWORKS_ALL_PRIMARY_IP_RANGES", "LIST_OF_SUBNETWORKS")
    yield from among(inputs, "sourceSubnetworkIpRangesToNat", options)
    if (ranges == "LIST_OF_SUBNETWORKS") != bool(inputs.get("subnetworks")):
        yield "subnetworks", "required with LIST_OF_SUBNETWORKS, and allowed with it only"
    log = group(inputs, "logConfig")
    if log:
        yield from among(log, "filter", ("ERRORS_ONLY", "TRANSLATIONS_ONLY", "ALL"))


def _firewall_problems(inputs: Values) -> Problems:
    yield from _named(inputs)
    yield from exactly_one(inputs, "allows", "denies")
    yield from between(inputs, "priority", 0, 65535)
    yield from among(inputs, "direction", ("INGRESS", "EGRESS"))
    ingress = known(inputs, "direction") != "EGRESS"
    if ingress and not any(inputs.get(field) for field in ("sourceRanges", "sourceTags", "sourceServiceAccounts")):
        yield "sourceRanges", "one of source_tags, source_ranges, or source_service_accounts must be defined"
    if not ingress and inputs.get("sourceRanges"):
        yield "sourceRanges", "only for INGRESS"
    if ingress and inputs.get("destinationRanges") and not inputs.get("sourceRanges"):
        yield "destinationRanges", "only for EGRESS"
    for field in ("sourceRanges", "destinationRanges"):
        ranges: list[str] = known(inputs, field) or []
        for text in ranges:
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                yield field, str(error)
    for field in ("allows", "denies"):
        for rule in groups(inputs, field):
            if rule.get("ports") and known(rule, "protocol") not in ("tcp", "udp", "sctp", "6", "17", "132", None):
                yield f"{field}.ports", f"the protocol {rule['protocol']} has no ports"


def _address_problems(inputs: Values) -> Problems:
    yield from _named(inputs)
    yield from among(inputs, "addressType", ("EXTERNAL", "INTERNAL"))
    yield from among(inputs, "purpose", ("VPC_PEERING", "PRIVATE_SERVICE_CONNECT"))
    if known(inputs, "addressType") == "INTERNAL" and not inputs.get("network"):
        yield "network", "required for an internal address"
    if known(inputs, "purpose") == "VPC_PEERING" and inputs.get("prefixLength") is None:
        yield "prefixLength", "required for a peering range"
    yield from between(inputs, "prefixLength", 8, 29)


def _one_for_each_network(resource: "Resource", cloud: "Cloud") -> None:
    for other in cloud.of(CONNECTION):
        if other is not resource and same_network(other.inputs["network"], resource.inputs["network"]):
            raise CloudError(
                "googleapi: Error 400: Cannot modify allocated ranges in CreateConnection. Please use Update"
            )
    for name in resource.inputs["reservedPeeringRanges"]:
        ranges = [address for address in cloud.of(ADDRESS) if address.inputs["name"] == name]
        if not any(address.inputs.get("purpose") == "VPC_PEERING" for address in ranges) and name not in cloud.existing:
            raise CloudError(f"googleapi: Error 400: {name} is no range for peering.")


def _connection_free(resource: "Resource", cloud: "Cloud") -> None:
    network = str(resource.inputs["network"]).rsplit("/", 1)[-1]
    user = next(
        (
            instance
            for instance in cloud.of(SQL)
            if same_network(_private_network(instance), network) and instance.inputs["settings"].get("ipConfiguration")
        ),
        None,
    )
    if resource.inputs.get("deletionPolicy") == "REMOVE_PEERING":
        # Google allows it, but clients of the instance lose their connection.
        if user is not None:
            raise CloudError(f"the peering of {network} is removed while {user} is reached through it")
    # A deleted instance blocks the connection for days: documentation of the class, "Deleting a connection".
    elif user is not None or ("peering", network) in cloud.reserved:
        raise CloudError(
            "Unable to remove Service Networking Connection, err: Error waiting for Delete Service Networking "
            "Connection: Error code 9, message: Failed to delete connection; Producer services (e.g. CloudSQL, Cloud "
            "Memstore, etc.) are still using this connection."
        )


def _private_network(instance: "Resource") -> Any:
    return group(group(instance.inputs, "settings"), "ipConfiguration").get("privateNetwork")


KINDS = (
    of_google(
        NETWORK,
        "compute",
        lambda request: _at(
            f"global/networks/{request.inputs['name']}",
            networkId=str(request.cloud.next_number()),
            numericId="1",
            gatewayIpv4="",
        ),
        name=_NAMED,
        check=_named,
        lost_on_timeout=True,
        conflict=exists_already,
    ),
    of_google(
        SUBNETWORK,
        "compute",
        lambda request: _at(
            f"regions/{request.inputs['region']}/subnetworks/{request.inputs['name']}",
            gatewayAddress=str(next(ipaddress.ip_network(request.inputs["ipCidrRange"]).hosts())),
            subnetworkId=request.cloud.next_number(),
        ),
        name=_NAMED,
        references=(OF_NETWORK,),
        check=_subnetwork_problems,
        on_create=_no_overlap,
        on_update=_subnetwork_changed,
        lost_on_timeout=True,
        conflict=exists_already,
    ),
    of_google(
        "gcp:compute/firewall:Firewall",
        "compute",
        lambda request: _at(f"global/firewalls/{request.inputs['name']}"),
        name=Name(),
        references=(OF_NETWORK,),
        check=_firewall_problems,
        lost_on_timeout=True,
        conflict=exists_already,
    ),
    of_google(
        ROUTER,
        "compute",
        lambda request: _at(f"regions/{request.inputs['region']}/routers/{request.inputs['name']}"),
        name=_NAMED,
        references=(OF_NETWORK,),
        check=_router_problems,
        lost_on_timeout=True,
        conflict=exists_already,
    ),
    of_google(
        NAT,
        "compute",
        lambda request: (
            f"{PROJECT}/{request.inputs['region']}/{request.inputs['router']}/{request.inputs['name']}",
            {"endpointTypes": ["ENDPOINT_TYPE_VM"], "type": "PUBLIC"},
        ),
        name=_NAMED,
        references=(
            Reference(path="router", kinds=(ROUTER,), by=("name",)),
            Reference(path="subnetworks[*].name", kinds=(SUBNETWORK,), by=BY),
        ),
        check=_nat_problems,
        lost_on_timeout=True,
        conflict=exists_already,
    ),
    of_google(
        ADDRESS,
        "compute",
        lambda request: _at(
            f"global/addresses/{request.inputs['name']}", address="10.99.0.0", labelFingerprint="42WmSpB8rSM="
        ),
        name=Name(),
        references=(OF_NETWORK,),
        check=_address_problems,
        lost_on_timeout=True,
        conflict=exists_already,
    ),
    of_google(
        CONNECTION,
        "servicenetworking",
        lambda request: (
            f"{quote(str(request.inputs['network']), safe='')}:{request.inputs['service']}",
            {"peering": str(request.inputs["service"]).replace(".", "-")},
        ),
        references=(OF_NETWORK, Reference(path="reservedPeeringRanges[*]", kinds=(ADDRESS,), by=("name",))),
        check=lambda inputs: among(inputs, "deletionPolicy", ("DELETE", "ABANDON", "PREVENT", "REMOVE_PEERING")),
        on_create=_one_for_each_network,
        on_delete=_connection_free,
    ),
    iam_member(
        "gcp:compute/subnetworkIAMMember:SubnetworkIAMMember",
        "compute",
        lambda inputs: (
            f"projects/{PROJECT}/regions/{inputs.get('region')}/subnetworks/"
            + str(inputs["subnetwork"]).rsplit("/", 1)[-1]
        ),
        Reference(path="subnetwork", kinds=(SUBNETWORK,), by=BY, blocks_delete=False, deleted_with=True),
    ),
)
