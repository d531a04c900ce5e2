"""MLflow with the proxy in front of it, as a service of App Engine's flexible environment."""

from collections.abc import Mapping

import pulumi
from pulumi_gcp import appengine

from .. import mlflow_environment, proxy_environment
from ..roles import RoleRules
from .app_engine import AppEngine
from .args import VERSION, AppArgs
from .artifacts import Artifacts
from .database import Database
from .identity import Identity
from .image import Image
from .network import Network
from .place import Place

# An instance may wait for another one that is upgrading the schema; App Engine does not wait for longer than this.
# https://cloud.google.com/appengine/docs/flexible/reference/app-yaml#updated_health_checks
_START = "1800s"
# All of that, and the machines' own start.
_PATIENCE = pulumi.CustomTimeouts(create="45m", update="45m", delete="20m")
_MYSQL = 3306


class Service(pulumi.ComponentResource):
    """Who may come in is left to the caller, and a way for its machines to be reached in a VPC."""

    url: pulumi.Output[str]
    host: pulumi.Output[str]
    service: str
    version: str
    kept: list[str]
    """What stays after a destroy, and why."""

    def __init__(
        self,
        place: Place,
        args: AppArgs,
        *,
        access: str,
        roles: RoleRules,
        app: AppEngine,
        network: Network,
        database: Database,
        artifacts: Artifacts,
        image: Image,
        identity: Identity,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``access`` is how clients reach artifacts: proxied or direct."""
        super().__init__("mlflow:gcp:Service", place.named("service"), {}, opts)
        self.service, self.version = args.service, VERSION
        alone = args.service == "default"
        self.host = app.host if alone else pulumi.Output.concat(args.service, "-dot-", app.host)
        self.url = pulumi.Output.concat("https://", self.host)
        self.kept = [_still_there(place)] if alone else []
        version = appengine.FlexibleAppVersion(
            place.named("service"),
            project=place.project,
            service=args.service,
            # Always this one: another would run beside it, and whoever replaces a version deletes its service.
            version_id=VERSION,
            runtime="custom",
            deployment=appengine.FlexibleAppVersionDeploymentArgs(
                container=appengine.FlexibleAppVersionDeploymentContainerArgs(image=image.reference)
            ),
            service_account=identity.email,
            env_variables={
                **_about_the_service(args, self.url, self.host, app, roles),
                **_about_the_data(database, artifacts, access),
            },
            # Cloud SQL's own proxy, which makes the socket.
            beta_settings=None if database.private_address else {"cloud_sql_instances": database.connection_name},
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
                path=proxy_environment.READY, app_start_timeout=_START
            ),
            noop_on_destroy=alone,
            delete_service_on_destroy=not alone,
            opts=pulumi.ResourceOptions(
                parent=self,
                # The provider would make another service and forget the one before.
                replace_on_changes=["service"],
                custom_timeouts=_PATIENCE,
            ),
        )
        # A version beside others gets no request by itself; flexible ones cannot take traffic over slowly
        # (hashicorp/terraform-provider-google#9896).
        appengine.EngineSplitTraffic(
            place.named("service"),
            project=place.project,
            service=version.service,
            split=appengine.EngineSplitTrafficSplitArgs(allocations={VERSION: "1"}),
            migrate_traffic=False,
            opts=pulumi.ResourceOptions(parent=self, replace_on_changes=["service"]),
        )
        self.register_outputs({"url": self.url, "host": self.host})


def _about_the_service(
    args: AppArgs, url: pulumi.Output[str], host: pulumi.Output[str], app: AppEngine, roles: RoleRules
) -> Mapping[str, pulumi.Input[str]]:
    """What the container is told of itself, by the names in its contracts. Nothing here is secret."""
    return {
        proxy_environment.IAP_AUDIENCE: app.iap_audience,
        proxy_environment.PUBLIC_URL: url,
        # Its own name, and those of its version and instances.
        proxy_environment.ALLOWED_HOSTS: pulumi.Output.concat(host, ",*-dot-", host),
        # App Engine sets no limit for the container, which would take the machine's own needs for its own.
        mlflow_environment.MEMORY_MIB: str(int(args.memory_gb * 1024)),
        **({proxy_environment.ROLE_RULES: roles.text()} if roles.any() else {}),
        **({mlflow_environment.WORKERS: str(args.workers)} if args.workers else {}),
    }


def _about_the_data(database: Database, artifacts: Artifacts, access: str) -> Mapping[str, pulumi.Input[str]]:
    return {
        **_database(database),
        mlflow_environment.DATABASE_NAME: database.database_name,
        mlflow_environment.DATABASE_USER: database.user,
        mlflow_environment.DATABASE_PASSWORD_SECRET: database.password_secret,
        mlflow_environment.ARTIFACTS: artifacts.url,
        mlflow_environment.ARTIFACT_ACCESS: access,
    }


def _database(database: Database) -> Mapping[str, pulumi.Input[str]]:
    if database.private_address is None or database.server_ca is None:
        return {mlflow_environment.DATABASE_SOCKET: pulumi.Output.concat("/cloudsql/", database.connection_name)}
    return {
        mlflow_environment.DATABASE_ADDRESS: pulumi.Output.format("{0}:{1}", database.private_address, str(_MYSQL)),
        # The provider takes it for a secret, and with it everything that the container is told.
        mlflow_environment.DATABASE_CA: pulumi.Output.unsecret(database.server_ca).apply(_in_one_line),
    }


def _in_one_line(text: str) -> str:
    # Nothing says that App Engine hands a variable of several lines on as it is; the image takes this for the same.
    return text.strip().replace("\n", "\\n")


def _network(network: Network) -> appengine.FlexibleAppVersionNetworkArgs | None:
    if network.network is None:
        return None
    return appengine.FlexibleAppVersionNetworkArgs(name=network.network, subnetwork=network.subnetwork)


def _still_there(place: Place) -> str:
    return (
        f"MLflow's version {VERSION} on the service default of {place.project}, which App Engine has no way to delete: "
        f"its machines cost until `gcloud app versions stop {VERSION} --service default --project {place.project}`"
    )
