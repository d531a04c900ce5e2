"""Every setting of AwsMlflowProxy: its default, what it takes, and a sentence. docs/aws-settings.md is made from here.

Fields that may come from other resources take Pulumi's Outputs; what decides which resources there are does not.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import Field

from ..roles import RoleRules
from ..validation import Email, InputText, Text, ValidatedArgs, validate_args
from .edge_args import EdgeArgs
from .network_args import Days, NetworkArgs
from .targets import is_app
from .types import Arn, KmsKeyArn, PolicyArn

_PREFIX = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
_PROFILE = re.compile(r"(?=.{1,63}$)[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_VERSION = re.compile(r"\d+\.\d+")
_WINDOW = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun):([01]\d|2[0-3]):[0-5]\d")
# The letter after a family's generation: g is Graviton, as in t4g and m7gd.
_GRAVITON = re.compile(r"(?:[a-z]+\d+g[a-z]*|a1)(?:-[a-z0-9]+)?\.")
_CREDENTIALS = re.compile(r"//[^/@]+@")
_INSTANCE = re.compile(r"[a-z][a-z0-9-]*\.(?:nano|micro|small|medium|large|\d*xlarge|metal(?:-\w+)?)")
# An AMI's id, or anything that is not nearly one.
_LABEL = re.compile(r"ami-[0-9a-f]{8,17}|(?!ami-)[A-Za-z0-9-]{1,40}")
# Of the burstable families, which are the usual ones here: MiB and cores.
_BURSTABLE = re.compile(r"t(?:3a?|4g)\.(\w+)")
_SIZES = {"nano": (512, 2), "micro": (1024, 2), "small": (2048, 2), "medium": (4096, 2), "large": (8192, 2)}
_ECR = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com/")
Size = Literal["Small", "Medium", "Large"]
Architecture = Literal["arm64", "amd64"]
# Names, rights and bills go by them.
_OWN_TAGS = ("Project", "Stack", "Component", "Name")


class TrackingArgs(ValidatedArgs):
    """SageMaker's MLflow and the bucket of its artifacts."""

    production_defaults = {"old_versions_days": 90}

    kind: Literal["app", "server"] = "app"
    """A serverless MLflow app, or a tracking server."""
    target_arn: Arn | None = None
    """A SageMaker MLflow that is there, instead of a new one with a bucket."""
    server_size: Size = "Small"
    """Of a tracking server: for about 25, 50 or 100 people."""
    mlflow_version: Text | None = None
    """Of a tracking server, such as 3.0; none: SageMaker's newest when it is made. A change makes a new, empty one."""
    maintenance_window: Text | None = None
    """When SageMaker may maintain it, in UTC, such as Tue:03:30."""
    automatic_model_registration: bool = False
    """Models registered in MLflow appear in SageMaker's model registry, too."""
    artifact_prefix: Text = "mlflow"
    """Where artifacts are in the bucket. A change makes a new, empty SageMaker MLflow."""
    old_versions_days: int = Field(default=7, ge=1, le=3650)
    """How long overwritten and deleted artifacts can be brought back."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if self.target_arn is not None:
            for name in ("mlflow_version", "maintenance_window"):
                if getattr(self, name) is not None:
                    yield name, "it cannot be set for a SageMaker MLflow that is there (targetArn)."
            if self.automatic_model_registration:
                yield "automatic_model_registration", "it cannot be set for a SageMaker MLflow that is there."
        if isinstance(self.target_arn, str):
            try:
                is_app(self.target_arn)
            except ValueError as error:
                yield "target_arn", str(error)
        if self.kind == "app" and self.target_arn is None and self.mlflow_version is not None:
            yield "mlflow_version", "SageMaker chooses an app's version; a tracking server's can be chosen."
        if self.server_size != "Small" and (self.kind == "app" or self.target_arn is not None):
            yield "server_size", "it is for a new tracking server (kind: server)."
        version = self.mlflow_version
        # The provider keeps two numbers, and a third would replace the server at every update.
        if version is not None and not _VERSION.fullmatch(version):
            yield "mlflow_version", f"{version!r} is given; allowed are two numbers, such as 3.0."
        # In an ARN, * and ? would reach further.
        if not _PREFIX.fullmatch(self.artifact_prefix):
            yield (
                "artifact_prefix",
                f"{self.artifact_prefix!r} is given; allowed are letters, digits and . _ - with / between them.",
            )
        window = self.maintenance_window
        if isinstance(window, str) and not _WINDOW.fullmatch(window):
            yield "maintenance_window", f"{window!r} is given; allowed is a day and a time in UTC, such as Tue:03:30."


class StudioArgs(ValidatedArgs):
    """A SageMaker Studio domain, VPC-only, with one user profile."""

    user_profile: Text = "mlflow"
    """The user profile's name."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if not _PROFILE.fullmatch(self.user_profile):
            yield (
                "user_profile",
                f"{self.user_profile!r} is given; allowed are up to 63 letters, digits and hyphens between them.",
            )


