"""The VPC network of MLflow's instances, Cloud NAT, and private services access, which a private database needs.

Out of scope: VPNs, VPC peering, and in an existing network everything but private services access.
"""

import pulumi
from pulumi_gcp import compute, servicenetworking

from . import regions
from .data_settings import NetworkSettings
from .deployment import Deployment

# Google's load balancers and health checks, and where App Engine's created proxy listens in each instance.
# https://cloud.google.com/appengine/docs/flexible/using-shared-vpc
_FRONT_END_RANGES = ["35.191.0.0/16", "130.211.0.0/22"]
_FLEX_PORTS = ["8443", "10402"]
# Cloud SQL allocates a /24 per region. https://cloud.google.com/sql/docs/mysql/configure-private-services-access
_SERVICES_PREFIX = 20


class Network(pulumi.ComponentResource):
    """The VPC network; everything inside it depends on this component, since a network in use cannot be deleted."""

    network: pulumi.Output[str] | None
    """As App Engine expects it: the short name, or for a Shared VPC the resource name; None for the project's `default`
    network."""
    subnetwork: pulumi.Output[str] | None
    """Short name of the subnetwork that was created or configured; None without one."""
    project: str
    """Project of the network."""
    region: str
    """Region of the subnetwork, which is App Engine's."""
    network_id: pulumi.Output[str] | None
    """projects/PROJECT/global/networks/NAME; None for the project's `default` network."""
    connection: pulumi.Resource | None
    """Private services access; a private database must be created after it and deleted before it."""
    created: bool
    """Whether the network was created here."""
    external_ips: bool
    """Whether instances have external IP addresses."""
    retained_on_destroy: list[str]
    """Resources that remain after a destroy, with the reason."""

    def __init__(
        self,
        deployment: Deployment,
        args: NetworkSettings,
        *,
        private_ip: bool,
        location: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``private_ip``: the database has a private IP address in the network. ``location`` is App Engine's."""
        super().__init__("mlflow:gcp:Network", deployment.component, {}, opts)
        self._place = deployment
        self.project = args.host_project or deployment.project
        self.region = regions.region_of(location)
        self.external_ips = args.instance_ip == "external"
        self.created = args.vpc_name is None and (private_ip or not self.external_ips)
        self.network = self.subnetwork = self.network_id = self.connection = None
        self.retained_on_destroy = []
        if self.created:
            self._build(args)
        elif args.vpc_name is not None:
            self._adopt(args, args.vpc_name)
        if private_ip and self.network_id is not None and not args.peered:
            self.connection = self._connected(self.network_id)
        if self.connection and not self.created:
            self.retained_on_destroy.append(
                f"VPC {args.vpc_name}: its private services access and the allocated IP range, since other databases "
                "may use it; another deployment in this VPC sets network.peered"
            )
        self.register_outputs({"network": self.network, "subnetwork": self.subnetwork, "network_id": self.network_id})

    def _build(self, args: NetworkSettings) -> None:
        deployment = self._place
        inside = pulumi.ResourceOptions(parent=self)
        vpc = compute.Network(
            deployment.logical_name("network"),
            project=deployment.project,
            # A network has no labels: `make leftovers` finds it by this.
            description=deployment.title,
            auto_create_subnetworks=False,
            opts=inside,
        )
        subnetwork = compute.Subnetwork(
            deployment.logical_name("network"),
            project=deployment.project,
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
            deployment.logical_name("allow-front-end"),
            project=deployment.project,
            network=vpc.id,
            description="Allow App Engine's front end and health checks only",
            direction="INGRESS",
            source_ranges=_FRONT_END_RANGES,
            allows=[compute.FirewallAllowArgs(protocol="tcp", ports=_FLEX_PORTS)],
            # Without target tags: instances have the tag aef-instance in a Shared VPC only.
            # https://cloud.google.com/appengine/docs/flexible/reference/app-yaml#network-settings
            opts=inside,
        )
        if not self.external_ips:
            self._create_nat(vpc, subnetwork)
        self.network, self.subnetwork, self.network_id = vpc.name, subnetwork.name, vpc.id

    def _create_nat(self, vpc: compute.Network, subnetwork: compute.Subnetwork) -> None:
        """For hosts other than Google's APIs, which Private Google Access reaches: IAP's keys, model providers."""
        deployment = self._place
        inside = pulumi.ResourceOptions(parent=self)
        router = compute.Router(
            deployment.logical_name("nat"),
            project=deployment.project,
            region=self.region,
            network=vpc.id,
            opts=inside,
        )
        compute.RouterNat(
            deployment.logical_name("nat"),
            project=deployment.project,
            region=self.region,
            router=router.name,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat="LIST_OF_SUBNETWORKS",
            subnetworks=[
                compute.RouterNatSubnetworkArgs(name=subnetwork.id, source_ip_ranges_to_nats=["ALL_IP_RANGES"])
            ],
            log_config=compute.RouterNatLogConfigArgs(enable=True, filter="ERRORS_ONLY"),
            opts=inside,
        )

    def _adopt(self, args: NetworkSettings, name: str) -> None:
        self.network_id = pulumi.Output.from_input(f"projects/{self.project}/global/networks/{name}")
        # https://cloud.google.com/appengine/docs/flexible/using-shared-vpc
        self.network = pulumi.Output.from_input(name) if args.host_project is None else self.network_id
        self.subnetwork = None if args.subnetwork is None else pulumi.Output.from_input(args.subnetwork)

    def _connected(self, network: pulumi.Output[str]) -> pulumi.Resource:
        deployment = self._place
        addresses = compute.GlobalAddress(
            deployment.logical_name("services"),
            project=deployment.project,
            network=network,
            purpose="VPC_PEERING",
            address_type="INTERNAL",
            prefix_length=_SERVICES_PREFIX,
            labels=deployment.labels,
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=not self.created),
        )
        return servicenetworking.Connection(
            deployment.logical_name("services"),
            network=network,
            service="servicenetworking.googleapis.com",
            reserved_peering_ranges=[addresses.name],
            # A deleted database keeps it in use for days (pulumi/pulumi-gcp#3354). In an existing network it stays:
            # databases created later would lose their connection.
            deletion_policy="REMOVE_PEERING" if self.created else "ABANDON",
            opts=pulumi.ResourceOptions(parent=self),
        )
