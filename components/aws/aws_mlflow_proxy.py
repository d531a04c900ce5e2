"""SageMaker's managed MLflow behind the proxy, which runs on ECS and EC2 behind a load balancer.

The component creates everything from the network to the alarms. Service quotas, DNS zones, a customer managed key and
user accounts at the identity provider are not part of it.
"""

import re

import pulumi
import pulumi_aws as aws

from ..deletion_protection import DeletionProtection
from ..names import original_names
from .args import AwsMlflowProxyArgs
from .artifacts import artifact_location
from .certificate import existing_certificate
from .deployment import Deployment
from .endpoints import Endpoints
from .image import Image
from .load_balancer import LoadBalancer
from .monitoring import Monitoring
from .network import Network
from .outputs import client_commands
from .proxy_log import ProxyLog
from .service import Service
from .settings import AwsMlflowProxySettings
from .studio import Studio
from .timing import Timing
from .tokens import Tokens
from .tracking import Tracking

# A load balancer's name has at most 32 characters, of which the suffix takes 16, and must not start with internal-.
_NAME = re.compile(r"(?!internal-)[a-z][a-z0-9-]{0,15}")


class AwsMlflowProxy(pulumi.ComponentResource):
    """SageMaker MLflow behind the proxy."""

    url: pulumi.Output[str]
    """URL of the proxy, reachable from the load balancer's network."""
    ui_url: pulumi.Output[str]
    """URL to open in a browser: MLflow's UI, or without it the proxy's home page."""
    tracking_uri: pulumi.Output[str]
    """Value for MLFLOW_TRACKING_URI."""
    target_arn: pulumi.Output[str]
    """ARN of the SageMaker MLflow app or tracking server."""
    bucket: pulumi.Output[str | None]
    """Name of the artifact bucket; None for an existing target."""
    log_group: pulumi.Output[str]
    """Name of the proxy's CloudWatch log group."""
    dashboard_url: pulumi.Output[str | None]
    """URL of the CloudWatch dashboard; None without one."""
    admin_token: pulumi.Output[str]
    """First admin token (secret); the same as in ``admin_token_secret_arn``."""
    admin_token_secret_arn: pulumi.Output[str]
    """ARN of the secret with this token; the proxy cannot read it."""
    tokens_secret_arn: pulumi.Output[str]
    """ARN of the secret with the hashes of all tokens; edit it with ``python -m proxy_app token``."""
    load_balancer_dns_name: pulumi.Output[str]
    """DNS name of the load balancer, the target of a CNAME record for ``load_balancer.host_name``."""
    load_balancer_zone_id: pulumi.Output[str]
    """Hosted zone ID of the load balancer, for a Route 53 alias record."""
    port_forward: pulumi.Output[str | None]
    """Shell command that forwards a local port to an internal load balancer; None for a public one."""
    client_setup: pulumi.Output[str]
    """Shell commands that set up an MLflow client."""

    def __init__(
        self,
        name: str,
        args: AwsMlflowProxyArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Names of arguments may be in snake case or camel case.

        Raises SettingsError with all problems in ``args``, and ValueError for an invalid ``name``.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"AwsMlflowProxy: got name {name!r}, expected 1 to 16 lowercase letters, digits and hyphens, a letter "
                "first, and not internal-."
            )
        settings = AwsMlflowProxySettings.read(args, name)
        super().__init__("mlflow:index:AwsMlflowProxy", name, {}, opts)
        asking = pulumi.InvokeOptions(parent=self)
        region = aws.get_region_output(opts=asking).region
        # Nothing is created before it is known that the certificate can be used: MLflow takes up to half an hour, and
        # is protected in production.
        certificate = existing_certificate(name, settings.load_balancer, region, self)
        inside = pulumi.ResourceOptions(parent=self, depends_on=certificate)
        original_name, original_stack = original_names(name, protect=settings.deletion_protection, opts=inside)
        deployment = Deployment(
            component=name,
            name=original_name,
            stack=original_stack,
            region=region,
            account=aws.get_caller_identity_output(opts=asking).account_id,
            partition=aws.get_partition_output(opts=asking).partition,
            tags={
                "Project": pulumi.get_project(),
                "Stack": original_stack,
                "Component": original_name,
                **settings.tags,
            },
            deletion_protection=settings.deletion_protection,
            kms_key_arn=settings.kms_key_arn,
            permissions_boundary_arn=settings.permissions_boundary_arn,
        )
        network = Network(deployment, settings.network, public=settings.load_balancer.public, opts=inside)
        tracking = Tracking(deployment, settings.tracking, opts=inside)
        artifacts = artifact_location(
            deployment,
            settings.artifacts,
            bucket=tracking.bucket,
            bucket_arn=tracking.bucket_arn,
            prefix=tracking.artifact_prefix,
        )
        image = Image(deployment, settings.image, ui=settings.ui.enabled, opts=inside)
        tokens = Tokens(deployment, days=settings.access.admin_token_days, opts=inside)
        load_balancer = LoadBalancer(
            deployment,
            settings.load_balancer,
            network=network,
            timing=Timing(
                upstream_timeout=settings.service.upstream_timeout_seconds,
                long_upstream_timeout=settings.service.long_upstream_timeout_seconds,
            ),
            oidc_client_secret=settings.oidc_client_secret,
            opts=inside,
        )
        studio = None
        if settings.studio is not None:
            studio = Studio(
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
            artifacts=artifacts,
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
            limits=settings.limits,
            tracking=tracking,
            artifacts=artifacts,
            image=image,
            tokens=tokens,
            load_balancer=load_balancer,
            log=log,
            ui=settings.ui.enabled,
            # Instances need outbound connectivity to start, and for their tasks to be stopped on destroy.
            opts=pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=[network, endpoints])),
        )
        monitoring = Monitoring(
            deployment,
            settings.monitoring,
            log=log,
            load_balancer=load_balancer,
            service=service,
            schedule=settings.service.schedule,
            opts=inside,
        )
        DeletionProtection(
            name,
            enabled=settings.deletion_protection,
            parent=self,
            protected=[
                network,
                tracking,
                image,
                tokens,
                load_balancer,
                *([] if studio is None else [studio]),
                log,
                endpoints,
                service,
                monitoring,
            ],
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
        self.port_forward, self.client_setup = client_commands(
            deployment, load_balancer=load_balancer, service=service, tokens=tokens
        )
        self.register_outputs({output: getattr(self, output) for output in self.__class__.__annotations__})
