"""The settings of AwsMlflowProxy with their types, defaults and descriptions: the source of docs/aws-settings.md.

Values that may come from other resources accept Pulumi Outputs; settings that decide which resources exist do not.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import Field

from ..limit_settings import LimitSettings
from ..roles import RoleRules
from ..validation import Email, InputText, Text, ValidatedArgs, validate_args
from .artifacts_settings import ArtifactsSettings
from .load_balancer_settings import LoadBalancerSettings
from .network_settings import NetworkSettings, RetentionDays
from .schedule_settings import ScheduleSettings
from .types import Arn, KmsKeyArn, PolicyArn, RoleArn, TopicArn, is_mlflow_app

_PREFIX = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
_PROFILE = re.compile(r"(?=.{1,63}$)[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_VERSION = re.compile(r"\d+\.\d+")
_WINDOW = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun):([01]\d|2[0-3]):[0-5]\d")
# The letter after an instance family's generation: g is Graviton, as in t4g and m7gd.
_GRAVITON = re.compile(r"(?:[a-z]+\d+g[a-z]*|a1)(?:-[a-z0-9]+)?\.")
_CREDENTIALS = re.compile(r"//[^/@]+@")
_INSTANCE = re.compile(r"[a-z][a-z0-9-]*\.(?:nano|micro|small|medium|large|\d*xlarge|metal(?:-\w+)?)")
# An AMI ID, or a label: anything that does not start like an ID, which would be a typing error.
_AMI_OR_LABEL = re.compile(r"ami-[0-9a-f]{8,17}|(?!ami-)[A-Za-z0-9-]{1,40}")
# The burstable families: MiB of memory and cores.
_BURSTABLE = re.compile(r"t(?:3a?|4g)\.(\w+)")
_SIZES = {"nano": (512, 2), "micro": (1024, 2), "small": (2048, 2), "medium": (4096, 2), "large": (8192, 2)}
_ECR = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com/")
# Memory of MLflow's UI server and the supervisor of the two processes.
_UI_MIB = 512
# Of the proxy without bodies: the process (60), parts of uploads (64), responses whose locations are mapped (32).
_PROXY_MIB = 160
_RESPONSE_BUDGET_MIB = 256
Size = Literal["Small", "Medium", "Large"]
Architecture = Literal["arm64", "amd64"]
# Set by the component: resource names, IAM conditions and cost reports rely on them.
_RESERVED_TAGS = ("Project", "Stack", "Component", "Name")


class TrackingSettings(ValidatedArgs):
    """SageMaker MLflow and the S3 bucket for its artifacts."""

    production_defaults = {"noncurrent_version_days": 90}

    kind: Literal["app", "server"] = "app"
    """A serverless MLflow app, or a tracking server."""
    target_arn: Arn | None = None
    """Use an existing MLflow app or tracking server instead of creating one with a bucket."""
    assume_role_arn: RoleArn | None = None
    """IAM role that the proxy assumes for its requests to `targetArn`: for an app or tracking server in another AWS
    account, whose administrators create the role."""
    server_size: Size = "Small"
    """Size of the tracking server: for about 25, 50 or 100 users."""
    mlflow_version: Text | None = None
    """MLflow version of the tracking server, such as 3.0. Default: the latest one that SageMaker offers at creation. A
    change creates a new, empty server."""
    maintenance_window: Text | None = None
    """Start of SageMaker's weekly maintenance window in UTC, such as Tue:03:30."""
    automatic_model_registration: bool = False
    """Also register MLflow models in the SageMaker Model Registry. On a running tracking server, `up` cannot switch it
    off."""
    artifact_prefix: Text = "mlflow"
    """Key prefix of artifacts in the bucket. A change creates a new, empty app or server."""
    noncurrent_version_days: int = Field(default=7, ge=1, le=3650)
    """Days for which overwritten and deleted artifacts can be restored (S3 noncurrent versions)."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for invalid formats, and for settings that do not apply to the kind of target."""
        if self.target_arn is not None:
            for name in ("mlflow_version", "maintenance_window"):
                if getattr(self, name) is not None:
                    yield name, "cannot be set for an existing target (targetArn)."
            if self.automatic_model_registration:
                yield "automatic_model_registration", "cannot be set for an existing target (targetArn)."
        if self.assume_role_arn is not None and self.target_arn is None:
            yield "assume_role_arn", "applies to an existing target only: set targetArn."
        if isinstance(self.target_arn, str):
            try:
                is_mlflow_app(self.target_arn)
            except ValueError as error:
                yield "target_arn", str(error)
        if self.kind == "app" and self.target_arn is None and self.mlflow_version is not None:
            yield "mlflow_version", "applies to tracking servers only: SageMaker selects the version of an app."
        if self.server_size != "Small" and (self.kind == "app" or self.target_arn is not None):
            yield "server_size", "applies to a new tracking server only: set kind to server."
        version = self.mlflow_version
        # The provider stores major and minor; a patch version would replace the server on every update.
        if version is not None and not _VERSION.fullmatch(version):
            yield "mlflow_version", f"got {version!r}, expected a major and minor version, such as 3.0."
        # In an ARN, * and ? would match more.
        if not _PREFIX.fullmatch(self.artifact_prefix):
            yield (
                "artifact_prefix",
                f"got {self.artifact_prefix!r}, expected letters, digits and . _ - with single / between them.",
            )
        window = self.maintenance_window
        if isinstance(window, str) and not _WINDOW.fullmatch(window):
            yield "maintenance_window", f"got {window!r}, expected a day and a time in UTC, such as Tue:03:30."


