"""Every setting of GcpMlflow: its default, what it takes, and a sentence. docs/gcp-settings.md is made from here.

Fields that may come from other resources take Pulumi's Outputs; what decides which resources there are does not.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field

from ..roles import ROLES, RoleRules
from ..validation import Email, Expected, InputText, Text, ValidatedArgs, validate_args
from . import regions
from .data_args import ArtifactsArgs, DatabaseArgs, NetworkArgs
from .members import HOW, Member, is_member

if TYPE_CHECKING:
    Project = str
    Region = str
else:
    Project = Annotated[str, Expected("a project's id (or gcp:project in the stack's config)")]
    Region = Annotated[str, Expected("one of Google Cloud's regions (or gcp:region in the stack's config)")]
# https://cloud.google.com/resource-manager/docs/creating-managing-projects
_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
# https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services: one letter of a host's name each.
_SERVICE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Alerts and people go by them.
_OWN_LABELS = ("project", "stack", "component")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_CLIENT_ID = re.compile(r"[0-9]+(?:-[a-z0-9]+)?\.apps\.googleusercontent\.com")
_SECRET = re.compile(r"projects/[a-z0-9-]+/secrets/[A-Za-z0-9_-]{1,255}(?:/versions/(?:latest|[1-9]\d*))?")
_CREDENTIALS = re.compile(r"//[^/@]+@")


class AppArgs(ValidatedArgs):
    """The project's App Engine application, and MLflow's service in it."""

    production_defaults = {"min_instances": 2, "max_instances": 6}

    mode: Literal["create", "import", "existing"] = "create"
    """create: this project has no application yet; import: take the one that is there over, with its Identity-Aware
    Proxy; existing: use it as it is, and leave its Identity-Aware Proxy to others. No project can ever lose its
    application, nor move it to another region."""
    location: Text | None = None
    """App Engine's name of its region, such as europe-west; none: the one of `region`."""
    service: Text = "mlflow"
    """MLflow's service. `default` can never be destroyed, only replaced by something else."""
    placeholder: bool | None = None
    """A page that scales to zero on the service `default`, which has to be there before any other; none: only for an
    application that is made here."""
    cpu: Literal[1, 2, 4, 6, 8, 10, 12, 14, 16] = 1
    """Cores of an instance."""
    memory_gb: float = Field(default=2.0, ge=1, le=104)
    """Memory of an instance in GB: MLflow wants 0.5 for itself and 0.3 for each of its processes."""
    disk_gb: int = Field(default=10, ge=10, le=10240)
    """Disk of an instance in GB; nothing that lasts is on it."""
    min_instances: int = Field(default=1, ge=1, le=100)
    """Instances that always run."""
    max_instances: int = Field(default=4, ge=1, le=100)
    """Instances that run when there is much to do."""
    cpu_utilization: float = Field(default=0.75, ge=0.1, le=0.95)
    """The share of the processors above which another instance starts."""
    workers: int = Field(default=0, ge=0, le=64)
    """MLflow's processes in each instance; 0: as many as the memory bears."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if self.location is not None and self.location not in regions.APP_ENGINE:
            older = regions.app_engine_location(self.location)
            known = (
                f"App Engine calls it {older}"
                if older
                else f"allowed is one of {', '.join(sorted(regions.APP_ENGINE))}"
            )
            yield "location", f"{self.location!r} is given; {known}."
        if not _SERVICE.fullmatch(self.service):
            yield (
                "service",
                f"{self.service!r} is given; allowed are up to 63 letters of a-z, digits and hyphens between them.",
            )
        if self.placeholder and self.service == "default":
            yield "placeholder", "true is given; with service default, MLflow itself is there."
        if self.max_instances < self.min_instances:
            yield (
                "max_instances",
                f"{self.max_instances} is given; allowed is {self.min_instances} (minInstances) or more.",
            )
        # App Engine adds 0.4 GB of its own: https://cloud.google.com/appengine/docs/flexible/reference/app-yaml#resource-settings
        low, high = max(1.0, self.cpu - 0.4), 6.5 * self.cpu - 0.4
        if not low <= self.memory_gb <= high:
            cores = "1 core" if self.cpu == 1 else f"{self.cpu} cores"
            yield "memory_gb", f"{self.memory_gb:g} is given; with {cores} (cpu) allowed is {low:g} to {high:g}."


class SignInArgs(ValidatedArgs):
    """The OAuth client with which Identity-Aware Proxy signs people in, made in Google's console."""

    client_id: Text | None = None
    """Its id, NUMBER-....apps.googleusercontent.com; its secret is a config secret of its own."""
    client_id_from: Text | None = None
    """Instead, a Secret Manager secret that is there and holds the id: projects/PROJECT/secrets/NAME."""
    client_secret_from: Text | None = None
    """And the one that holds the secret."""
    desktop_client_ids: list[Text] = []
    """Further OAuth clients whose users may call from programs, such as the one of people's gcloud login."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        for name in ("client_id_from", "client_secret_from"):
            value = getattr(self, name)
            if value is not None and not _SECRET.fullmatch(value):
                yield name, f"{value!r} is given; allowed is projects/PROJECT/secrets/NAME (/versions/VERSION)."
        if self.client_id is not None and not _CLIENT_ID.fullmatch(self.client_id):
            yield "client_id", f"{self.client_id!r} is given; allowed is NUMBER-....apps.googleusercontent.com."
        for one in self.desktop_client_ids:
            if not _CLIENT_ID.fullmatch(one):
                yield "desktop_client_ids", f"{one!r} is given; allowed is NUMBER-....apps.googleusercontent.com."
        if self.client_id is not None and self.client_id_from is not None:
            yield "client_id_from", "give the id itself (clientId) or a secret that holds it, not both."
        if (self.client_id_from is None) != (self.client_secret_from is None):
            yield "client_secret_from", "give clientIdFrom and clientSecretFrom, or neither."


class ConditionArgs(ValidatedArgs):
    """Members who come in while a condition of IAM holds."""

    members: list[Member]
    """Who."""
    title: Text
    """The condition's name."""
    expression: Text
    """When, in the Common Expression Language, such as request.time < timestamp("2027-01-01T00:00:00Z")."""
    description: Text | None = None

    def conflicts(self) -> Iterator[tuple[str, str]]:
        yield from _wrong_members("members", self.members)
        if not self.members:
            yield "members", "it is empty; a condition is about somebody."


