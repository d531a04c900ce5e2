"""Security groups of instances and proxies: who may come in, and where they may go.

Left to the caller: what else may reach the load balancer.
"""

import pulumi
from pulumi_aws import ec2

from .. import proxy_environment
from .edge import Edge
from .network import Network, way
from .place import Place


class Doors(pulumi.ComponentResource):
    """Proxies take requests from the load balancer alone; nobody comes in to the instances."""

    proxies: pulumi.Output[str]
    """The proxies' group."""
    instances: pulumi.Output[str]

    def __init__(
        self, place: Place, *, network: Network, edge: Edge, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mlflow:aws:Doors", place.named("doors"), {}, opts)
        self._place = place
        self.proxies = self._group("proxies", "Proxies: requests from the load balancer", network)
        self.instances = self._group("instances", "Instances under the proxies: nobody comes in", network)
        self._way("edge-to-proxy", source=edge.security_group_id, target=self.proxies, port=proxy_environment.PORT)
        network.let_out(place, "proxies", self.proxies, self)
        network.let_out(place, "instances", self.instances, self)
        if not edge.public:
            # A laptop reaches an internal load balancer through an instance, by Session Manager's port forward. The
            # VPC's addresses may not be among those that are allowed.
            self._way("instances-to-edge", source=self.instances, target=edge.security_group_id, port=edge.port)
        self.register_outputs({"proxies": self.proxies, "instances": self.instances})

    def _group(self, role: str, description: str, network: Network) -> pulumi.Output[str]:
        group = ec2.SecurityGroup(
            self._place.named(role),
            # Another text would be another group.
            description=description,
            vpc_id=network.vpc_id,
            tags=self._place.tagged(role),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return group.id

    def _way(self, role: str, *, source: pulumi.Output[str], target: pulumi.Output[str], port: int) -> None:
        way(self._place, role, source=source, target=target, port=port, parent=self)