class StudioSettings(ValidatedArgs):
    """A SageMaker Studio domain in VPC-only mode with one user profile."""

    user_profile: Text = "mlflow"
    """Name of the user profile."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for an invalid user profile name."""
        if not _PROFILE.fullmatch(self.user_profile):
            yield (
                "user_profile",
                f"got {self.user_profile!r}, expected up to 63 letters and digits with hyphens between them.",
            )


class UiSettings(ValidatedArgs):
    """MLflow's UI."""

    enabled: bool = True
    """Serve MLflow's UI to every role, from an MLflow server beside the proxy in each task. Without it, the image is
    small, and only admins have a UI: SageMaker's, with the rights of the proxy."""


class ImageSettings(ValidatedArgs):
    """The container image."""

    image_uri: InputText | None = None
    """Use an existing image, by digest (registry/name@sha256:...), instead of building one: of mlflow_app/Dockerfile,
    or without `ui.enabled` of proxy_app/Dockerfile."""
    architecture: Architecture = "arm64"
    """CPU architecture of image and instances; arm64 is Graviton."""
    base_image: Text | None = None
    """Base image of the build. Default: the Dockerfile's."""
    package_index_url: Text | None = None
    """Python package index for the build. Default: PyPI."""
    keep_images: int = Field(default=10, ge=2, le=1000)
    """Number of images to keep in the repository, including the current one. Failed updates roll back to older ones."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for an image without digest, and for build settings that cannot apply."""
        if isinstance(self.image_uri, str) and "@sha256:" not in self.image_uri:
            yield "image_uri", f"got {self.image_uri!r}, expected an image with a digest (...@sha256:...)."
        if self.package_index_url is not None and _CREDENTIALS.search(self.package_index_url):
            yield "package_index_url", "contains credentials, and build arguments are not secret: use a URL without."
        if self.image_uri is not None:
            for name in ("base_image", "package_index_url"):
                if getattr(self, name) is not None:
                    yield name, "applies to a build only: remove it, or remove imageUri."


