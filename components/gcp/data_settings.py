"""Settings of the resources that hold MLflow's data: the database, its VPC and the artifact bucket."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ..validation import Cidr, Text, ValidatedArgs
from . import regions
from .sql_tiers import tier_problem

_NETWORK = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")


class DatabaseSettings(ValidatedArgs):
    """The Cloud SQL for MySQL instance."""

    production_defaults = {
        "tier": "db-custom-2-7680",
        "availability": "REGIONAL",
        "backup_count": 30,
        "transaction_log_retention_days": 7,
        "final_backup_days": 30,
    }

    tier: Text = "db-g1-small"
    """Machine type: db-f1-micro, db-g1-small, db-custom-CORES-MIB, or db-perf-optimized-N-CORES (Enterprise Plus)."""
    version: Text = "MYSQL_8_4"
    """MySQL version, as Cloud SQL names it."""
    availability: Literal["ZONAL", "REGIONAL"] = "ZONAL"
    """REGIONAL adds a standby in another zone."""
    disk_gb: int = Field(default=10, ge=10, le=65536)
    """Initial disk size in GB; the disk grows automatically. A larger value later gives a warning with the command that
    enlarges the disk."""
    private_ip: bool = False
    """Give the instance a private IP address in a VPC and no public one. With a public IP address no network is
    authorized, and connections require a certificate of IAM (mutual TLS). Changing back from private to public replaces
    the instance."""
    iam_authentication: bool = False
    """Log in to the database as MLflow's service account (IAM database authentication): there is no password, and no
    secret for it. A change creates another database user and deletes the previous one, not the data."""
    name: Text = "mlflow"
    """Name of the database. A change creates another database and deletes the previous one."""
    user: Text = "mlflow"
    """Name of MLflow's database user; with iamAuthentication, it is that of the service account."""
    backup_count: int = Field(default=7, ge=1, le=365)
    """Number of daily backups to keep."""
    transaction_log_retention_days: int = Field(default=3, ge=1, le=7)
    """Days covered by point-in-time recovery."""
    final_backup_days: int = Field(default=0, ge=0, le=365)
    """Days to keep a final backup that is taken when the instance is deleted; 0: no final backup, and all backups are
    deleted with the instance."""
    maintenance_day: int = Field(default=7, ge=1, le=7)
    """Day of the maintenance window; 1 is Monday."""
    maintenance_hour: int = Field(default=3, ge=0, le=23)
    """Hour of the maintenance window, in UTC."""
    instance_name: Text | None = None
    """Name of the instance; default: a name with a random suffix. Cloud SQL reserves the name for a week after
    deletion. A change creates another instance and deletes the previous one with its data."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for an invalid tier, version, name or retention."""
        problem = tier_problem(self.tier)
        if problem:
            yield "tier", f"got {self.tier!r}, {problem}."
        if not re.fullmatch(r"MYSQL_8_[04]", self.version):
            yield "version", f"got {self.version!r}, expected MYSQL_8_4 (or MYSQL_8_0 for an existing database)."
        for name, limit in (("name", 64), ("user", 32)):
            value = getattr(self, name)
            if not re.fullmatch(rf"[A-Za-z][A-Za-z0-9_-]{{0,{limit - 1}}}", value):
                yield (
                    name,
                    f"got {value!r}, expected up to {limit} letters, digits, underscores and hyphens, starting with a "
                    "letter.",
                )
        if self.iam_authentication and "user" in self.model_fields_set:
            yield "user", "it applies to a user with a password: remove it, or iamAuthentication."
        # "backup retention should be > transaction log retention": terraform-google-modules/terraform-google-sql-db#785
        if self.transaction_log_retention_days > self.backup_count:
            yield (
                "transaction_log_retention_days",
                f"got {self.transaction_log_retention_days}, expected at most {self.backup_count} (backupCount).",
            )
        # https://cloud.google.com/sql/docs/mysql/instance-settings: 98 characters together with the project ID.
        if self.instance_name is not None and not re.fullmatch(
            r"[a-z](?:[a-z0-9-]{0,65}[a-z0-9])?", self.instance_name
        ):
            yield (
                "instance_name",
                f"got {self.instance_name!r}, expected up to 67 lowercase letters, digits and hyphens, starting with a "
                "letter.",
            )


