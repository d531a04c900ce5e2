"""Cloud SQL for MySQL."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...kind import CloudError, CreateRequest, Name, Problems, Reference, Values
from ..common import among, between, group, known, matches
from .identity import ACCOUNT
from .kms import require_key
from .network import BY, CONNECTION, NETWORK, SQL, same_network
from .project import PROJECT, in_region, label_problems, of_google, self_link

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

INSTANCE = SQL
DATABASE = "gcp:sql/database:Database"
USER = "gcp:sql/user:User"
_OF_INSTANCE = Reference(path="instance", kinds=(INSTANCE,), by=("name",), blocks_delete=False, deleted_with=True)
_PLUS = re.compile(r"db-(?:perf-optimized-N|c4a-highmem)-\d+")
_TIER = re.compile(r"db-f1-micro|db-g1-small|db-custom-(\d+)-(\d+)|db-n1-[a-z]+-\d+")


def _instance(request: CreateRequest) -> tuple[str, dict[str, object]]:
    name, region = str(request.inputs["name"]), str(request.inputs["region"])
    resource_id = f"projects/{PROJECT}/instances/{name}"
    addresses = group(group(request.inputs, "settings"), "ipConfiguration")
    public = f"34.1.{request.cloud.next_number() % 250}.2" if addresses.get("ipv4Enabled", True) else ""
    private = f"10.99.0.{request.cloud.next_number() % 250}" if addresses.get("privateNetwork") else ""
    found = [("PRIMARY", public), ("PRIVATE", private)]
    return resource_id, {
        "selfLink": self_link("sql", resource_id),
        "connectionName": f"{PROJECT}:{region}:{name}",
        "publicIpAddress": public,
        "privateIpAddress": private,
        "firstIpAddress": public or private,
        "ipAddresses": [{"type": kind, "ipAddress": address, "timeToRetire": ""} for kind, address in found if address],
        "serverCaCerts": [
            {
                "cert": f"-----BEGIN CERTIFICATE-----\n{request.hex_digits(64)}\n-----END CERTIFICATE-----",
                "commonName": "C=US,O=Google\\, Inc,CN=Google Cloud SQL Server CA",
                "createTime": "2026-01-02T03:04:05.678Z",
                "expirationTime": "2036-01-02T03:04:05.678Z",
                "sha1Fingerprint": request.hex_digits(40),
            }
        ],
        "serviceAccountEmailAddress": f"p{request.hex_digits(12)}@gcp-sa-cloud-sql.iam.gserviceaccount.com",
        "dnsName": "",
        "dnsNames": [],
        "pscServiceAttachmentLink": "",
        "availableMaintenanceVersions": [],
    }


def _tier_problems(settings: Values, version: str | None) -> Problems:
    """https://cloud.google.com/sql/docs/mysql/instance-settings, editions and machine types."""
    tier, edition = known(settings, "tier"), known(settings, "edition")
    if tier is None:
        return
    # The default edition is ENTERPRISE_PLUS from 8.4 on: https://cloud.google.com/sql/docs/mysql/editions-intro
    if "edition" not in settings:
        edition = "ENTERPRISE_PLUS" if version == "MYSQL_8_4" else "ENTERPRISE"
    custom = _TIER.fullmatch(tier)
    if edition == "ENTERPRISE" and custom is None:
        yield "settings.tier", f"Invalid Tier ({tier}) for (ENTERPRISE) Edition"
    if edition == "ENTERPRISE_PLUS" and not _PLUS.fullmatch(tier):
        yield "settings.tier", f"Invalid Tier ({tier}) for (ENTERPRISE_PLUS) Edition. Use a db-perf-optimized-N-*"
    if custom and custom[1]:
        cores, memory = int(custom[1]), int(custom[2])
        if cores > 96 or (cores != 1 and cores % 2):
            yield "settings.tier", "expected 1 vCPU, or an even number up to 96"
        if memory % 256 or memory < 3840 or not 0.9 * 1024 <= memory / cores <= 6.5 * 1024:
            yield "settings.tier", "expected 0.9 to 6.5 GiB per vCPU, a multiple of 256 MiB, and at least 3840 MiB"


