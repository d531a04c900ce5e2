"""Networks, and the private way to Google's services (private services access)."""

import ipaddress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...kind import Name, Problems, Refers, RefusedError, Values
from ..common import among, between, exactly_one, group, groups, known, matches
from .identity import iam_member
from .project import NAME, PROJECT, in_region, of_google, self_link

if TYPE_CHECKING:
    from ...cloud import Cloud, Thing

NETWORK = "gcp:compute/network:Network"
SUBNETWORK = "gcp:compute/subnetwork:Subnetwork"
ADDRESS = "gcp:compute/globalAddress:GlobalAddress"
CONNECTION = "gcp:servicenetworking/connection:Connection"
SQL = "gcp:sql/databaseInstance:DatabaseInstance"
BY = ("id", "selfLink", "name")
_NAMED = Name(limit=63, lower=True)
OF_NETWORK = Refers(path="network", kinds=(NETWORK,), by=BY)


def exists_already(there: "Thing") -> str:
    return f"googleapi: Error 409: The resource '{there.id}' already exists, alreadyExists"


def _at(path: str, **more: object) -> tuple[str, dict[str, object]]:
    made = f"projects/{PROJECT}/{path}"
    return made, {"selfLink": self_link("compute", made), "creationTimestamp": "2026-01-02T03:04:05.678-08:00", **more}


def _named(inputs: Values) -> Problems:
    return matches(inputs, "name", NAME)


def same_network(one: Any, other: Any) -> bool:
    return str(one).rsplit("/", 1)[-1] == str(other).rsplit("/", 1)[-1]


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
        yield "ipCidrRange", f"/{network.prefixlen} is given; allowed is /8 to /29"


def _no_overlap(thing: "Thing", cloud: "Cloud") -> None:
    ours = ipaddress.ip_network(thing.inputs["ipCidrRange"])
    for other in cloud.of(SUBNETWORK):
        same = same_network(other.inputs["network"], thing.inputs["network"])
        if other.id != thing.id and same and ours.overlaps(ipaddress.ip_network(other.inputs["ipCidrRange"])):
            raise RefusedError(
                f"googleapi: Error 400: Invalid IPCidrRange: {ours} conflicts with existing subnetwork {other.id}"
            )


def _subnetwork_changed(thing: "Thing", cloud: "Cloud") -> None:
    before = cloud.named(thing.id, (SUBNETWORK,))
    old, new = (ipaddress.ip_network(str(one.inputs["ipCidrRange"])) for one in (before, thing))
    # ExpandIpCidrRange: https://cloud.google.com/vpc/docs/create-modify-vpc-networks#expand-subnet
    if old != new and not (new.version == old.version and new.supernet_of(old)):  # pyright: ignore[reportArgumentType]
        raise RefusedError(f"googleapi: Error 400: The new IP CIDR range {new} must contain the old one {old}, invalid")
    _no_overlap(thing, cloud)


def _firewall_problems(inputs: Values) -> Problems:
    yield from _named(inputs)
    yield from exactly_one(inputs, "allows", "denies")
    yield from between(inputs, "priority", 0, 65535)
    yield from among(inputs, "direction", ("INGRESS", "EGRESS"))
    ingress = known(inputs, "direction") != "EGRESS"
    if ingress and not any(inputs.get(field) for field in ("sourceRanges", "sourceTags", "sourceServiceAccounts")):
        yield "sourceRanges", "one of source_tags, source_ranges, or source_service_accounts must be defined"
    if not ingress and inputs.get("sourceRanges"):
        yield "sourceRanges", "they are for INGRESS"
    if ingress and inputs.get("destinationRanges") and not inputs.get("sourceRanges"):
        yield "destinationRanges", "they are for EGRESS"
    for field in ("sourceRanges", "destinationRanges"):
        ranges: list[str] = known(inputs, field) or []
        for one in ranges:
            try:
                ipaddress.ip_network(one)
            except ValueError as error:
                yield field, str(error)
    for field in ("allows", "denies"):
        for rule in groups(inputs, field):
            if rule.get("ports") and known(rule, "protocol") not in ("tcp", "udp", "sctp", "6", "17", "132", None):
                yield f"{field}.ports", f"{rule['protocol']} has none"


def _address_problems(inputs: Values) -> Problems:
    yield from _named(inputs)
    yield from among(inputs, "addressType", ("EXTERNAL", "INTERNAL"))
    yield from among(inputs, "purpose", ("VPC_PEERING", "PRIVATE_SERVICE_CONNECT"))
    if known(inputs, "addressType") == "INTERNAL" and not inputs.get("network"):
        yield "network", "an internal address is in one"
    if known(inputs, "purpose") == "VPC_PEERING" and inputs.get("prefixLength") is None:
        yield "prefixLength", "a range for peering needs it"
    yield from between(inputs, "prefixLength", 8, 29)


