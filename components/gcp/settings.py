"""All settings of GcpMlflow with their defaults and descriptions; app_settings.py and data_settings.py hold groups.

They are the source of docs/gcp-settings.md. Fields that may come from other resources accept Pulumi Outputs. Settings
that decide which resources exist do not.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import Field

from ..limit_settings import LimitSettings
from ..roles import ROLES, RoleRules
from ..validation import Email, InputText, Text, ValidatedArgs, validate_args
from . import regions
from .app_settings import VERSION, AppSettings, OAuthClientSettings
from .data_settings import ArtifactsSettings, DatabaseSettings, NetworkSettings
from .types import MEMBER_FORMS, KmsKey, Member, Project, Region, is_member

# https://cloud.google.com/resource-manager/docs/creating-managing-projects
_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
# Set by the component on every resource.
_RESERVED_LABELS = ("project", "stack", "component")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_CREDENTIALS = re.compile(r"//[^/@]+@")


class ConditionSettings(ValidatedArgs):
    """Members with access while an IAM condition holds."""

    members: list[Member]
    """IAM members to which the condition applies."""
    title: Text
    """Title of the condition."""
    expression: Text
    """Common Expression Language expression, such as request.time < timestamp("2027-01-01T00:00:00Z")."""
    description: Text | None = None
    """Description of the condition."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for invalid members."""
        yield from _invalid_members("members", self.members)
        if not self.members:
            yield "members", "got an empty list, expected at least one member."


class IapRoleRules(RoleRules):
    """Roles of users in MLflow; the highest matching role applies. Each entry is email:ADDRESS or domain:NAME."""

    entries = "email:ADDRESS or domain:NAME"

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for groups, which Identity-Aware Proxy does not pass on."""
        yield from super().conflicts()
        for role in ROLES:
            for rule in getattr(self, role):
                if rule.startswith("group:"):
                    yield role, f"got {rule!r}, expected {self.entries}: Identity-Aware Proxy passes on no groups."


class AccessSettings(ValidatedArgs):
    """Access through Identity-Aware Proxy and roles in MLflow."""

    members: list[Member] = []
    """IAM members with access: user:, group: and serviceAccount: with an address, domain: with a name, principal:// and
    principalSet:// of workforce pools."""
    conditional: list[ConditionSettings] = []
    """IAM members with conditional access."""
    roles: IapRoleRules = IapRoleRules()
    """Roles by e-mail address or domain; Identity-Aware Proxy passes on no groups."""
    client_service_account: bool = False
    """Create a service account with access, for programs."""
    client_role: Literal["viewer", "editor", "admin"] = "editor"
    """Role of that service account."""
    client_impersonators: list[Member] = []
    """IAM members that may impersonate that service account: users, or service accounts of training jobs."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for invalid members, and for impersonators without a service account."""
        yield from _invalid_members("members", self.members)
        yield from _invalid_members("client_impersonators", self.client_impersonators)
        if self.client_impersonators and not self.client_service_account:
            yield (
                "client_impersonators",
                "there is no service account to impersonate: set clientServiceAccount, or remove them.",
            )

    def all_members(self) -> list[str]:
        """All members, those with conditional access included."""
        return [*self.members, *(member for condition in self.conditional for member in condition.members)]

    def members_without_role(self) -> list[str]:
        """Members with access whose requests the proxy rejects, since no rule assigns them a role.

        Groups are left out: their members' e-mail addresses are unknown here.
        """
        if self.roles.everyone:
            return []
        rules = [rule.lower().split(":", 1) for role in ROLES for rule in getattr(self.roles, role)]
        addresses = {value for kind, value in rules if kind == "email"}
        domains = {value for kind, value in rules if kind == "domain"}
        return [
            member
            for member in self.all_members()
            for kind, _, value in [member.lower().partition(":")]
            if (
                kind == "domain"
                and value not in domains
                and not any(address.endswith(f"@{value}") for address in addresses)
            )
            # Workforce and workload pools: the assertion has no address that Google verified.
            or kind in {"principal", "principalset"}
            or (
                kind in {"user", "serviceaccount"} and value not in addresses and value.partition("@")[2] not in domains
            )
        ]