class NetworkSettings(ValidatedArgs):
    """The VPC network of MLflow's instances."""

    production_defaults = {"instance_ip": "internal"}

    instance_ip: Literal["external", "internal"] = "external"
    """external: instances have external IP addresses, which the organization policy `compute.vmExternalIpAccess` may
    forbid; internal: they have none, and reach Google and others through Cloud NAT."""
    vpc_name: Text | None = None
    """Name of an existing VPC network; default: the project's `default` network, or a new one for a private database or
    for instances without external IP addresses, which includes Cloud NAT."""
    host_project: Text | None = None
    """Project of the existing network, if it is a Shared VPC network of another project."""
    subnetwork: Text | None = None
    """Name of the existing network's subnetwork in App Engine's region."""
    cidr: Cidr = "10.44.0.0/20"
    """IPv4 range of a new network's subnetwork, /16 to /24."""
    peered: bool = False
    """The existing network already has private services access."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for invalid names and ranges, and for settings that require an existing network."""
        for name in ("vpc_name", "subnetwork"):
            value = getattr(self, name)
            if value is not None and not _NETWORK.fullmatch(value):
                yield (
                    name,
                    f"got {value!r}, expected the short name: up to 63 lowercase letters, digits and hyphens.",
                )
        if self.host_project is not None:
            if not _PROJECT.fullmatch(self.host_project):
                yield "host_project", f"got {self.host_project!r}, expected a project ID, such as network-team-1."
            if self.instance_ip == "external":
                yield "host_project", "App Engine requires instances without external IP addresses: set instanceIp."
            if self.vpc_name is not None and self.subnetwork is None:
                yield "host_project", "a Shared VPC network requires its subnetwork: set network.subnetwork, too."
        if self.vpc_name is None:
            for name in ("host_project", "subnetwork", "peered"):
                if getattr(self, name):
                    yield name, "it applies to an existing VPC network: set network.vpcName, too."
        try:
            network = ipaddress.ip_network(self.cidr)
            if not 16 <= network.prefixlen <= 24:
                yield "cidr", f"got /{network.prefixlen}, expected /16 to /24."
        except ValueError as error:
            yield "cidr", f"{error}."


class ArtifactsSettings(ValidatedArgs):
    """The Cloud Storage bucket for artifacts."""

    production_defaults = {"noncurrent_version_days": 90, "soft_delete_days": 30}

    location: Text | None = None
    """Location of the bucket: a region, EU, US, ASIA or a dual-region; default: `region`. A change creates another
    bucket and deletes the previous one."""
    storage_class: Literal["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"] = "STANDARD"
    """Default storage class of new objects."""
    access: Literal["proxied", "direct"] = "proxied"
    """proxied: clients transfer artifacts through MLflow; direct: clients access the bucket with their own permissions.
    An experiment keeps the mode with which it was created."""
    noncurrent_version_days: int = Field(default=7, ge=1, le=3650)
    """Days to keep noncurrent versions, of overwritten and deleted artifacts."""
    soft_delete_days: int = Field(default=7, ge=0, le=90)
    """Soft delete retention in days, in which deleted objects can be restored; 0 disables soft delete, the least is
    otherwise 7."""
    bucket_name: Text | None = None
    """Name of the bucket; default: a name with a random suffix. A change creates another bucket and deletes the
    previous one."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for an invalid location, soft delete retention or bucket name."""
        known = regions.MULTI_REGIONS | regions.REGIONS
        if self.location is not None and self.location not in known:
            yield (
                "location",
                f"got {self.location!r}, expected a region, such as europe-west1, or one of "
                f"{', '.join(sorted(regions.MULTI_REGIONS))}.",
            )
        if 0 < self.soft_delete_days < 7:
            yield "soft_delete_days", f"got {self.soft_delete_days}, expected 0, or 7 to 90."
        # https://cloud.google.com/storage/docs/buckets#naming; names with dots require a verified domain.
        name = self.bucket_name
        if name is not None and not re.fullmatch(r"(?!goog)[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]", name):
            yield (
                "bucket_name",
                f"got {name!r}, expected 3 to 63 lowercase letters, digits, underscores and hyphens, not starting with "
                "goog.",
            )
