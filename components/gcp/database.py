"""Cloud SQL for MySQL: the instance with its backups, MLflow's database and user in it.

With a public address no network is let in, and MLflow comes through Cloud SQL's own proxy; a private one is reached in
the VPC, and shows a certificate that MLflow checks. Left to the caller: replicas, restoring, and giving others access.
"""

import pulumi
from pulumi_gcp import sql

from .data_args import DatabaseArgs
from .network import Network
from .password import Password
from .place import Place
from .tiers import enterprise_plus


class Database(pulumi.ComponentResource):
    """What MLflow keeps of runs and models. Whoever reads or writes it depends on it."""

    connection_name: pulumi.Output[str]
    """PROJECT:REGION:INSTANCE."""
    instance_name: pulumi.Output[str]
    private_address: pulumi.Output[str] | None
    """None: it is reached through Cloud SQL's socket."""
    server_ca: pulumi.Output[str] | None
    """The authorities of the certificate that a private address shows, as PEM text; while they change, both."""
    database_name: str
    user: str
    password_secret: pulumi.Output[str]
    """projects/PROJECT/secrets/NAME; its latest version is the password."""
    password_secret_id: pulumi.Output[str]
    """NAME."""
    kept: list[str]

    def __init__(
        self, place: Place, args: DatabaseArgs, *, network: Network, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mlflow:gcp:Database", place.named("database"), {}, opts)
        password = Password(place, opts=pulumi.ResourceOptions(parent=self))
        instance = self._instance(place, args, network)
        self._inside(place, args, instance, password)

        self.connection_name = instance.connection_name
        self.instance_name = instance.name
        self.private_address = instance.private_ip_address if args.private else None
        self.server_ca = self._authorities(place, instance) if args.private else None
        self.database_name, self.user = args.name, args.user
        self.password_secret, self.password_secret_id = password.secret, password.secret_id
        self.kept = list(_kept(args))
        self.register_outputs(
            {
                "connection_name": self.connection_name,
                "instance_name": self.instance_name,
                "password_secret": self.password_secret,
            }
        )

    def _instance(self, place: Place, args: DatabaseArgs, network: Network) -> sql.DatabaseInstance:
        return sql.DatabaseInstance(
            place.named("database"),
            project=place.project,
            region=place.region,
            # With none, Pulumi adds a random end: Cloud SQL keeps a name for a week after the instance is gone.
            name=args.instance,
            database_version=args.version,
            settings=_settings(place, args, network),
            deletion_protection=place.deletion_protection,
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=place.deletion_protection,
                depends_on=[] if network.connection is None else [network.connection],
                # It grows by itself, and cannot shrink.
                ignore_changes=["settings.diskSize"],
            ),
        )

    def _inside(self, place: Place, args: DatabaseArgs, instance: sql.DatabaseInstance, password: Password) -> None:
        protect = place.deletion_protection
        sql.Database(
            place.named("database"),
            project=place.project,
            instance=instance.name,
            name=args.name,
            charset="utf8mb4",
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=protect,
                deleted_with=instance,
                # Of one that was moved in it stays: a change would hold for new tables alone, whose foreign keys could
                # then not point at the old ones.
                ignore_changes=["charset", "collation"],
            ),
        )
        sql.User(
            place.named("database"),
            project=place.project,
            instance=instance.name,
            name=args.user,
            password=password.value,
            # After the secret, so that whoever is refused finds the new password there.
            opts=pulumi.ResourceOptions(parent=self, protect=protect, deleted_with=instance, depends_on=[password]),
        )

    def _authorities(self, place: Place, instance: sql.DatabaseInstance) -> pulumi.Output[str]:
        # Asked for at each run: the instance's own output is as old as the last refresh, and a secret.
        found = sql.get_ca_certs_output(
            instance=instance.name, project=place.project, opts=pulumi.InvokeOptions(parent=self)
        )
        return found.apply(lambda known: "\n".join(one.cert.strip() for one in known.certs) + "\n")


def _settings(place: Place, args: DatabaseArgs, network: Network) -> sql.DatabaseInstanceSettingsArgs:
    last_backup = args.last_backup_days > 0
    return sql.DatabaseInstanceSettingsArgs(
        tier=args.tier,
        # Google's default changes with the version, and a tier belongs to one edition.
        edition="ENTERPRISE_PLUS" if enterprise_plus(args.tier) else "ENTERPRISE",
        availability_type=args.availability,
        disk_size=args.disk_gb,
        disk_autoresize=True,
        backup_configuration=sql.DatabaseInstanceSettingsBackupConfigurationArgs(
            enabled=True,
            # It is MySQL's point-in-time recovery, and a standby's condition.
            binary_log_enabled=True,
            transaction_log_retention_days=args.log_days,
            backup_retention_settings=sql.DatabaseInstanceSettingsBackupConfigurationBackupRetentionSettingsArgs(
                retained_backups=args.backups, retention_unit="COUNT"
            ),
        ),
        maintenance_window=sql.DatabaseInstanceSettingsMaintenanceWindowArgs(
            day=args.maintenance_day, hour=args.maintenance_hour, update_track="stable"
        ),
        ip_configuration=sql.DatabaseInstanceSettingsIpConfigurationArgs(
            ipv4_enabled=not args.private,
            authorized_networks=[],
            private_network=network.network_id if args.private else None,
            ssl_mode="ENCRYPTED_ONLY",
            # App Engine's proxy knows no other.
            server_ca_mode="GOOGLE_MANAGED_INTERNAL_CA",
        ),
        # For every way of deletion, and not for the provider's alone.
        deletion_protection_enabled=place.deletion_protection,
        retain_backups_on_delete=last_backup,
        final_backup_config=(
            sql.DatabaseInstanceSettingsFinalBackupConfigArgs(enabled=True, retention_days=args.last_backup_days)
            if last_backup
            else None
        ),
        user_labels=place.labels,
    )


def _kept(args: DatabaseArgs) -> list[str]:
    found: list[str] = []
    if args.last_backup_days:
        found.append(
            f"Cloud SQL's backups of the database, and a last one for {args.last_backup_days} days "
            "(database.lastBackupDays)"
        )
    if args.instance is not None:
        found.append(f"the name {args.instance}, which Cloud SQL keeps for a week")
    return found