class ImageSettings(ValidatedArgs):
    """The container image with MLflow and the proxy."""

    image_uri: InputText | None = None
    """Existing image by digest (registry/name@sha256:...), in place of an image built from mlflow_app/."""
    base_image: Text | None = None
    """Base image of the Dockerfile; default: the Dockerfile's own."""
    package_index_url: Text | None = None
    """URL of the Python package index for the build; default: PyPI."""
    keep_images: int = Field(default=10, ge=2, le=100)
    """Number of images that the repository keeps; new instances pull the image that is in use."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for an image without a digest, and for build settings that do not apply to it."""
        if isinstance(self.image_uri, str) and not re.search(r"@sha256:[0-9a-f]{64}$", self.image_uri):
            yield "image_uri", f"got {self.image_uri!r}, expected an image by digest (...@sha256:...)."
        if self.package_index_url is not None and _CREDENTIALS.search(self.package_index_url):
            yield "package_index_url", "it contains credentials, and build arguments are not secret: remove them."
        if self.image_uri is not None:
            for name in ("base_image", "package_index_url"):
                if getattr(self, name) is not None:
                    yield name, "it applies to images built here; with imageUri nothing is built."


class MonitoringSettings(ValidatedArgs):
    """Logs, alerts and a dashboard."""

    production_defaults = {"canary": True, "log_retention_days": 365}

    canary: bool = False
    """Send a request through Identity-Aware Proxy to MLflow and its database every five minutes, and alert when it
    fails. Requires the OAuth client's ID."""
    alarm_email: Email | None = None
    """E-mail address that alerts are sent to."""
    log_retention_days: int = Field(default=30, ge=1, le=3650)
    """Days to keep the logs of MLflow and the proxy."""
    dashboard: bool = True
    """Create a Cloud Monitoring dashboard."""
    latency_threshold_seconds: int = Field(default=5, ge=1, le=120)
    """Alert when the 95th percentile of MLflow's response latency exceeds this many seconds."""