def _instance_problems(inputs: Values) -> Problems:
    name, version, settings = known(inputs, "name"), known(inputs, "databaseVersion"), group(inputs, "settings")
    # https://cloud.google.com/sql/docs/mysql/instance-settings#instance-id-2ndgen
    yield from matches(inputs, "name", r"[a-z](?:[a-z0-9-]*[a-z0-9])?")
    if name is not None and len(f"{PROJECT}:{name}") > 98:
        yield "name", "expected at most 98 characters together with the project's name"
    yield from in_region(inputs, "region")
    if inputs.get("region") is None:
        yield "region", "required: the provider has no default"
    if version is not None and not re.fullmatch(r"MYSQL_(5_6|5_7|8_0(_\d+)?|8_4)", version):
        yield "databaseVersion", f"got {version!r}, expected a supported version of MySQL"
    yield from _tier_problems(settings, version)
    for path, why in (
        *label_problems(settings, "userLabels"),
        *among(settings, "availabilityType", ("ZONAL", "REGIONAL")),
        *among(settings, "edition", ("ENTERPRISE", "ENTERPRISE_PLUS")),
        *among(settings, "diskType", ("PD_SSD", "PD_HDD", "HYPERDISK_BALANCED")),
        *between(settings, "diskSize", 10, 65536),
        *_nested(settings, "maintenanceWindow", _window_problems),
        *_nested(settings, "backupConfiguration", lambda values: _backup_problems(values, settings)),
        *_nested(settings, "ipConfiguration", _address_problems),
        *_nested(settings, "insightsConfig", _insights_problems),
        *_nested(settings, "finalBackupConfig", lambda values: between(values, "retentionDays", 1, 365)),
    ):
        yield f"settings.{path}", why


def _nested(settings: Values, field: str, check: Callable[[Values], Problems]) -> Problems:
    for path, why in check(group(settings, field)):
        yield f"{field}.{path}", why


def _window_problems(window: Values) -> Problems:
    yield from between(window, "day", 1, 7)
    yield from between(window, "hour", 0, 23)
    yield from among(window, "updateTrack", ("canary", "stable", "week5"))


def _backup_problems(backups: Values, settings: Values) -> Problems:
    if backups.get("pointInTimeRecoveryEnabled"):
        yield "pointInTimeRecoveryEnabled", "only available for POSTGRES and SQLSERVER; MySQL has binary_log_enabled"
    if backups.get("binaryLogEnabled") and not backups.get("enabled"):
        yield "binaryLogEnabled", "binary logs require backups"
    yield from matches(backups, "startTime", r"([01]\d|2[0-3]):[0-5]\d")
    yield from between(
        backups, "transactionLogRetentionDays", 1, 35 if known(settings, "edition") == "ENTERPRISE_PLUS" else 7
    )
    retention = group(backups, "backupRetentionSettings")
    for path, why in between(retention, "retainedBackups", 1, 365):
        yield f"backupRetentionSettings.{path}", why
    # https://cloud.google.com/sql/docs/mysql/high-availability
    if known(settings, "availabilityType") == "REGIONAL" and not (
        backups.get("enabled") and backups.get("binaryLogEnabled")
    ):
        yield "enabled", "REGIONAL requires backups and binary logs"


