"""MLflow behind the proxy, as a service of App Engine's flexible environment.

Out of scope: access through Identity-Aware Proxy (iap_access.py), and firewall rules of an existing VPC network.
"""

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_gcp import appengine

from .. import mlflow_environment, proxy_environment
from ..failure_hint import failure_hint
from ..limit_settings import LimitSettings
from .app_engine import AppEngine
from .app_settings import VERSION, AppSettings
from .artifacts import Artifacts
from .database import Database
from .deployment import Deployment
from .identity import Identity
from .image import Image
from .network import Network

# Besides the start timeout: the time that the machines need to boot.
_BOOT_SECONDS = 900


class Service(pulumi.ComponentResource):
    """MLflow's App Engine service."""

    url: pulumi.Output[str]
    """https://HOST."""
    host: pulumi.Output[str]
    """Host name of MLflow: the configured domain or, without one, App Engine's name of the service."""
    service: str
    """Name of the service."""
    retained_on_destroy: list[str]
    """Resources that remain after a destroy, with the reason."""

    def __init__(
        self,
        deployment: Deployment,
        args: AppSettings,
        *,
        access: str,
        limits: LimitSettings,
        roles: pulumi.Input[str] | None,
        app: AppEngine,
        network: Network,
        database: Database,
        artifacts: Artifacts,
        image: Image,
        identity: Identity,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``access`` is the artifact access mode, proxied or direct. ``roles`` are the proxy's role rules."""
        super().__init__("mlflow:gcp:Service", deployment.component, {}, opts)
        self.service = args.service
        on_default = args.service == "default"
        service_host = app.host if on_default else pulumi.Output.concat(args.service, "-dot-", app.host)
        self.host = service_host if args.domain is None else pulumi.Output.from_input(args.domain)
        # App Engine's host name stays in use, by the version and the instances, too.
        hosts = [service_host, pulumi.Output.concat("*-dot-", service_host)]
        hosts = hosts if args.domain is None else [self.host, *hosts]
        self.url = pulumi.Output.concat("https://", self.host)
        self.retained_on_destroy = [_retained_version(deployment)] if on_default else []
        version = appengine.FlexibleAppVersion(
            deployment.logical_name("service"),
            project=deployment.project,
            service=args.service,
            # Never changes: another version would run beside it, and replacing a version deletes its service.
            version_id=VERSION,
            runtime="custom",
            deployment=appengine.FlexibleAppVersionDeploymentArgs(
                container=appengine.FlexibleAppVersionDeploymentContainerArgs(image=image.image_uri)
            ),
            service_account=identity.email,
            env_variables={
                **_service_environment(args, self.url, hosts, app, roles),
                **limits.environment,
                **_data_environment(database, artifacts, identity, access),
            },
            network=_network(network),
            resources=appengine.FlexibleAppVersionResourcesArgs(
                cpu=args.cpu, memory_gb=args.memory_gb, disk_gb=args.disk_gb
            ),
            automatic_scaling=appengine.FlexibleAppVersionAutomaticScalingArgs(
                cpu_utilization=appengine.FlexibleAppVersionAutomaticScalingCpuUtilizationArgs(
                    target_utilization=args.cpu_utilization
                ),
                min_total_instances=args.min_instances,
                max_total_instances=args.max_instances,
            ),
            liveness_check=appengine.FlexibleAppVersionLivenessCheckArgs(path=proxy_environment.HEALTH),
            readiness_check=appengine.FlexibleAppVersionReadinessCheckArgs(
                # Not the current readiness: while MLflow is overloaded, fewer instances would make it worse.
                path=proxy_environment.STARTED,
                app_start_timeout=f"{args.start_timeout_seconds}s",
            ),
            noop_on_destroy=on_default,
            delete_service_on_destroy=not on_default,
            opts=pulumi.ResourceOptions(
                parent=self,
                # In an update the provider would create another service and leave the previous one.
                replace_on_changes=["service"],
                custom_timeouts=_timeouts(args),
                hooks=failure_hint(
                    deployment.logical_name("version-failed"),
                    "The log says why MLflow did not start; the command that prints it is in docs/gcp.md, Logs and "
                    "alerts.",
                ),
            ),
        )
        # A version gets no traffic without a split; the flexible environment does not support gradual migration
        # (hashicorp/terraform-provider-google#9896).
        appengine.EngineSplitTraffic(
            deployment.logical_name("service"),
            project=deployment.project,
            service=version.service,
            split=appengine.EngineSplitTrafficSplitArgs(allocations={VERSION: "1"}),
            migrate_traffic=False,
            opts=pulumi.ResourceOptions(parent=self, replace_on_changes=["service"]),
        )
        self.register_outputs({"url": self.url, "host": self.host})


def _timeouts(args: AppSettings) -> pulumi.CustomTimeouts:
    deployment = f"{args.start_timeout_seconds + _BOOT_SECONDS}s"
    return pulumi.CustomTimeouts(create=deployment, update=deployment, delete="20m")


def _service_environment(
    args: AppSettings,
    url: pulumi.Output[str],
    hosts: Sequence[pulumi.Output[str]],
    app: AppEngine,
    roles: pulumi.Input[str] | None,
) -> Mapping[str, pulumi.Input[str]]:
    """Environment variables for the service itself; none is secret."""
    return {
        proxy_environment.IAP_AUDIENCE: app.iap_audience,
        proxy_environment.PUBLIC_URL: url,
        proxy_environment.ALLOWED_HOSTS: pulumi.Output.all(*hosts).apply(",".join),
        # App Engine sets no memory limit for the container, which would otherwise count the whole machine's memory.
        mlflow_environment.MEMORY_MIB: str(int(args.memory_gb * 1024)),
        proxy_environment.UPSTREAM_TIMEOUT_SECONDS: str(args.upstream_timeout_seconds),
        proxy_environment.LONG_UPSTREAM_TIMEOUT_SECONDS: str(args.long_upstream_timeout_seconds),
        **({} if roles is None else {proxy_environment.ROLE_RULES: roles}),
        **({mlflow_environment.WORKERS: str(args.workers)} if args.workers else {}),
    }


def _data_environment(
    database: Database, artifacts: Artifacts, identity: Identity, access: str
) -> Mapping[str, pulumi.Input[str]]:
    secret = database.password_secret
    login = {mlflow_environment.DATABASE_IAM_LOGIN: "on"}
    return {
        mlflow_environment.DATABASE_INSTANCE: database.connection_name,
        mlflow_environment.DATABASE_IP_TYPE: database.ip_type,
        mlflow_environment.DATABASE_NAME: database.database_name,
        mlflow_environment.DATABASE_USER: identity.database_user,
        **(login if secret is None else {mlflow_environment.DATABASE_PASSWORD_SECRET: secret}),
        mlflow_environment.ARTIFACTS: artifacts.url,
        mlflow_environment.ARTIFACT_ACCESS: access,
    }


def _network(network: Network) -> appengine.FlexibleAppVersionNetworkArgs | None:
    if network.network is None:
        return None
    return appengine.FlexibleAppVersionNetworkArgs(
        name=network.network,
        subnetwork=network.subnetwork,
        # Also App Engine's default, EXTERNAL: App Engine may return it, which would redeploy MLflow on each update.
        instance_ip_mode="EXTERNAL" if network.external_ips else "INTERNAL",
    )


def _retained_version(deployment: Deployment) -> str:
    return (
        f"MLflow's version {VERSION} on the service default of {deployment.project}, which App Engine cannot delete: "
        f"its instances are billed until `gcloud app versions stop {VERSION} --service default --project "
        f"{deployment.project}`"
    )
