"""Cloud SQL for MySQL: the instance with its backups, and MLflow's database and user.

MLflow connects with mutual TLS, by Google's connector, to the public or the private IP address. An instance with a
public one authorizes no network. Out of scope: replicas, restores, and access for others.
"""

import pulumi
from pulumi_gcp import sql

from .data_settings import DatabaseSettings
from .deployment import Deployment
from .network import Network
from .password import Password
from .sql_tiers import is_enterprise_plus


class Database(pulumi.ComponentResource):
    """MLflow's backend store; the service depends on it."""

    connection_name: pulumi.Output[str]
    """PROJECT:REGION:INSTANCE."""
    instance: sql.DatabaseInstance
    """The instance."""
    instance_name: pulumi.Output[str]
    """Name of the instance."""
    ip_type: str
    """The instance's address that MLflow connects to: public or private."""
    database_name: str
    """Name of the database."""
    user: str | None
    """Name of MLflow's database user; None with IAM database authentication, whose user identity.py creates."""
    password_secret: pulumi.Output[str] | None
    """Secret Manager secret whose latest version is the password, projects/PROJECT/secrets/NAME; None without one."""
    password_secret_id: pulumi.Output[str] | None
    """Secret Manager secret ID, the NAME above."""
    retained_on_destroy: list[str]
    """Resources that remain after a destroy, with the reason."""

    def __init__(
        self,
        deployment: Deployment,
        args: DatabaseSettings,
        *,
        network: Network,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlflow:gcp:Database", deployment.component, {}, opts)
        iam = args.iam_authentication
        password = None if iam else Password(deployment, opts=pulumi.ResourceOptions(parent=self))
        instance = self._instance(deployment, args, network)
        self._create_database(deployment, args, instance)
        if password is not None:
            self._create_user(deployment, args, instance, password)
        self._warn_of_smaller_disk(deployment, args, instance)

        self.instance = instance
        self.connection_name = instance.connection_name
        self.instance_name = instance.name
        self.ip_type = "private" if args.private_ip else "public"
        self.database_name, self.user = args.name, None if iam else args.user
        self.password_secret = None if password is None else password.secret
        self.password_secret_id = None if password is None else password.secret_id
        self.retained_on_destroy = list(_retained(args))
        self.register_outputs(
            {
                "connection_name": self.connection_name,
                "instance_name": self.instance_name,
                "password_secret": self.password_secret,
            }
        )

    def _instance(self, deployment: Deployment, args: DatabaseSettings, network: Network) -> sql.DatabaseInstance:
        return sql.DatabaseInstance(
            deployment.logical_name("database"),
            project=deployment.project,
            region=deployment.region,
            # By default Pulumi adds a random suffix: Cloud SQL reserves a name for a week after deletion.
            name=args.instance_name,
            database_version=args.version,
            encryption_key_name=deployment.kms_key,
            settings=_settings(deployment, args, network),
            deletion_protection=deployment.deletion_protection,
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=deployment.deletion_protection,
                depends_on=[] if network.connection is None else [network.connection],
                # The disk grows automatically, and the provider would replace the instance by one with a smaller disk
                # (terraform-provider-google, resource_sql_database_instance.go: ForceNewIfChange, IsDiskShrinkage).
                ignore_changes=["settings.diskSize"],
            ),
        )

    def _warn_of_smaller_disk(
        self, deployment: Deployment, args: DatabaseSettings, instance: sql.DatabaseInstance
    ) -> None:
        def warn(name: str, size: int) -> None:
            if size < args.disk_gb:
                pulumi.log.warn(
                    f"database.diskGb: got {args.disk_gb}, but the disk of {name} has {size} GB and does not "
                    "follow the setting. Run "
                    f"`gcloud sql instances patch {name} --storage-size={args.disk_gb} --project "
                    f"{deployment.project}`, then `pulumi refresh`.",
                    self,
                )

        size = instance.settings.apply(lambda settings: settings.disk_size)
        pulumi.Output.all(instance.name, size).apply(lambda known: warn(*known))

    def _create_database(self, deployment: Deployment, args: DatabaseSettings, instance: sql.DatabaseInstance) -> None:
        sql.Database(
            deployment.logical_name("database"),
            project=deployment.project,
            instance=instance.name,
            name=args.name,
            charset="utf8mb4",
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=deployment.deletion_protection,
                deleted_with=instance,
                # Imported databases keep theirs: a change affects new tables only, whose foreign keys could then not
                # reference existing tables.
                ignore_changes=["charset", "collation"],
            ),
        )

    def _create_user(
        self, deployment: Deployment, args: DatabaseSettings, instance: sql.DatabaseInstance, password: Password
    ) -> None:
        sql.User(
            deployment.logical_name("database"),
            project=deployment.project,
            instance=instance.name,
            name=args.user,
            password=password.value,
            # After the secret: when the database rejects the old password, MLflow reads the new one from the secret.
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=deployment.deletion_protection,
                deleted_with=instance,
                depends_on=[password],
            ),
        )


def _settings(deployment: Deployment, args: DatabaseSettings, network: Network) -> sql.DatabaseInstanceSettingsArgs:
    final_backup = args.final_backup_days > 0
    return sql.DatabaseInstanceSettingsArgs(
        tier=args.tier,
        # The default edition depends on the version, and each tier belongs to one edition.
        edition="ENTERPRISE_PLUS" if is_enterprise_plus(args.tier) else "ENTERPRISE",
        availability_type=args.availability,
        disk_size=args.disk_gb,
        disk_autoresize=True,
        backup_configuration=sql.DatabaseInstanceSettingsBackupConfigurationArgs(
            enabled=True,
            # Required for MySQL's point-in-time recovery and for a standby.
            binary_log_enabled=True,
            transaction_log_retention_days=args.transaction_log_retention_days,
            backup_retention_settings=sql.DatabaseInstanceSettingsBackupConfigurationBackupRetentionSettingsArgs(
                retained_backups=args.backup_count, retention_unit="COUNT"
            ),
        ),
        maintenance_window=sql.DatabaseInstanceSettingsMaintenanceWindowArgs(
            day=args.maintenance_day, hour=args.maintenance_hour, update_track="stable"
        ),
        ip_configuration=sql.DatabaseInstanceSettingsIpConfigurationArgs(
            ipv4_enabled=not args.private_ip,
            authorized_networks=[],
            private_network=network.network_id if args.private_ip else None,
            ssl_mode="ENCRYPTED_ONLY",
            # The default depends on the time of creation.
            server_ca_mode="GOOGLE_MANAGED_INTERNAL_CA",
        ),
        database_flags=(
            # https://cloud.google.com/sql/docs/mysql/create-edit-iam-instances
            [sql.DatabaseInstanceSettingsDatabaseFlagArgs(name="cloudsql_iam_authentication", value="on")]
            if args.iam_authentication
            else None
        ),
        # Cloud SQL's own protection; the provider's deletion_protection covers Pulumi only.
        deletion_protection_enabled=deployment.deletion_protection,
        retain_backups_on_delete=final_backup,
        final_backup_config=(
            sql.DatabaseInstanceSettingsFinalBackupConfigArgs(enabled=True, retention_days=args.final_backup_days)
            if final_backup
            else None
        ),
        user_labels=deployment.labels,
    )


def _retained(args: DatabaseSettings) -> list[str]:
    retained: list[str] = []
    if args.final_backup_days:
        retained.append(
            f"the database's backups, and a final backup for {args.final_backup_days} days (database.finalBackupDays)"
        )
    if args.instance_name is not None:
        retained.append(f"the name {args.instance_name}, which Cloud SQL reserves for a week")
    return retained