def _one_for_each_network(thing: "Thing", cloud: "Cloud") -> None:
    for other in cloud.of(CONNECTION):
        if other is not thing and same_network(other.inputs["network"], thing.inputs["network"]):
            raise RefusedError(
                "googleapi: Error 400: Cannot modify allocated ranges in CreateConnection. Please use Update"
            )
    for name in thing.inputs["reservedPeeringRanges"]:
        ranges = [one for one in cloud.of(ADDRESS) if one.inputs["name"] == name]
        if not any(one.inputs.get("purpose") == "VPC_PEERING" for one in ranges) and name not in cloud.given:
            raise RefusedError(f"googleapi: Error 400: {name} is no range for peering.")


def _connection_free(thing: "Thing", cloud: "Cloud") -> None:
    network = str(thing.inputs["network"]).rsplit("/", 1)[-1]
    user = next(
        (
            one
            for one in cloud.of(SQL)
            if same_network(_private_network(one), network) and one.inputs["settings"].get("ipConfiguration")
        ),
        None,
    )
    if thing.inputs.get("deletionPolicy") == "REMOVE_PEERING":
        # Google would do it, and whoever uses the instance would not reach it any more.
        if user is not None:
            raise RefusedError(f"the peering of {network} is removed while {user} is reached through it")
    # It keeps what a deleted instance had, for days: documentation of the class, "Deleting a connection".
    elif user is not None or ("peering", network) in cloud.reserved:
        raise RefusedError(
            "Unable to remove Service Networking Connection, err: Error waiting for Delete Service Networking "
            "Connection: Error code 9, message: Failed to delete connection; Producer services (e.g. CloudSQL, Cloud "
            "Memstore, etc.) are still using this connection."
        )


def _private_network(instance: "Thing") -> Any:
    return group(group(instance.inputs, "settings"), "ipConfiguration").get("privateNetwork")


KINDS = (
    of_google(
        NETWORK,
        "compute",
        lambda making: _at(
            f"global/networks/{making.inputs['name']}",
            networkId=str(making.cloud.ticket()),
            numericId="1",
            gatewayIpv4="",
        ),
        name=_NAMED,
        check=_named,
        forgets=True,
        taken=exists_already,
    ),
    of_google(
        SUBNETWORK,
        "compute",
        lambda making: _at(
            f"regions/{making.inputs['region']}/subnetworks/{making.inputs['name']}",
            gatewayAddress=str(next(ipaddress.ip_network(making.inputs["ipCidrRange"]).hosts())),
            subnetworkId=making.cloud.ticket(),
        ),
        name=_NAMED,
        refers=(OF_NETWORK,),
        check=_subnetwork_problems,
        made=_no_overlap,
        changed=_subnetwork_changed,
        forgets=True,
        taken=exists_already,
    ),
    of_google(
        "gcp:compute/firewall:Firewall",
        "compute",
        lambda making: _at(f"global/firewalls/{making.inputs['name']}"),
        name=Name(),
        refers=(OF_NETWORK,),
        check=_firewall_problems,
        forgets=True,
        taken=exists_already,
    ),
    of_google(
        ADDRESS,
        "compute",
        lambda making: _at(
            f"global/addresses/{making.inputs['name']}", address="10.99.0.0", labelFingerprint="42WmSpB8rSM="
        ),
        name=Name(),
        refers=(OF_NETWORK,),
        check=_address_problems,
        forgets=True,
        taken=exists_already,
    ),
    of_google(
        CONNECTION,
        "servicenetworking",
        lambda making: (
            f"{quote(str(making.inputs['network']), safe='')}:{making.inputs['service']}",
            {"peering": str(making.inputs["service"]).replace(".", "-")},
        ),
        refers=(OF_NETWORK, Refers(path="reservedPeeringRanges[*]", kinds=(ADDRESS,), by=("name",))),
        check=lambda inputs: among(inputs, "deletionPolicy", ("DELETE", "ABANDON", "PREVENT", "REMOVE_PEERING")),
        made=_one_for_each_network,
        deleting=_connection_free,
    ),
    iam_member(
        "gcp:compute/subnetworkIAMMember:SubnetworkIAMMember",
        "compute",
        lambda inputs: (
            f"projects/{PROJECT}/regions/{inputs.get('region')}/subnetworks/"
            + str(inputs["subnetwork"]).rsplit("/", 1)[-1]
        ),
        Refers(path="subnetwork", kinds=(SUBNETWORK,), by=BY, holds=False, within=True),
    ),
)
