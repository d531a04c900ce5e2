"""The VPC in which MLflow's instances run, and its connection to Google's services, through which a private database
is reached.

Left to the caller: VPNs, peering with other VPCs, shared VPCs, and everything in a VPC that is there but that
connection. Instances have public addresses for their way out, as App Engine gives them.
"""

import pulumi
from pulumi_gcp import compute, servicenetworking

from . import regions
from .data_args import NetworkArgs
from .place import Place

# Google's load balancers and health checks, and where App Engine's own proxy listens in each instance.
# https://cloud.google.com/appengine/docs/flexible/using-shared-vpc
_GOOGLE = ["35.191.0.0/16", "130.211.0.0/22"]
_FLEX_PORTS = ["8443", "10402"]
# Cloud SQL takes a /24 of each region. https://cloud.google.com/sql/docs/mysql/configure-private-services-access
_SERVICES_PREFIX = 20


class Network(pulumi.ComponentResource):
    """Whoever is in it depends on it: what is in use cannot be deleted."""

    network: pulumi.Output[str] | None
    """Its short name, as App Engine takes it; None for the project's `default`."""
    subnetwork: pulumi.Output[str] | None
    """The short name of one that was made or named."""
    region: str
    """The subnetwork's, which is App Engine's."""
    network_id: pulumi.Output[str] | None
    """projects/PROJECT/global/networks/NAME."""
    connection: pulumi.Resource | None
    """To Google's services: a private database is made after it, and has to be gone before."""
    own: bool
    """It was made here, and goes with everything else."""
    kept: list[str]

    def __init__(
        self,
        place: Place,
        args: NetworkArgs,
        *,
        private: bool,
        location: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``private``: a database is in it. ``location`` is App Engine's."""
        super().__init__("mlflow:gcp:Network", place.named("network"), {}, opts)
        self._place = place
        self.region = regions.region_of(location)
        self.own = private and args.name is None
        self.network = self.subnetwork = self.network_id = self.connection = None
        self.kept = []
        if self.own:
            self._build(args)
        elif args.name is not None:
            self._adopt(args, args.name)
        if private and self.network_id is not None and not args.peered:
            self.connection = self._connected(self.network_id)
        if self.connection and not self.own:
            self.kept.append(
                f"VPC {args.name}: its connection to Google's services with the range of addresses for it, since other "
                "databases may use it by now; another deployment in this VPC says network.peered"
            )
        self.register_outputs({"network": self.network, "subnetwork": self.subnetwork, "network_id": self.network_id})

    def _build(self, args: NetworkArgs) -> None:
        place = self._place
        inside = pulumi.ResourceOptions(parent=self)
        vpc = compute.Network(
            place.named("network"),
            project=place.project,
            auto_create_subnetworks=False,
            opts=inside,
        )
        subnetwork = compute.Subnetwork(
            place.named("network"),
            project=place.project,
            region=self.region,
            network=vpc.id,
            ip_cidr_range=args.cidr,
            private_ip_google_access=True,
            log_config=compute.SubnetworkLogConfigArgs(
                aggregation_interval="INTERVAL_10_MIN", flow_sampling=0.5, metadata="INCLUDE_ALL_METADATA"
            ),
            opts=inside,
        )
        compute.Firewall(
            place.named("from-google"),
            project=place.project,
            network=vpc.id,
            description="App Engine's front end and health checks; nobody else is let in",
            direction="INGRESS",
            source_ranges=_GOOGLE,
            allows=[compute.FirewallAllowArgs(protocol="tcp", ports=_FLEX_PORTS)],
            # For all in this VPC: only in a shared VPC do instances have the tag aef-instance.
            # https://cloud.google.com/appengine/docs/flexible/reference/app-yaml#network-settings
            opts=inside,
        )
        self.network, self.subnetwork, self.network_id = vpc.name, subnetwork.name, vpc.id

    def _adopt(self, args: NetworkArgs, name: str) -> None:
        self.network = pulumi.Output.from_input(name)
        self.network_id = pulumi.Output.from_input(f"projects/{self._place.project}/global/networks/{name}")
        self.subnetwork = None if args.subnetwork is None else pulumi.Output.from_input(args.subnetwork)

    def _connected(self, network: pulumi.Output[str]) -> pulumi.Resource:
        place = self._place
        addresses = compute.GlobalAddress(
            place.named("services"),
            project=place.project,
            network=network,
            purpose="VPC_PEERING",
            address_type="INTERNAL",
            prefix_length=_SERVICES_PREFIX,
            labels=place.labels,
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=not self.own),
        )
        return servicenetworking.Connection(
            place.named("services"),
            network=network,
            service="servicenetworking.googleapis.com",
            reserved_peering_ranges=[addresses.name],
            # A database that was deleted holds it for days yet (pulumi/pulumi-gcp#3354). In a VPC of others it stays:
            # without the peering, databases that came later would be cut off.
            deletion_policy="REMOVE_PEERING" if self.own else "ABANDON",
            opts=pulumi.ResourceOptions(parent=self),
        )