class GcpMlflowSettings(ValidatedArgs):
    """MLflow on App Engine behind Identity-Aware Proxy."""

    production_defaults = {"deletion_protection": True}
    config_secrets = {"oauth_client_secret": "gcpOauthClientSecret"}

    project: Project
    """Google Cloud project ID; a stack's config may set `gcp:project` instead."""
    region: Region
    """Region of the database, the images, the secrets and, by default, the bucket, such as europe-west1; a stack's
    config may set `gcp:region` instead."""
    environment: Literal["development", "production"] = "development"
    """Selects defaults: development (cheap, disposable) or production (hardened)."""
    deletion_protection: bool = False
    """Refuse to delete the component, and to delete or replace any resource that cannot be created again."""
    kms_key: KmsKey | None = None
    """Cloud KMS key in `region` that encrypts the database, the bucket, images, secrets and logs; default: Google's own
    keys. A change creates another database and deletes the previous one."""
    labels: dict[str, str] = {}
    """Additional labels for all resources that support labels."""
    app: AppSettings = AppSettings()
    oauth_client: OAuthClientSettings = OAuthClientSettings()
    oauth_client_secret: InputText | None = None
    """Client secret of `oauthClient.clientId`; in a stack's config, the secret key `mlflow:gcpOauthClientSecret`."""
    access: AccessSettings = AccessSettings()
    database: DatabaseSettings = DatabaseSettings()
    network: NetworkSettings = NetworkSettings()
    artifacts: ArtifactsSettings = ArtifactsSettings()
    image: ImageSettings = ImageSettings()
    limits: LimitSettings = LimitSettings()
    monitoring: MonitoringSettings = MonitoringSettings()

    @classmethod
    def read(cls, values: "Mapping[str, Any] | GcpMlflowSettings", prefix: str) -> Self:
        """Validate ``values`` and fill in the environment's defaults; problems start with ``prefix``.

        Raises SettingsError with all problems at once.
        """
        environment = values.get("environment") if isinstance(values, Mapping) else values.environment
        return validate_args(cls, values, prefix, production=environment == "production")

    @property
    def app_location(self) -> str:
        """App Engine's name of its region."""
        return self.app.location or regions.app_engine_location(self.region) or self.region

    @property
    def creates_network(self) -> bool:
        """Whether the component creates a VPC network: for a private database or instances with internal addresses."""
        return (self.database.private_ip or self.network.instance_ip == "internal") and self.network.vpc_name is None

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for invalid settings, and for settings of several groups that exclude each other."""
        if not _PROJECT.fullmatch(self.project):
            yield (
                "project",
                f"got {self.project!r}, expected a project ID: 6 to 30 lowercase letters, digits and hyphens.",
            )
        yield from self._location_conflicts()
        yield from self._oauth_client_conflicts()
        yield from self._length_conflicts()
        for name, value in self.labels.items():
            if name in _RESERVED_LABELS:
                yield "labels", f"got {name}, expected labels other than {', '.join(_RESERVED_LABELS)}."
            if not (_LABEL_KEY.fullmatch(name) and _LABEL_VALUE.fullmatch(value)):
                yield (
                    "labels",
                    f"got {name}={value}, expected up to 63 lowercase letters, digits, underscores and hyphens in key "
                    "and value, and a key that starts with a letter.",
                )
        if self.access.all_members() and not self.access.roles.any():
            yield "access.roles", "missing, expected a rule for each member: without rules all requests get 403."
        if self.network.vpc_name is None and self.network.cidr != NetworkSettings().cidr and not self.creates_network:
            yield (
                "network.cidr",
                "it applies to a new VPC network: set database.privateIp, or network.instanceIp to internal.",
            )
        client = self.oauth_client
        if self.monitoring.canary and client.client_id is None and client.client_id_secret is None:
            yield (
                "monitoring.canary",
                "its requests need the OAuth client's ID: set oauthClient.clientId, or canary to false.",
            )
        if self.network.host_project is not None and self.database.private_ip and not self.network.peered:
            yield (
                "network.peered",
                "private services access of a Shared VPC network is created in its host project: set it to true once "
                "it exists there.",
            )

    def _length_conflicts(self) -> Iterator[tuple[str, str]]:
        # Google's certificates cover one label in front of the application's domain: at most 63 characters.
        # https://cloud.google.com/appengine/docs/flexible/how-requests-are-routed
        label = f"{VERSION}-dot-{self.app.service}-dot-{self.project}"
        if len(label) > 63:
            yield "app.service", f"{self.app.service!r} is too long: {label} is a DNS label, which has at most 63."

    def _location_conflicts(self) -> Iterator[tuple[str, str]]:
        if self.region not in regions.REGIONS:
            examples = ", ".join(regions.suggestions(self.region, regions.REGIONS))
            yield "region", f"got {self.region!r}, expected a Google Cloud region, such as {examples}."
        elif regions.app_engine_location(self.region) is None and self.app.location is None:
            examples = ", ".join(regions.suggestions(self.region, regions.APP_ENGINE))
            yield "app.location", f"App Engine is not available in {self.region}: set a location, such as {examples}."
        location = self.app.location
        if location is not None and regions.region_of(location) != self.region and self.creates_network:
            yield "app.location", f"got {location!r}, expected the location of `region`, where the new VPC network is."

        if self.kms_key is not None:
            key_location = self.kms_key.split("/")[3]
            if key_location != self.region:
                yield "kms_key", f"got a key in {key_location}, expected one in {self.region} (`region`)."
            if self.artifacts.location not in (None, self.region):
                yield (
                    "artifacts.location",
                    f"got {self.artifacts.location!r}, expected {self.region} with kmsKey: a bucket's key is in the "
                    "bucket's location.",
                )

    def _oauth_client_conflicts(self) -> Iterator[tuple[str, str]]:
        client, has_secret = self.oauth_client, self.oauth_client_secret is not None
        if self.app.mode == "existing":
            if has_secret or client.client_secret_secret is not None:
                yield (
                    "oauth_client",
                    "got a client secret, expected none with app.mode existing, which does not manage Identity-Aware "
                    "Proxy.",
                )
            return
        if client.client_id is None and client.client_id_secret is None:
            yield (
                "oauth_client.client_id",
                "missing, expected an OAuth client: create one in the Google Cloud console (docs/gcp.md), and set its "
                "ID and secret.",
            )
        if client.client_id is not None and not has_secret:
            yield (
                "oauth_client.client_id",
                "the client secret is missing: `pulumi config set --secret mlflow:gcpOauthClientSecret`.",
            )
        if has_secret and client.client_id_secret is not None:
            yield (
                "oauth_client.client_secret_secret",
                "the client secret is set twice: here and as mlflow:gcpOauthClientSecret.",
            )


def _invalid_members(name: str, members: list[str]) -> Iterator[tuple[str, str]]:
    for member in members:
        if not is_member(member):
            yield name, f"got {member!r}, expected {MEMBER_FORMS}."
