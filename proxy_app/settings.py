"""The settings of the proxy: those of this module, and sections for fair use, artifacts and each authenticator.

Below this module nothing reads the environment, except botocore: it reads the standard ``AWS_*`` variables.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast

from .setting_table import Problem, SettingTable, help_text, read_tables, rows, setting, settings_page
from .setting_values import (
    Address,
    address,
    count,
    host_names,
    loopback_origin,
    mib,
    origin,
    path,
    path_prefix,
    positive_seconds,
    seconds,
    true_false,
)

PREFIX = "MLFLOW_PROXY_"
Section = TypeVar("Section", bound=SettingTable)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(SettingTable):
    """The proxy's settings: sizes in bytes, times in seconds.

    ``section`` returns those of another table.
    """

    title: ClassVar[str] = "Upstream, listeners and limits"
    prefix: ClassVar[str] = PREFIX

    # Upstream
    target_arn: str = setting(
        "MLFLOW_PROXY_TARGET_ARN",
        "",
        "ARN of the SageMaker MLflow tracking server or serverless app to sign requests for.",
    )
    target_endpoint: str = setting(
        "MLFLOW_PROXY_TARGET_ENDPOINT",
        "",
        "Origin (https://) to use instead of the endpoint that follows from the ARN.",
        origin,
    )
    assume_role_arn: str = setting(
        "MLFLOW_PROXY_ASSUME_ROLE_ARN",
        "",
        "IAM role to assume before signing; empty: the credentials of the AWS chain.",
    )
    upstream_url: str = setting(
        "MLFLOW_PROXY_UPSTREAM_URL",
        "",
        "Origin of a plain MLflow server to use instead of SageMaker, such as http://127.0.0.1:5000.",
        origin,
    )
    ui_url: str = setting(
        "MLFLOW_PROXY_UI_URL",
        "",
        "Origin of an MLflow server on this host that serves MLflow's page in front of SageMaker, such as "
        "http://127.0.0.1:5001; empty: the proxy has no page of MLflow.",
        loopback_origin,
    )
    ca_bundle: Path | None = setting(
        "AWS_CA_BUNDLE", "", "PEM file of certificate authorities to trust instead of the system's.", path
    )

    # Listeners
    listen: Address = setting("MLFLOW_PROXY_LISTEN", "127.0.0.1:8080", "host:port for clients.", address)
    metrics_listen: Address = setting(
        "MLFLOW_PROXY_METRICS_LISTEN",
        "127.0.0.1:9090",
        "host:port for Prometheus; keep it private: it requires no authentication.",
        address,
    )
    public_url: str = setting(
        "MLFLOW_PROXY_PUBLIC_URL",
        "",
        "Origin under which clients reach the proxy; empty: the request's Host header.",
        origin,
    )
    path_prefix: str = setting(
        "MLFLOW_PROXY_PATH_PREFIX",
        "",
        "Path below which clients reach the proxy on a shared host, such as /mlflow; other paths get 404, health "
        "checks excepted; empty: the whole host.",
        path_prefix,
    )
    allowed_hosts: tuple[str, ...] = setting(
        "MLFLOW_PROXY_ALLOWED_HOSTS",
        "",
        "Host names under which clients reach the proxy, such as mlflow.example.com, *.example.com; requests for "
        "another name get 403, health checks excepted; empty: any name.",
        host_names,
    )

    user_tag: bool = setting(
        "MLFLOW_PROXY_USER_TAG",
        "false",
        "Whether the author of a run in MLflow (its tag mlflow.user) is the authenticated name, true or false.",
        true_false,
    )

    # Limits
    body_limit: int = setting(
        "MLFLOW_PROXY_BODY_LIMIT_MIB", "32", "Largest body of a signed request, in MiB; above it 413.", mib
    )
    body_budget: int = setting(
        "MLFLOW_PROXY_BODY_BUDGET_MIB",
        "128",
        "Memory for all signed request bodies, in MiB; above it requests wait.",
        mib,
    )
    body_timeout: float = setting(
        "MLFLOW_PROXY_BODY_TIMEOUT_SECONDS",
        "60",
        "Longest pause in a request or response body, and longest wait for a share of the body budget. Request bodies "
        "that arrive at less than 16 KiB/s use it up, too.",
        positive_seconds,
    )
    response_budget: int = setting(
        "MLFLOW_PROXY_RESPONSE_BUDGET_MIB",
        "256",
        "Memory for responses on their way to clients, in MiB; each request in flight needs half a MiB, so this limits "
        "their number, too.",
        mib,
    )
    max_connections: int = setting(
        "MLFLOW_PROXY_MAX_CONNECTIONS", "1024", "Client connections; further ones are closed at once.", count
    )
    max_requests: int = setting(
        "MLFLOW_PROXY_MAX_REQUESTS",
        "512",
        "Requests in flight of all principals; further ones wait in the queue. As many more, each for a moment, are "
        "being authenticated.",
        count,
    )
    header_limit: int = setting(
        "MLFLOW_PROXY_HEADER_LIMIT_BYTES",
        "65536",
        "Longest request line and longest header; a whole request head may be twice as long.",
        count,
    )

    # Timeouts
    connect_timeout: float = setting(
        "MLFLOW_PROXY_CONNECT_TIMEOUT_SECONDS",
        "5",
        "Time to connect to the upstream, TLS included.",
        positive_seconds,
    )
    upstream_timeout: float = setting(
        "MLFLOW_PROXY_UPSTREAM_TIMEOUT_SECONDS",
        "110",
        "Time for the upstream to start its response, and longest pause in it; MLflow's clients time out after 120.",
        positive_seconds,
    )
    long_upstream_timeout: float = setting(
        "MLFLOW_PROXY_LONG_UPSTREAM_TIMEOUT_SECONDS",
        "310",
        "The same for artifacts and for model calls through MLflow's AI Gateway, which gives up after 300.",
        positive_seconds,
    )
    upstream_keepalive: float = setting(
        "MLFLOW_PROXY_UPSTREAM_KEEPALIVE_SECONDS",
        "4",
        "How long an idle upstream connection is kept; less than the upstream keeps it (`mlflow server`: 5).",
        seconds,
    )
    keepalive: float = setting(
        "MLFLOW_PROXY_KEEPALIVE_SECONDS",
        "75",
        "How long an idle client connection is kept; longer than a load balancer in front keeps it.",
        seconds,
    )
    drain: float = setting(
        "MLFLOW_PROXY_DRAIN_SECONDS",
        "5",
        "After SIGTERM, how long new requests are still accepted, until a load balancer stops sending them.",
        seconds,
    )
    grace: float = setting(
        "MLFLOW_PROXY_GRACE_SECONDS", "25", "After SIGTERM, how long running requests may take to finish.", seconds
    )

    sections: Mapping[type[SettingTable], SettingTable] = dataclasses.field(
        default_factory=dict[type[SettingTable], SettingTable]
    )

    def section(self, table: type[Section]) -> Section:
        """The settings of one section; the defaults if none were read."""
        return cast("Section", self.sections.get(table) or table())

    @classmethod
    def tables(cls) -> list[type[SettingTable]]:
        """All tables, in the order of the documentation."""
        # Imported here, since a health check reads one setting and should not load the authenticators.
        from .artifacts.settings import ArtifactSettings
        from .auth.authenticators import AUTHENTICATORS
        from .auth.role_rules import RoleRulesSettings
        from .limits.settings import FairUseSettings

        return [
            cls,
            FairUseSettings,
            ArtifactSettings,
            *(kind.settings_table for kind in AUTHENTICATORS),
            RoleRulesSettings,
        ]

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read all tables. Raises SettingsError with a line for every invalid value and every conflict."""
        from .artifacts import settings as artifacts

        read = read_tables(environ, cls.tables(), PREFIX)
        settings = cls.build({name: value for values in read.values.values() for name, value in values.items()})
        read.raise_problems(
            [*settings.conflicts(), *artifacts.conflicts(settings), *settings.authentication_conflicts()]
        )
        return settings

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> Self:
        """Settings from parsed values by field name, those of the sections included."""
        left = dict(values)
        sections = {
            table: table(
                **{field.name: left.pop(field.name) for field in dataclasses.fields(table) if field.name in left}
            )
            for table in cls.tables()[1:]
        }
        return cls(**left, sections=sections)

    def conflicts(self) -> Iterator[Problem]:
        """The problems between the settings of this table."""
        upstreams = ("MLFLOW_PROXY_TARGET_ARN", "MLFLOW_PROXY_UPSTREAM_URL")
        if bool(self.target_arn) == bool(self.upstream_url):
            yield upstreams, f"Set one of {upstreams[0]} (SageMaker) and {upstreams[1]} (plain MLflow)."
        if self.upstream_url and (self.target_endpoint or self.assume_role_arn):
            yield (
                upstreams,
                "MLFLOW_PROXY_TARGET_ENDPOINT and MLFLOW_PROXY_ASSUME_ROLE_ARN can be used with "
                "MLFLOW_PROXY_TARGET_ARN only.",
            )
        if self.ui_url and self.upstream_url:
            yield (
                ("MLFLOW_PROXY_UI_URL", "MLFLOW_PROXY_UPSTREAM_URL"),
                "MLFLOW_PROXY_UI_URL can be used with MLFLOW_PROXY_TARGET_ARN only: a plain MLflow server has its own "
                "page.",
            )
        if self.target_endpoint.startswith("http:"):
            yield (), "MLFLOW_PROXY_TARGET_ENDPOINT: signed requests need https://."
        if self.body_budget < self.body_limit:
            yield (
                ("MLFLOW_PROXY_BODY_BUDGET_MIB", "MLFLOW_PROXY_BODY_LIMIT_MIB"),
                "MLFLOW_PROXY_BODY_BUDGET_MIB must be at least MLFLOW_PROXY_BODY_LIMIT_MIB, so that the largest body "
                "fits.",
            )
        if self.long_upstream_timeout < self.upstream_timeout:
            yield (
                ("MLFLOW_PROXY_LONG_UPSTREAM_TIMEOUT_SECONDS", "MLFLOW_PROXY_UPSTREAM_TIMEOUT_SECONDS"),
                "MLFLOW_PROXY_LONG_UPSTREAM_TIMEOUT_SECONDS must be at least MLFLOW_PROXY_UPSTREAM_TIMEOUT_SECONDS.",
            )
        if self.grace < self.drain:
            yield (
                ("MLFLOW_PROXY_GRACE_SECONDS", "MLFLOW_PROXY_DRAIN_SECONDS"),
                "MLFLOW_PROXY_GRACE_SECONDS must be at least MLFLOW_PROXY_DRAIN_SECONDS, which is a part of it.",
            )

    def authentication_conflicts(self) -> Iterator[Problem]:
        """The problems within the authenticators' settings, and between authenticators."""
        from .auth import role_rules
        from .auth.authenticators import AUTHENTICATORS

        enabled = [kind for kind in AUTHENTICATORS if kind.enabled(self)]
        for kind in AUTHENTICATORS:
            yield from kind.conflicts(self)
        for kind in enabled:
            others = [other for other in enabled if other is not kind]
            if kind.exclusive and others:
                about = tuple(name for each in (kind, *others) for name in each.settings_table.names())
                labels = ", ".join(other.label for other in others)
                yield about, f"{kind.label} cannot be used together with {labels}: {kind.exclusive}."
        yield from role_rules.conflicts(self, AUTHENTICATORS)

    @classmethod
    def table(cls) -> list[tuple[str, str, str]]:
        """The rows of this table and of all sections."""
        return [row for table in cls.tables() for row in rows(table)]

    @classmethod
    def help(cls) -> str:
        """All settings as plain text, for a terminal."""
        return help_text(cls.tables())

    @classmethod
    def markdown(cls) -> str:
        """The page docs/settings.md."""
        return settings_page(
            "Settings of the proxy",
            [
                "Environment variables; empty means the default. Generated by `make docs`.",
                "Credentials, regions and endpoints of AWS come from the standard `AWS_*` variables and files.",
            ],
            cls.tables(),
        )


def listen_address(environ: Mapping[str, str]) -> Address:
    """The value of MLFLOW_PROXY_LISTEN alone, for the health check. Raises SettingsError."""
    name = "MLFLOW_PROXY_LISTEN"
    read = read_tables({name: environ.get(name, "")}, [Settings], PREFIX)
    read.raise_problems(())
    return read.values[Settings].get("listen") or Settings().listen