class IapRoleRules(RoleRules):
    """The highest role that fits somebody is theirs. Each entry is email:ADDRESS or domain:NAME."""

    entries = "email:ADDRESS or domain:NAME"

    def conflicts(self) -> Iterator[tuple[str, str]]:
        yield from super().conflicts()
        for role in ROLES:
            for rule in getattr(self, role):
                if rule.startswith("group:"):
                    yield role, f"{rule!r} is given; Identity-Aware Proxy tells no groups: use email: or domain:."


class AccessArgs(ValidatedArgs):
    """Who comes through Identity-Aware Proxy, and what they may do."""

    members: list[Member] = []
    """Who may come in: user:, group: and serviceAccount: with an address, domain: with a name."""
    conditional: list[ConditionArgs] = []
    """Who may come in on a condition."""
    roles: IapRoleRules = IapRoleRules()
    """Which role they have, by e-mail or domain; Identity-Aware Proxy does not tell groups."""
    client_account: bool = False
    """A service account for clients, who may come in."""
    client_role: Literal["viewer", "editor", "admin"] = "editor"
    """Which role that account has."""
    client_users: list[Member] = []
    """Who may act as that account: people, or service accounts of training jobs."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        yield from _wrong_members("members", self.members)
        yield from _wrong_members("client_users", self.client_users)
        if self.client_users and not self.client_account:
            yield "client_users", "they act as the clients' account: set clientAccount, or leave them out."

    def everyone(self) -> list[str]:
        """All members, those on a condition, too."""
        return [*self.members, *(one for each in self.conditional for one in each.members)]

    def without_role(self) -> list[str]:
        """Members who come in and are refused by the proxy. Whose e-mails are not known here (groups) are left out."""
        given = [rule.lower().split(":", 1) for role in ROLES for rule in getattr(self.roles, role)]
        addresses = {value for kind, value in given if kind == "email"}
        domains = {value for kind, value in given if kind == "domain"}
        return [
            member
            for member in self.everyone()
            for kind, _, value in [member.lower().partition(":")]
            if (kind == "domain" and value not in domains and not any(one.endswith(f"@{value}") for one in addresses))
            or (
                kind in {"user", "serviceaccount"} and value not in addresses and value.partition("@")[2] not in domains
            )
        ]


class ImageArgs(ValidatedArgs):
    """MLflow's container image, with the proxy in it."""

    reference: InputText | None = None
    """An image that is there, by digest (registry/name@sha256:...), instead of one built from mlflow_app/."""
    base: Text | None = None
    """The Dockerfile's base image, if not its own default."""
    package_index: Text | None = None
    """A Python package index for the build, if not the public one."""
    kept: int = Field(default=10, ge=2, le=100)
    """How many images the repository keeps: new instances pull the one that runs again."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if isinstance(self.reference, str) and not re.search(r"@sha256:[0-9a-f]{64}$", self.reference):
            yield "reference", f"{self.reference!r} is given; allowed is an image by digest (...@sha256:...)."
        if self.package_index is not None and _CREDENTIALS.search(self.package_index):
            yield "package_index", "it holds credentials, and build arguments are no secrets: use one without."
        if self.reference is not None:
            for name in ("base", "package_index"):
                if getattr(self, name) is not None:
                    yield name, "it is for an image built here; with a reference nothing is built."


class WatchingArgs(ValidatedArgs):
    """Logs, alerts and a dashboard."""

    production_defaults = {"log_days": 365}

    email: Email | None = None
    """Who is told of alerts."""
    log_days: int = Field(default=30, ge=1, le=3650)
    """How long MLflow's and the proxy's logs are kept, in days."""
    dashboard: bool = True
    """A dashboard in Cloud Monitoring."""
    slow_seconds: int = Field(default=5, ge=1, le=120)
    """The 95th percentile of answers above which an alert goes off."""


class GcpMlflowArgs(ValidatedArgs):
    """MLflow on App Engine behind Identity-Aware Proxy."""

    production_defaults = {"deletion_protection": True}
    config_secrets = {"oauth_client_secret": "gcpOauthClientSecret"}

    project: Project
    """Google Cloud's project, by its id; in a stack's config `gcp:project` does, too."""
    region: Region
    """Where database, image, secrets and (if not said otherwise) the bucket are, such as europe-west1; in a stack's
    config `gcp:region` does, too."""
    environment: Literal["development", "production"] = "development"
    """Whose defaults hold: a cheap stack that can be thrown away, or a hardened one."""
    deletion_protection: bool = False
    """Nothing that holds data can be destroyed."""
    labels: dict[str, str] = {}
    """Further labels of every resource that takes labels."""
    app: AppArgs = AppArgs()
    sign_in: SignInArgs = SignInArgs()
    oauth_client_secret: InputText | None = None
    """The secret of `signIn.clientId`; in a stack's config it is the secret key `mlflow:gcpOauthClientSecret`."""
    access: AccessArgs = AccessArgs()
    database: DatabaseArgs = DatabaseArgs()
    network: NetworkArgs = NetworkArgs()
    artifacts: ArtifactsArgs = ArtifactsArgs()
    image: ImageArgs = ImageArgs()
    watching: WatchingArgs = WatchingArgs()

    @classmethod
    def read(cls, values: "Mapping[str, Any] | GcpMlflowArgs", where: str) -> Self:
        """The settings that ``values`` give, with the environment's defaults; errors name places below ``where``.

        Raises SettingsError with everything that is wrong.
        """
        named = values.get("environment") if isinstance(values, Mapping) else values.environment
        return validate_args(cls, values, where, production=named == "production")

    @property
    def app_location(self) -> str:
        """App Engine's name of its region."""
        return self.app.location or regions.app_engine_location(self.region) or self.region

    @property
    def makes_network(self) -> bool:
        """A private database needs a VPC, and none was named."""
        return self.database.private and self.network.name is None

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if not _PROJECT.fullmatch(self.project):
            yield (
                "project",
                f"{self.project!r} is given; allowed is a project's id: 6 to 30 letters of a-z, digits and hyphens.",
            )
        yield from self._wrong_places()
        yield from self._wrong_sign_in()
        # project and service are one part of a host's name with certificates of Google's: at most 63 letters.
        # https://cloud.google.com/appengine/docs/flexible/how-requests-are-routed
        host = f"{VERSION}-dot-{self.app.service}-dot-{self.project}"
        if len(host) > 63:
            yield "app.service", f"{self.app.service!r} is too long: {host} is one part of a host's name, which has 63."
        # Where Cloud SQL's proxy makes it: no path of a socket is longer (mlflow_app/settings.py).
        socket = f"/cloudsql/{self.project}:{self.region}:{self.database.instance}"
        if self.database.instance is not None and not self.database.private and len(socket) > 107:
            yield (
                "database.instance",
                f"{self.database.instance!r} is too long: {socket} is a socket's path, which has 107.",
            )
        for name, value in self.labels.items():
            if name in _OWN_LABELS:
                yield "labels", f"{name} is given; the labels {', '.join(_OWN_LABELS)} are the program's."
            if not (_LABEL_KEY.fullmatch(name) and _LABEL_VALUE.fullmatch(value)):
                yield (
                    "labels",
                    f"{name}={value} is given; allowed are 63 of a-z, digits, _ and -, a letter first.",
                )
        if self.access.everyone() and not self.access.roles.any():
            yield "access.roles", "it is missing; whoever comes in would have no role."
        if self.network.name is None and self.network.cidr != NetworkArgs().cidr and not self.database.private:
            yield "network.cidr", "it is for a new VPC, which only a private database brings (database.private)."

    def _wrong_places(self) -> Iterator[tuple[str, str]]:
        if self.region not in regions.REGIONS:
            near = ", ".join(regions.near(self.region, regions.REGIONS))
            yield "region", f"{self.region!r} is given; allowed is one of Google Cloud's, such as {near}."
        elif regions.app_engine_location(self.region) is None and self.app.location is None:
            near = ", ".join(regions.near(self.region, regions.APP_ENGINE))
            yield "app.location", f"App Engine is not in {self.region}: name a location that it is in, such as {near}."
        if self.app.location is not None and regions.region_of(self.app.location) != self.region and self.makes_network:
            yield "app.location", "a private database's new VPC is in `region`; App Engine has to be there, too."

    def _wrong_sign_in(self) -> Iterator[tuple[str, str]]:
        sign_in, given = self.sign_in, self.oauth_client_secret is not None
        if self.app.mode == "existing":
            if given or sign_in.client_secret_from is not None:
                yield (
                    "sign_in",
                    "a client secret is given; with app.mode existing, sign-in is left as it is.",
                )
            return
        if sign_in.client_id is None and sign_in.client_id_from is None:
            yield (
                "sign_in.client_id",
                "it is missing; make an OAuth client in Google's console (docs/gcp.md) and give its id and secret.",
            )
        if sign_in.client_id is not None and not given:
            yield (
                "sign_in.client_id",
                "its secret is missing: `pulumi config set --secret mlflow:gcpOauthClientSecret`.",
            )
        if given and sign_in.client_id_from is not None:
            yield "sign_in.client_secret_from", "the secret is given twice: here and as mlflow:gcpOauthClientSecret."


# MLflow's version in App Engine: it stays, since another one would be a second deployment.
VERSION = "v1"


def _wrong_members(name: str, members: list[str]) -> Iterator[tuple[str, str]]:
    for member in members:
        if not is_member(member):
            yield name, f"{member!r} is given; allowed is {HOW}."
