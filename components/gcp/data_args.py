"""The settings of what holds MLflow's data: the database, the VPC that it may be in, and the artifacts' bucket."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ..validation import Cidr, Text, ValidatedArgs
from . import regions
from .tiers import wrong_tier

_NETWORK = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")


class DatabaseArgs(ValidatedArgs):
    """Cloud SQL for MySQL."""

    production_defaults = {
        "tier": "db-custom-2-7680",
        "availability": "REGIONAL",
        "backups": 30,
        "log_days": 7,
        "last_backup_days": 30,
    }

    tier: Text = "db-g1-small"
    """Its machine: db-f1-micro, db-g1-small, db-custom-CORES-MIB, or db-perf-optimized-N-CORES (Enterprise Plus)."""
    version: Text = "MYSQL_8_4"
    """Cloud SQL's name of the version."""
    availability: Literal["ZONAL", "REGIONAL"] = "ZONAL"
    """REGIONAL: with a standby in another zone."""
    disk_gb: int = Field(default=10, ge=10, le=65536)
    """Its disk at first, in GB; it grows by itself."""
    private: bool = False
    """Without a public address: MLflow reaches it in a VPC. With one, nobody's network is let in, and MLflow comes
    through Cloud SQL's own proxy. From private back to public there is no way but another instance."""
    name: Text = "mlflow"
    """The database's name. Another one is another database, and the one before is deleted."""
    user: Text = "mlflow"
    """MLflow's user."""
    backups: int = Field(default=7, ge=1, le=365)
    """How many daily backups are kept."""
    log_days: int = Field(default=3, ge=1, le=7)
    """How many days back any second can be restored."""
    last_backup_days: int = Field(default=0, ge=0, le=365)
    """How many days a backup stays that is made when the instance is deleted; 0: none is made, and all backups go with
    the instance."""
    maintenance_day: int = Field(default=7, ge=1, le=7)
    """When Google may maintain it: 1 is Monday."""
    maintenance_hour: int = Field(default=3, ge=0, le=23)
    """In UTC."""
    instance: Text | None = None
    """A name for the instance, instead of one with a random end. Cloud SQL keeps a name for a week after a deletion.
    Another one is another instance, and the one before is deleted with what is in it."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        problem = wrong_tier(self.tier)
        if problem:
            yield "tier", f"{self.tier!r} is given; {problem}."
        if not re.fullmatch(r"MYSQL_8_[04]", self.version):
            yield "version", f"{self.version!r} is given; allowed is MYSQL_8_4 (or MYSQL_8_0, for one that is there)."
        for name, most in (("name", 64), ("user", 32)):
            value = getattr(self, name)
            if not re.fullmatch(rf"[A-Za-z][A-Za-z0-9_-]{{0,{most - 1}}}", value):
                yield name, f"{value!r} is given; allowed are up to {most} letters, digits, _ and -, a letter first."
        # "backup retention should be > transaction log retention": terraform-google-modules/terraform-google-sql-db#785
        if self.log_days > self.backups:
            yield (
                "log_days",
                f"{self.log_days} is given; allowed is as many as there are backups at most ({self.backups}).",
            )
        # https://cloud.google.com/sql/docs/mysql/instance-settings: 98 with the project's.
        if self.instance is not None and not re.fullmatch(r"[a-z](?:[a-z0-9-]{0,65}[a-z0-9])?", self.instance):
            yield (
                "instance",
                f"{self.instance!r} is given; allowed are up to 67 letters of a-z, digits and hyphens, a letter first.",
            )


class NetworkArgs(ValidatedArgs):
    """The VPC in which MLflow's instances run."""

    name: Text | None = None
    """A VPC that is there; none: the project's `default`, or for a private database a new one."""
    subnetwork: Text | None = None
    """Its subnetwork in App Engine's region."""
    cidr: Cidr = "10.44.0.0/20"
    """The addresses of a new one's subnetwork, /16 to /24."""
    peered: bool = False
    """The VPC that is there is already connected to Google's services (private services access)."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        for name in ("name", "subnetwork"):
            value = getattr(self, name)
            if value is not None and not _NETWORK.fullmatch(value):
                yield name, f"{value!r} is given; allowed is its short name: a-z, digits and hyphens, at most 63."
        if self.name is None:
            for name in ("subnetwork", "peered"):
                if getattr(self, name):
                    yield name, "it belongs to a VPC that is there: give network.name, too."
        try:
            network = ipaddress.ip_network(self.cidr)
            if not 16 <= network.prefixlen <= 24:
                yield "cidr", f"/{network.prefixlen} is given; allowed is /16 to /24."
        except ValueError as error:
            yield "cidr", f"{error}."


class ArtifactsArgs(ValidatedArgs):
    """The bucket of MLflow's artifacts."""

    production_defaults = {"old_versions_days": 90, "soft_delete_days": 30}

    location: Text | None = None
    """A region, or EU, US, ASIA and the dual regions; none: `region`. No bucket moves: in another place it is another
    one, and the one before is deleted."""
    storage_class: Literal["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"] = "STANDARD"
    """Of new objects."""
    access: Literal["proxied", "direct"] = "proxied"
    """proxied: clients send and get artifacts through MLflow; direct: they go to the bucket with rights of their own.
    Each experiment keeps what was said when it was made."""
    old_versions_days: int = Field(default=7, ge=1, le=3650)
    """How long overwritten and deleted artifacts stay as old versions."""
    soft_delete_days: int = Field(default=7, ge=0, le=90)
    """How long what was deleted for good can be brought back; 0: not at all, otherwise 7 or more."""
    bucket: Text | None = None
    """A name for the bucket, instead of one with a random end. Another one is another bucket, and the one before is
    deleted."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if self.location is not None and self.location not in regions.WIDE and self.location not in regions.REGIONS:
            yield (
                "location",
                f"{self.location!r} is given; allowed is a region, such as europe-west1, or one of "
                f"{', '.join(sorted(regions.WIDE))}.",
            )
        if 0 < self.soft_delete_days < 7:
            yield "soft_delete_days", f"{self.soft_delete_days} is given; allowed is 0, or 7 to 90."
        # https://cloud.google.com/storage/docs/buckets#naming; with dots it would have to be a domain of one's own.
        if self.bucket is not None and not re.fullmatch(r"(?!goog)[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]", self.bucket):
            yield (
                "bucket",
                f"{self.bucket!r} is given; allowed are 3 to 63 letters of a-z, digits, _ and -, and not goog... .",
            )
