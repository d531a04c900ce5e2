"""Security groups of tasks and instances: their inbound and outbound rules.

The load balancer's own group is in load_balancer.py.
"""

import pulumi
from pulumi_aws import ec2

from .. import proxy_environment
from .deployment import Deployment
from .load_balancer import LoadBalancer
from .network import Network, allow_traffic


class SecurityGroups(pulumi.ComponentResource):
    """Tasks accept requests from the load balancer only; instances accept no inbound connections."""

    tasks: pulumi.Output[str]
    """ID of the tasks' security group."""
    instances: pulumi.Output[str]
    """ID of the instances' security group."""

    def __init__(
        self,
        deployment: Deployment,
        *,
        network: Network,
        load_balancer: LoadBalancer,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlflow:aws:SecurityGroups", deployment.component, {}, opts)
        self._deployment = deployment
        self.tasks = self._group("tasks", "MLflow proxy tasks: requests from the load balancer", network)
        self.instances = self._group("instances", "EC2 instances of the MLflow proxy: no inbound connections", network)
        self._way(
            "load-balancer-to-tasks",
            source=load_balancer.security_group_id,
            target=self.tasks,
            port=proxy_environment.PORT,
        )
        network.allow_egress(deployment, "tasks", self.tasks, self)
        network.allow_egress(deployment, "instances", self.instances, self)
        if not load_balancer.public:
            # Session Manager forwards a port through an instance to an internal load balancer, and allowedCidrs may not
            # contain the VPC's range.
            self._way(
                "instances-to-load-balancer",
                source=self.instances,
                target=load_balancer.security_group_id,
                port=load_balancer.port,
            )
        self.register_outputs({"tasks": self.tasks, "instances": self.instances})

    def _group(self, role: str, description: str, network: Network) -> pulumi.Output[str]:
        group = ec2.SecurityGroup(
            self._deployment.logical_name(role),
            # A change of the description replaces the group.
            description=description,
            vpc_id=network.vpc_id,
            tags=self._deployment.tags_for(role),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return group.id

    def _way(self, role: str, *, source: pulumi.Output[str], target: pulumi.Output[str], port: int) -> None:
        allow_traffic(self._deployment, role, source=source, target=target, port=port, parent=self)