def _address_problems(addresses: Values) -> Problems:
    yield from among(
        addresses,
        "sslMode",
        ("ALLOW_UNENCRYPTED_AND_ENCRYPTED", "ENCRYPTED_ONLY", "TRUSTED_CLIENT_CERTIFICATE_REQUIRED"),
    )
    yield from among(
        addresses,
        "serverCaMode",
        ("CA_MODE_UNSPECIFIED", "GOOGLE_MANAGED_INTERNAL_CA", "GOOGLE_MANAGED_CAS_CA", "CUSTOMER_MANAGED_CAS_CA"),
    )
    if addresses.get("ipv4Enabled") is False and not addresses.get("privateNetwork"):
        yield "ipv4Enabled", "at least one of Public IP or Private IP or PSC connectivity must be enabled"
    network = known(addresses, "privateNetwork")
    # google/services/sql: OrEmpty(ValidateRegexp(privateNetworkLinkRegex)).
    if network and not re.fullmatch(
        r"(?:https://www\.googleapis\.com/compute/v1/)?projects/[^/]+/global/networks/[^/]+", network
    ):
        yield "privateNetwork", f"got {network!r}, expected projects/PROJECT/global/networks/NAME"


def _insights_problems(insights: Values) -> Problems:
    yield from between(insights, "queryStringLength", 256, 4500)
    yield from between(insights, "queryPlansPerMinute", 0, 20)


def _instance_fits(resource: "Resource", cloud: "Cloud") -> None:
    if (INSTANCE, str(resource.inputs["name"])) in cloud.reserved:
        raise CloudError(_taken(resource))
    region = str(resource.inputs["region"])
    require_key(resource, cloud, service="sqladmin", key=resource.inputs.get("encryptionKeyName"), location=region)
    _peered(resource, cloud)


def _peered(resource: "Resource", cloud: "Cloud") -> None:
    network = group(group(resource.inputs, "settings"), "ipConfiguration").get("privateNetwork")
    if not network:
        return
    short = str(network).rsplit("/", 1)[-1]
    if f"peering of {short}" not in cloud.existing and not any(
        same_network(connection.inputs["network"], network) for connection in cloud.of(CONNECTION)
    ):
        raise CloudError(
            "Error, failed to create instance because the network doesn't have at least 1 private services connection. "
            f"{PROJECT}:{resource.inputs['name']}: SERVICE_NETWORKING_NOT_ENABLED"
        )
    cloud.reserved.add(("peering", short))


def _taken(_there: "Resource") -> str:
    return (
        "googleapi: Error 409: The Cloud SQL instance already exists. When you delete an instance, you can't reuse the "
        "name of the deleted instance until one week from the deletion date., instanceAlreadyExists"
    )


def _unprotected(resource: "Resource", cloud: "Cloud") -> None:
    # The provider's own protection is on by default.
    if resource.inputs.get("deletionProtection", True):
        raise CloudError(
            "Error, failed to delete instance because deletion_protection is set to true. Set it to false to proceed "
            "with instance deletion"
        )
    if group(resource.inputs, "settings").get("deletionProtectionEnabled"):
        raise CloudError(
            "googleapi: Error 400: The instance is protected. Please disable the deletion protection and try again., "
            "instanceProtected"
        )
    cloud.reserved.add((INSTANCE, str(resource.inputs["name"])))


def _left(resource: "Resource") -> str | None:
    settings = group(resource.inputs, "settings")
    backups = [
        name
        for name, enabled in (
            ("final backup", group(settings, "finalBackupConfig").get("enabled")),
            ("backups", settings.get("retainBackupsOnDelete")),
        )
        if enabled
    ]
    return f"{' and '.join(backups)} of database instance {resource.inputs['name']}" if backups else None


def _stuck(olds: Values, news: Values) -> str | None:
    """The provider's CustomizeDiff."""
    if group(group(news, "settings"), "backupConfiguration").get("pointInTimeRecoveryEnabled"):
        return "point_in_time_recovery_enabled is only available for the following [POSTGRES SQLSERVER]"
    return None


def _instance_changed(resource: "Resource", cloud: "Cloud") -> None:
    before = cloud.find(resource.id, (INSTANCE,)).inputs
    old, new = (group(inputs, "settings").get("diskSize") or 0 for inputs in (before, resource.inputs))
    if new and new < old:
        raise CloudError(f"googleapi: Error 400: a disk of {old} GB cannot become one of {new}., invalidRequest")
    if str(resource.inputs["databaseVersion"]) < str(before["databaseVersion"]):
        raise CloudError(
            f"googleapi: Error 400: Invalid request: {before['databaseVersion']} cannot become "
            f"{resource.inputs['databaseVersion']}: no downgrades., invalid"
        )
    _peered(resource, cloud)