class ImageArgs(ValidatedArgs):
    """The proxy's container image."""

    reference: InputText | None = None
    """An image that is there, by digest (registry/name@sha256:...), instead of one built from proxy_app/."""
    architecture: Architecture = "arm64"
    """Of image and instances: arm64 is Graviton."""
    base: Text | None = None
    """The Dockerfile's base image, if not its own default."""
    package_index: Text | None = None
    """A Python package index for the build, if not the public one."""
    kept: int = Field(default=10, ge=2, le=1000)
    """How many images the repository keeps: this one, and those that a failed rollout goes back to."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if isinstance(self.reference, str) and "@sha256:" not in self.reference:
            yield "reference", f"{self.reference!r} is given; allowed is an image by digest (...@sha256:...)."
        if self.package_index is not None and _CREDENTIALS.search(self.package_index):
            yield "package_index", "it holds credentials, and build arguments are no secrets: use one without."
        if self.reference is not None:
            for name in ("base", "package_index"):
                if getattr(self, name) is not None:
                    yield name, "an image that is there (reference) is not built."


class ServiceArgs(ValidatedArgs):
    """The proxy on ECS, on EC2 instances of its own."""

    production_defaults = {"tasks": 2, "most_tasks": 6}

    instance_type: Text | None = None
    """None: t4g.small for arm64, t3.small for amd64."""
    machine_image: Text = "first"
    """An AMI's id, or a label of yours: a new label moves to the newest ECS-optimized image, the same one keeps it."""
    tasks: int = Field(default=1, ge=1, le=20)
    """Proxies that always run, each on an instance of its own."""
    most_tasks: int = Field(default=2, ge=1, le=40)
    """Up to how many run under load."""
    requests_per_task: int = Field(default=6000, ge=60, le=600000)
    """Requests a minute and proxy above which more are started."""
    cpu_percent: int = Field(default=60, ge=10, le=90)
    """Processor load above which more are started."""
    task_memory: int = Field(default=1024, ge=512, le=30720)
    """Memory of a proxy in MiB."""
    task_cpu: int = Field(default=1024, ge=128, le=8192)
    """Processor share of a proxy; 1024 is one core, and a proxy cannot use more."""
    body_limit: int = Field(default=32, ge=1, le=1024)
    """The largest body of a request, in MiB."""
    body_budget: int = Field(default=256, ge=1, le=16384)
    """What all bodies under way may take, in MiB."""
    exec_access: bool = False
    """ECS Exec into a running proxy, for whoever may use it in this account; its root is writable then."""
    container_insights: bool = False
    """CloudWatch's Container Insights of the cluster, which bills by metric."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if self.most_tasks < self.tasks:
            yield "most_tasks", f"{self.most_tasks} is too few: it has to be {self.tasks} (tasks) or more."
        if self.body_budget < self.body_limit:
            yield (
                "body_budget",
                f"{self.body_budget} is too little: it has to be {self.body_limit} (bodyLimit) or more.",
            )
        if self.task_memory < self.body_budget + 256:
            yield (
                "task_memory",
                f"{self.task_memory} is too little: it has to be bodyBudget and 256 ({self.body_budget + 256}).",
            )
        if not _LABEL.fullmatch(self.machine_image):
            yield (
                "machine_image",
                f"{self.machine_image!r} is given; allowed is an AMI's id (ami-0123456789abcdef0), or a label of up to "
                "40 letters, digits and hyphens.",
            )
        if self.instance_type is not None and not _INSTANCE.fullmatch(self.instance_type):
            yield (
                "instance_type",
                f"{self.instance_type!r} is given; allowed is an EC2 instance type, such as t4g.small.",
            )
            return
        room = _room(self.instance_type)
        if room is not None:
            memory, cpu = room
            kind = self.instance_type or "the usual instance"
            if self.task_memory > memory:
                yield (
                    "task_memory",
                    f"{self.task_memory} is too much: {kind} has room for {memory} beside its agents. Set a larger "
                    "instanceType.",
                )
            if self.task_cpu > cpu:
                yield "task_cpu", f"{self.task_cpu} is too much: {kind} has {cpu}. Set a larger instanceType."


class AccessArgs(ValidatedArgs):
    """Who may do what."""

    roles: RoleRules = RoleRules()
    """Which role people who signed in have."""
    admin_token_days: int = Field(default=365, ge=1, le=3660)
    """How long the first admin token holds, from the day it was made."""


class WatchingArgs(ValidatedArgs):
    """Logs, alarms and a dashboard."""

    production_defaults = {"log_days": 365}

    log_days: Days = 30
    """How long the proxy's log is kept, in days."""
    email: Email | None = None
    """Who is told of alarms; AWS asks that address first."""
    dashboard: bool = True
    """A CloudWatch dashboard."""
    slow_seconds: int = Field(default=5, ge=1, le=120)
    """The 95th percentile of the proxy's answers above which an alarm goes off."""