class ServiceSettings(ValidatedArgs):
    """The ECS service that runs the proxy, and its EC2 instances."""

    production_defaults = {"min_tasks": 2, "max_tasks": 6}

    instance_type: Text | None = None
    """EC2 instance type. Default: t4g.small for arm64, t3.small for amd64."""
    ami: Text = "pinned"
    """An AMI ID, or a label. For each new label, the latest ECS-optimized AMI is looked up once and kept."""
    min_tasks: int = Field(default=1, ge=1, le=20)
    """Minimum number of tasks, each on its own instance."""
    max_tasks: int = Field(default=2, ge=1, le=40)
    """Maximum number of tasks under load."""
    schedule: ScheduleSettings | None = None
    """Run only in these hours, to save the price of instances at night and at weekends."""
    requests_per_task: int = Field(default=6000, ge=60, le=600000)
    """Scaling target: requests per minute and task."""
    cpu_target_percent: int = Field(default=60, ge=10, le=90)
    """Scaling target: average CPU utilization of the tasks in percent."""
    task_memory_mib: int = Field(default=1536, ge=512, le=30720)
    """Memory of a task in MiB. The default is what t4g.small has for it; MLflow's UI (`ui.enabled`) takes 512."""
    task_cpu_units: int = Field(default=1024, ge=128, le=8192)
    """CPU units of a task; 1024 is one core, the most that one proxy process uses."""
    upstream_timeout_seconds: int = Field(default=110, ge=10, le=3600)
    """How long the proxy waits for MLflow's response in seconds. MLflow clients time out after 120 s by default
    (MLFLOW_HTTP_REQUEST_TIMEOUT)."""
    long_upstream_timeout_seconds: int = Field(default=310, ge=10, le=3600)
    """The same for artifacts and for model calls through MLflow's AI Gateway. The load balancer's idle timeout follows
    it."""
    body_limit_mib: int = Field(default=32, ge=1, le=1024)
    """Maximum size of a request body in MiB."""
    body_budget_mib: int = Field(default=256, ge=1, le=16384)
    """Memory for all buffered request bodies of a task in MiB."""
    enable_execute_command: bool = False
    """Enable ECS Exec into running tasks, for IAM principals with that permission. The container's root file system is
    then writable."""
    container_insights: bool = False
    """Enable CloudWatch Container Insights for the cluster, which is billed per metric."""

    def response_budget_mib(self, *, ui: bool) -> int:
        """Memory for responses on their way to clients: what a task has left, up to the proxy's default."""
        others = self.body_budget_mib + _PROXY_MIB + (_UI_MIB if ui else 0)
        return min(_RESPONSE_BUDGET_MIB, self.task_memory_mib - others)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for task counts and sizes that do not fit each other or the instance type."""
        if self.max_tasks < self.min_tasks:
            yield "max_tasks", f"got {self.max_tasks}, expected at least minTasks ({self.min_tasks})."
        if self.body_budget_mib < self.body_limit_mib:
            yield (
                "body_budget_mib",
                f"got {self.body_budget_mib}, expected at least bodyLimitMib ({self.body_limit_mib}).",
            )
        if self.long_upstream_timeout_seconds < self.upstream_timeout_seconds:
            yield (
                "long_upstream_timeout_seconds",
                f"got {self.long_upstream_timeout_seconds}, expected at least upstreamTimeoutSeconds "
                f"({self.upstream_timeout_seconds}).",
            )
        if self.task_memory_mib < self.body_budget_mib + 256:
            yield (
                "task_memory_mib",
                f"got {self.task_memory_mib}, expected at least bodyBudgetMib + 256 ({self.body_budget_mib + 256}).",
            )
        if not _AMI_OR_LABEL.fullmatch(self.ami):
            yield (
                "ami",
                f"got {self.ami!r}, expected an AMI ID (ami-0123456789abcdef0), or a label of up to 40 letters, digits "
                "and hyphens.",
            )
        if self.instance_type is not None and not _INSTANCE.fullmatch(self.instance_type):
            yield "instance_type", f"got {self.instance_type!r}, expected an EC2 instance type, such as t4g.small."
            return
        room = _room(self.instance_type)
        if room is not None:
            memory, cpu = room
            kind = self.instance_type or "the default instance type"
            if self.task_memory_mib > memory:
                yield (
                    "task_memory_mib",
                    f"got {self.task_memory_mib}, expected at most {memory}: {kind} also runs its agents. Set a "
                    "larger instanceType.",
                )
            if self.task_cpu_units > cpu:
                yield (
                    "task_cpu_units",
                    f"got {self.task_cpu_units}, expected at most {cpu} for {kind}. Set a larger instanceType.",
                )


class AccessSettings(ValidatedArgs):
    """Roles and tokens."""

    roles: RoleRules = RoleRules()
    """Roles of users who sign in."""
    admin_token_days: int = Field(default=365, ge=1, le=3660)
    """Lifetime of the first admin token in days."""


class MonitoringSettings(ValidatedArgs):
    """Logs, alarms and a dashboard."""

    production_defaults = {"log_retention_days": 365}

    log_retention_days: RetentionDays = 30
    """Retention of the proxy's log in days."""
    alarm_email: Email | None = None
    """E-mail address for alarms. AWS sends it a request to confirm the subscription."""
    alarm_topic_arn: TopicArn | None = None
    """Existing SNS topic for alarms, instead of a new one."""
    dashboard: bool = True
    """Create a CloudWatch dashboard."""
    latency_threshold_seconds: int = Field(default=5, ge=1, le=120)
    """Alarm threshold for the 95th percentile of response times in seconds."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for an e-mail address beside an existing topic."""
        if self.alarm_email is not None and self.alarm_topic_arn is not None:
            yield "alarm_email", "applies to a new topic only: subscribe the address to alarmTopicArn."