def _user(request: CreateRequest) -> tuple[str, dict[str, object]]:
    host = request.inputs.get("host") or "%"
    email = request.inputs["name"] if _by_iam(request.inputs) else ""
    computed: dict[str, object] = {"host": host, "iamEmail": email, "sqlServerUserDetails": []}
    return f"{request.inputs['name']}/{host}/{request.inputs['instance']}", computed


def _by_iam(inputs: Values) -> bool:
    return str(known(inputs, "type") or "").startswith("CLOUD_IAM_")


def _user_problems(inputs: Values) -> Problems:
    # https://cloud.google.com/sql/docs/mysql/add-manage-iam-users: an e-mail address, which MySQL's name is made of.
    name, limit = known(inputs, "name"), 32
    if name is not None and len(name.partition("@")[0] if _by_iam(inputs) else name) > limit:
        yield "name", f"expected at most {limit} characters"
    if name is not None and _by_iam(inputs) and "@" not in name:
        yield "name", "expected an e-mail address"
    if _by_iam(inputs) and (inputs.get("password") or inputs.get("passwordWo") or inputs.get("host")):
        yield "type", "an IAM user has neither password nor host"
    yield from among(inputs, "type", ("BUILT_IN", "CLOUD_IAM_USER", "CLOUD_IAM_SERVICE_ACCOUNT", "CLOUD_IAM_GROUP", ""))
    if inputs.get("password") and inputs.get("passwordWo"):
        yield "password", "conflicts with passwordWo"
    if not inputs.get("password") and not inputs.get("passwordWo") and known(inputs, "type") in (None, "BUILT_IN"):
        yield "password", "required for a built-in user"
    yield from among(inputs, "deletionPolicy", ("DELETE", "ABANDON", "PREVENT", ""))


def _user_fits(resource: "Resource", cloud: "Cloud") -> None:
    if not _by_iam(resource.inputs):
        return
    instance = cloud.find(resource.inputs["instance"], (INSTANCE,), ("name",))
    flags: list[Any] = group(instance.inputs, "settings").get("databaseFlags") or []
    if {"name": "cloudsql_iam_authentication", "value": "on"} not in flags:
        raise CloudError("googleapi: Error 400: Invalid request: the flag cloudsql_iam_authentication is off., invalid")
    if resource.inputs["type"] == "CLOUD_IAM_SERVICE_ACCOUNT":
        cloud.find(resource.inputs["name"], (ACCOUNT,), ("email",))


KINDS = (
    of_google(
        INSTANCE,
        "sqladmin",
        _instance,
        name=Name(),
        references=(Reference(path="settings.ipConfiguration.privateNetwork", kinds=(NETWORK,), by=BY),),
        labels="-",
        check=_instance_problems,
        on_create=_instance_fits,
        on_update=_instance_changed,
        on_delete=_unprotected,
        leftover=_left,
        update_error=_stuck,
        conflict=_taken,
        lost_on_timeout=True,
    ),
    of_google(
        DATABASE,
        "sqladmin",
        lambda request: (
            path := f"projects/{PROJECT}/instances/{request.inputs['instance']}/databases/{request.inputs['name']}",
            {"selfLink": self_link("sql", path)},
        ),
        name=Name(),
        references=(_OF_INSTANCE,),
        check=lambda inputs: matches(inputs, "name", r"[^/\\. ]{1,64}"),
        lost_on_timeout=True,
        conflict=lambda existing: (
            f"Error creating Database: googleapi: Error 400: database {existing.inputs['name']} already exists."
        ),
    ),
    of_google(
        USER,
        "sqladmin",
        _user,
        name=Name(),
        references=(_OF_INSTANCE,),
        check=_user_problems,
        on_create=_user_fits,
        # For MySQL it changes the existing user.
        overwrites=True,
    ),
)
