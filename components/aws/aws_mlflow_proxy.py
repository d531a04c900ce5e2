"""SageMaker's managed MLflow, and in front of it the proxy on EC2 behind a load balancer.

It builds everything from the network to the alarms. Left to the caller: the account's limits, DNS zones, a customer
key, and people's accounts at their identity provider.
"""

import re
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws

from .deployment import Deployment
from .endpoints import Endpoints
from .image import Image
from .load_balancer import LoadBalancer
from .monitoring import Monitoring
from .network import Network
from .outputs import lines_for_clients
from .proxy_log import ProxyLog
from .service import Service
from .settings import AwsMlflowProxySettings
from .studio import Studio
from .tokens import Tokens
from .tracking import Tracking

# What fits into the load balancer's name: 32 letters, and not beginning with what AWS keeps for itself.
_NAME = re.compile(r"(?!internal-)[a-z][a-z0-9-]{0,15}")


class AwsMlflowProxy(pulumi.ComponentResource):
    """SageMaker's MLflow with the proxy in front."""

    url: pulumi.Output[str]
    """Where callers find the proxy, for whoever reaches its network."""
    ui_url: pulumi.Output[str]
    """The proxy's page in a browser; for admins it has the button into MLflow's own pages."""
    tracking_uri: pulumi.Output[str]
    """MLFLOW_TRACKING_URI."""
    target_arn: pulumi.Output[str]
    """SageMaker's tracking server or app."""
    bucket: pulumi.Output[str | None]
    """The artifacts' bucket; None for a target that was there."""
    log_group: pulumi.Output[str]
    """The proxy's log."""
    dashboard_url: pulumi.Output[str | None]
    """CloudWatch's page for this deployment."""
    admin_token: pulumi.Output[str]
    """A first token, secret; the same as in ``admin_token_secret_arn``."""
    admin_token_secret_arn: pulumi.Output[str]
    """Where that token is kept; the proxy cannot read it."""
    tokens_secret_arn: pulumi.Output[str]
    """Where the proxy reads the hashes of all tokens; ``python -m proxy_app token`` changes them."""
    load_balancer_dns_name: pulumi.Output[str]
    """The load balancer's own name: what a CNAME of yours for ``load_balancer.host_name`` points to."""
    load_balancer_zone_id: pulumi.Output[str]
    """The hosted zone of that name, for an alias in Route 53 instead."""
    port_forward: pulumi.Output[str | None]
    """The command that brings an internal load balancer to a laptop; None for a public one."""
    client_setup: pulumi.Output[str]
    """The lines to paste where MLflow's client runs."""

    def __init__(
        self,
        name: str,
        args: AwsMlflowProxySettings | Mapping[str, Any] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Raises SettingsError with everything that is wrong in ``args``, ValueError for a ``name`` that is none."""
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"AwsMlflowProxy {name!r}: a name has 1 to 16 letters of a-z, digits and -, a letter first."
            )
        settings = AwsMlflowProxySettings.read(args or {}, name)
        super().__init__("mlflow:index:AwsMlflowProxy", name, {}, opts)
        inside = pulumi.ResourceOptions(parent=self)
        asking = pulumi.InvokeOptions(parent=self)
        deployment = Deployment(
            name=name,
            stack=pulumi.get_stack(),
            region=aws.get_region_output(opts=asking).region,
            account=aws.get_caller_identity_output(opts=asking).account_id,
            partition=aws.get_partition_output(opts=asking).partition,
            tags={
                "Project": pulumi.get_project(),
                "Stack": pulumi.get_stack(),
                "Component": name,
                **settings.tags,
            },
            deletion_protection=settings.deletion_protection,
            kms_key_arn=settings.kms_key_arn,
            permissions_boundary_arn=settings.permissions_boundary_arn,
        )
        network = Network(deployment, settings.network, public=settings.load_balancer.public, opts=inside)
        tracking = Tracking(deployment, settings.tracking, opts=inside)
        image = Image(deployment, settings.image, opts=inside)
        tokens = Tokens(deployment, days=settings.access.admin_token_days, opts=inside)
        load_balancer = LoadBalancer(
            deployment,
            settings.load_balancer,
            network=network,
            oidc_client_secret=settings.oidc_client_secret,
            opts=inside,
        )
        if settings.studio is not None:
            Studio(
                deployment,
                settings.studio,
                network=network,
                tracking=tracking,
                load_balancer=load_balancer,
                opts=inside,
            )
        log = ProxyLog(deployment, days=settings.monitoring.log_retention_days, opts=inside)
        endpoints = Endpoints(
            deployment,
            settings.network,
            network=network,
            tracking=tracking,
            image=image,
            tokens=tokens,
            log=log,
            studio=settings.studio is not None,
            opts=inside,
        )
        service = Service(
            deployment,
            settings.service,
            architecture=settings.image.architecture,
            roles=settings.access.roles,
            network=network,
            tracking=tracking,
            image=image,
            tokens=tokens,
            load_balancer=load_balancer,
            log=log,
            # Without its way out an instance could not start, nor its tasks be stopped when all is destroyed.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[network, endpoints]),
        )
        monitoring = Monitoring(
            deployment, settings.monitoring, log=log, load_balancer=load_balancer, service=service, opts=inside
        )

        self.url = load_balancer.url
        self.ui_url = pulumi.Output.concat(load_balancer.url, "/")
        self.tracking_uri = load_balancer.url
        self.target_arn = tracking.target_arn
        self.bucket = tracking.bucket
        self.log_group = log.name
        self.dashboard_url = monitoring.dashboard_url
        self.admin_token = tokens.admin_token
        self.admin_token_secret_arn = tokens.admin_token_secret_arn
        self.tokens_secret_arn = tokens.hashes_secret_arn
        self.load_balancer_dns_name, self.load_balancer_zone_id = load_balancer.dns_name, load_balancer.dns_zone_id
        self.port_forward, self.client_setup = lines_for_clients(
            deployment, load_balancer=load_balancer, service=service, tokens=tokens
        )
        self.register_outputs({output: getattr(self, output) for output in self.__class__.__annotations__})