class AwsMlflowProxySettings(ValidatedArgs):
    """SageMaker MLflow behind the proxy."""

    production_defaults = {"deletion_protection": True}
    config_secrets = {"oidc_client_secret": "awsOidcClientSecret"}

    environment: Literal["development", "production"] = "development"
    """Selects defaults: development (cheap, disposable) or production (hardened)."""
    deletion_protection: bool = False
    """Refuse to delete the component, and to delete or replace any resource that cannot be created again; keep deleted
    secrets recoverable for 30 days."""
    tags: dict[str, str] = {}
    """Additional tags for all resources."""
    permissions_boundary_arn: PolicyArn | None = None
    """Permissions boundary for all IAM roles."""
    kms_key_arn: KmsKeyArn | None = None
    """Customer managed KMS key for the bucket, images, logs, secrets and disks. Default: AWS owned or managed keys."""
    network: NetworkSettings = NetworkSettings()
    """Network: a new VPC, or an existing one."""
    tracking: TrackingSettings = TrackingSettings()
    """SageMaker MLflow and its bucket."""
    artifacts: ArtifactsSettings = ArtifactsSettings()
    """Artifacts through the proxy."""
    ui: UiSettings = UiSettings()
    """MLflow's UI."""
    limits: LimitSettings = LimitSettings()
    """Fair use: limits of each token or user."""
    studio: StudioSettings | None = None
    """Create a SageMaker Studio domain in the same VPC."""
    image: ImageSettings = ImageSettings()
    """The proxy's container image."""
    service: ServiceSettings = ServiceSettings()
    """The ECS service."""
    load_balancer: LoadBalancerSettings = LoadBalancerSettings()
    """The load balancer."""
    oidc_client_secret: InputText | None = None
    """Client secret for `loadBalancer.oidc`. In a stack's config, set the secret `mlflow:awsOidcClientSecret`."""
    access: AccessSettings = AccessSettings()
    """Roles and tokens."""
    monitoring: MonitoringSettings = MonitoringSettings()
    """Logs, alarms and dashboard."""

    @classmethod
    def read(cls, values: "Mapping[str, Any] | AwsMlflowProxySettings", prefix: str) -> Self:
        """Validate ``values`` and fill in the defaults of their environment.

        Raises SettingsError with all problems at once; each starts with ``prefix`` and the setting's name.
        """
        named = values.get("environment") if isinstance(values, Mapping) else values.environment
        return validate_args(cls, values, prefix, production=named == "production")

    def wrong_region(self, region: str) -> Iterator[tuple[str, str]]:
        """Yield (dotted name of a field, message) for each ARN outside the stack's region."""
        arns = {
            "kms_key_arn": self.kms_key_arn,
            "load_balancer.certificate_arn": self.load_balancer.certificate_arn,
            # Alarms notify topics of their own region only.
            "monitoring.alarm_topic_arn": self.monitoring.alarm_topic_arn,
        }
        if self.network.egress == "endpoints":
            arns["tracking.target_arn"] = self.tracking.target_arn
        for name, arn in arns.items():
            if isinstance(arn, str) and arn.split(":")[3] != region:
                yield name, f"got {arn}, expected an ARN in the stack's region, {region} (aws:region)."

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for settings of different groups that do not fit each other."""
        network, load_balancer = self.network, self.load_balancer
        if network.egress == "endpoints" and load_balancer.oidc is not None:
            yield (
                "load_balancer.oidc",
                "requires internet access: the load balancer's signing keys and the identity provider have no VPC "
                "endpoint. Set network.egress to nat or nat-per-az.",
            )
        if network.egress == "endpoints" and self.image.image_uri is not None and not _in_ecr(self.image.image_uri):
            yield (
                "image.image_uri",
                f"got {self.image.image_uri!r}, expected an image in Amazon ECR: network.egress is endpoints.",
            )
        needed = self.service.body_budget_mib + 256 + _UI_MIB
        if self.ui.enabled and self.service.task_memory_mib < needed:
            yield (
                "service.task_memory_mib",
                f"got {self.service.task_memory_mib}, expected at least bodyBudgetMib + {256 + _UI_MIB} ({needed}) "
                "with MLflow's UI. Set more memory, or ui.enabled to false.",
            )
        if self.artifacts.uri is not None and self.tracking.target_arn is None:
            yield "artifacts.uri", "applies to an existing target only (tracking.targetArn): a new one has a bucket."
        if self.artifacts.presigned_transfers and self.tracking.target_arn is not None and self.artifacts.uri is None:
            yield "artifacts.presigned_transfers", "requires artifacts.uri for an existing target."
        if self.studio is not None and self.tracking.assume_role_arn is not None:
            yield "studio", "cannot use a target in another account (tracking.assumeRoleArn): remove one of the two."
        if network.vpc_id is not None and load_balancer.public and len(network.public_subnet_ids) < 2:
            yield "network.public_subnet_ids", "a public load balancer in an existing VPC requires at least two."
        if load_balancer.oidc is not None and self.oidc_client_secret is None:
            yield (
                "load_balancer.oidc",
                "the client secret is missing: run `pulumi config set --secret mlflow:awsOidcClientSecret`.",
            )
        if load_balancer.oidc is None and self.oidc_client_secret is not None:
            yield (
                "load_balancer.oidc",
                "missing, but its client secret is set (mlflow:awsOidcClientSecret): set both or neither.",
            )
        if self.environment == "production" and not (load_balancer.https or load_balancer.allow_http):
            yield "load_balancer", "production requires HTTPS: set certificateArn or domain, or allowHttp to true."
        for name in self.tags:
            if name.lower().startswith("aws:") or name in _RESERVED_TAGS:
                yield "tags", f"{name} is reserved, as are {', '.join(_RESERVED_TAGS)} and names that start with aws:."
        if self.access.roles.any() and load_balancer.oidc is None:
            yield "access.roles", "applies to users who sign in: set loadBalancer.oidc, or remove the rules."
        if load_balancer.oidc is not None and not self.access.roles.any():
            yield "access.roles", "missing; without rules, users who sign in have no role."
        kind = self.service.instance_type
        if kind is not None and _architecture(kind) != self.image.architecture:
            yield (
                "service.instance_type",
                f"{kind!r} is {_architecture(kind)}, but image.architecture is {self.image.architecture}.",
            )


def _room(instance_type: str | None) -> tuple[int, int] | None:
    """(MiB of memory, CPU units) available to tasks on an instance; None for types that are not listed here."""
    found = _BURSTABLE.fullmatch(instance_type or "t4g.small")
    if found is None or found[1] not in _SIZES:
        return None
    memory, cores = _SIZES[found[1]]
    # The kernel reserves about 7 %, and 256 MiB are reserved for the agents (instances.py).
    return memory * 7 // 8 - 256, cores * 1024


def _architecture(instance_type: str) -> Architecture:
    return "arm64" if _GRAVITON.match(instance_type) else "amd64"


def _in_ecr(image_uri: Any) -> bool:
    return not isinstance(image_uri, str) or _ECR.match(image_uri) is not None