class AwsMlflowProxyArgs(ValidatedArgs):
    """SageMaker's MLflow behind the proxy."""

    production_defaults = {"deletion_protection": True}
    config_secrets = {"sso_client_secret": "awsSsoClientSecret"}

    environment: Literal["development", "production"] = "development"
    """Whose defaults hold: a cheap stack that can be thrown away, or a hardened one."""
    deletion_protection: bool = False
    """Nothing that holds data can be destroyed, and secrets can be brought back for 30 days."""
    tags: dict[str, str] = {}
    """Further tags of every resource."""
    permissions_boundary_arn: PolicyArn | None = None
    """A boundary for every role."""
    kms_key_arn: KmsKeyArn | None = None
    """A customer key for bucket, image, logs, secrets and disks; none: the services' own keys."""
    network: NetworkArgs = NetworkArgs()
    tracking: TrackingArgs = TrackingArgs()
    studio: StudioArgs | None = None
    image: ImageArgs = ImageArgs()
    service: ServiceArgs = ServiceArgs()
    edge: EdgeArgs = EdgeArgs()
    sso_client_secret: InputText | None = None
    """The secret of `edge.sso`; in a stack's config it is the secret key `mlflow:awsSsoClientSecret`."""
    access: AccessArgs = AccessArgs()
    watching: WatchingArgs = WatchingArgs()

    @classmethod
    def read(cls, values: "Mapping[str, Any] | AwsMlflowProxyArgs", where: str) -> Self:
        """The settings that ``values`` give, with the environment's defaults; errors name places below ``where``.

        Raises SettingsError with everything that is wrong.
        """
        named = values.get("environment") if isinstance(values, Mapping) else values.environment
        return validate_args(cls, values, where, production=named == "production")

    def wrong_region(self, region: str) -> Iterator[tuple[str, str]]:
        """(dotted name of a field, sentence) of what is not in the region where the stack is."""
        there = {"kms_key_arn": self.kms_key_arn, "edge.certificate_arn": self.edge.certificate_arn}
        if self.network.egress == "endpoints":
            there["tracking.target_arn"] = self.tracking.target_arn
        for name, arn in there.items():
            if isinstance(arn, str) and arn.split(":")[3] != region:
                yield name, f"{arn} is given; it has to be in the stack's region (aws:region), {region}."

    def conflicts(self) -> Iterator[tuple[str, str]]:
        network, edge = self.network, self.edge
        if network.egress == "endpoints" and edge.sso is not None:
            yield (
                "edge.sso",
                "sign-in needs the internet: the load balancer's keys and a public issuer have no VPC endpoint. "
                "Set network.egress to nat or nat-per-zone.",
            )
        if network.egress == "endpoints" and self.image.reference is not None and not _in_ecr(self.image.reference):
            yield (
                "image.reference",
                f"{self.image.reference!r} is given; without internet allowed is an image in Amazon ECR.",
            )
        if network.vpc_id is not None and edge.public and len(network.public_subnet_ids) < 2:
            yield "network.public_subnet_ids", "a public load balancer needs two or more."
        if edge.sso is not None and self.sso_client_secret is None:
            yield "edge.sso", "its client secret is missing: `pulumi config set --secret mlflow:awsSsoClientSecret`."
        if edge.sso is None and self.sso_client_secret is not None:
            yield (
                "edge.sso",
                "it is missing, and its client secret is given (mlflow:awsSsoClientSecret): give both or neither.",
            )
        if self.environment == "production" and not (edge.https or edge.allow_http):
            yield (
                "edge",
                "in production tokens do not travel in plain text: set certificateArn or domain (or allowHttp).",
            )
        for name in self.tags:
            if name.lower().startswith("aws:") or name in _OWN_TAGS:
                yield "tags", f"{name} is given; the tags {', '.join(_OWN_TAGS)} are the program's, and aws: is AWS's."
        if self.access.roles.any() and edge.sso is None:
            yield "access.roles", "only people who sign in have them: set edge.sso, or leave them out."
        if edge.sso is not None and not self.access.roles.any():
            yield "access.roles", "it is missing; whoever signs in would have no role."
        kind = self.service.instance_type
        if kind is not None and _architecture(kind) != self.image.architecture:
            yield (
                "service.instance_type",
                f"{kind!r} is given, which is {_architecture(kind)}; image.architecture is {self.image.architecture}.",
            )


def _room(instance_type: str | None) -> tuple[int, int] | None:
    """MiB and processor share that a task can have there; None where the size is not known here."""
    found = _BURSTABLE.fullmatch(instance_type or "t4g.small")
    if found is None or found[1] not in _SIZES:
        return None
    memory, cores = _SIZES[found[1]]
    # Linux sees some 7 % less, and 256 MiB are kept for the agents (instances.py).
    return memory * 7 // 8 - 256, cores * 1024


def _architecture(instance_type: str) -> Architecture:
    return "arm64" if _GRAVITON.match(instance_type) else "amd64"


def _in_ecr(reference: Any) -> bool:
    return not isinstance(reference, str) or _ECR.match(reference) is not None
