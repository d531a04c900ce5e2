"""Every setting of the proxy: its environment variable, its default and a sentence, in one table.

Below this module nothing reads the environment, except botocore: it takes the standard ``AWS_*`` variables.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from .setting_table import SettingTable, setting
from .setting_values import (
    Address,
    address,
    count,
    host_names,
    iap_audience,
    keys_url,
    mib,
    origin,
    path,
    seconds,
    some_seconds,
    switch,
)

# (variables, what is wrong between them)
Problem = tuple[tuple[str, ...], str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings(SettingTable):
    """What the proxy is told. Sizes are bytes, times are seconds."""

    prefix = "MLFLOW_PROXY_"

    # What stands behind the proxy
    target_arn: str = setting(
        "MLFLOW_PROXY_TARGET_ARN",
        "",
        "SageMaker's MLflow to sign for: the ARN of a tracking server or of a serverless app.",
    )
    target_endpoint: str = setting(
        "MLFLOW_PROXY_TARGET_ENDPOINT",
        "",
        "Use this https:// origin instead of the endpoint that follows from the ARN.",
        origin,
    )
    assume_role_arn: str = setting(
        "MLFLOW_PROXY_ASSUME_ROLE_ARN", "", "A role to assume before signing; empty: the AWS chain's own credentials."
    )
    upstream_url: str = setting(
        "MLFLOW_PROXY_UPSTREAM_URL",
        "",
        "A plain MLflow server instead of SageMaker's, such as http://127.0.0.1:5000.",
        origin,
    )
    ca_bundle: Path | None = setting(
        "AWS_CA_BUNDLE", "", "A PEM file of authorities to trust instead of the system's.", path
    )

    # Where it listens
    listen: Address = setting("MLFLOW_PROXY_LISTEN", "127.0.0.1:8080", "host:port for callers.", address)
    metrics_listen: Address = setting(
        "MLFLOW_PROXY_METRICS_LISTEN",
        "127.0.0.1:9090",
        "host:port for Prometheus; keep it private, it asks nobody who they are.",
        address,
    )
    public_url: str = setting(
        "MLFLOW_PROXY_PUBLIC_URL",
        "",
        "The origin under which callers reach the proxy; empty: what the request's Host header says.",
        origin,
    )
    allowed_hosts: tuple[str, ...] = setting(
        "MLFLOW_PROXY_ALLOWED_HOSTS",
        "",
        "The names under which callers reach the proxy, such as mlflow.example.com, *.example.com; a request for "
        "another is answered 403, unless it is after the proxy's health; empty: any name.",
        host_names,
    )

    # Who may call
    auth: bool = setting(
        "MLFLOW_PROXY_AUTH", "on", "off: everyone is an admin; refused on anything but loopback.", switch
    )
    tokens_file: Path | None = setting("MLFLOW_PROXY_TOKENS_FILE", "", "The file of hashed tokens.", path)
    tokens_secret: str = setting(
        "MLFLOW_PROXY_TOKENS_SECRET",
        "",
        "The Secrets Manager secret (name or ARN) of hashed tokens, instead of a file.",
    )
    tokens_reload: float = setting(
        "MLFLOW_PROXY_TOKENS_RELOAD_SECONDS",
        "15",
        "How often the tokens are read again: the longest a revoked one still works.",
        some_seconds,
    )

    # Who has signed in elsewhere
    alb_arn: str = setting(
        "MLFLOW_PROXY_ALB_ARN",
        "",
        "Believe what this Application Load Balancer says of people who signed in at it; empty: believe none.",
    )
    oidc_issuer: str = setting(
        "MLFLOW_PROXY_OIDC_ISSUER", "", "The issuer at which the load balancer signs people in, as it is told it."
    )
    oidc_client_id: str = setting("MLFLOW_PROXY_OIDC_CLIENT_ID", "", "The load balancer's client ID at that issuer.")
    oidc_keys_url: str = setting(
        "MLFLOW_PROXY_OIDC_KEYS_URL",
        "",
        "Get the load balancer's public keys below this https:// URL instead of AWS's that follows from the ARN.",
        keys_url,
    )
    oidc_groups_claim: str = setting(
        "MLFLOW_PROXY_OIDC_GROUPS_CLAIM", "groups", "The claim that names the groups of whoever signed in."
    )
    iap_audience: str = setting(
        "MLFLOW_PROXY_IAP_AUDIENCE",
        "",
        "Believe what Google's Identity-Aware Proxy says of whoever comes through it to this application, and answer "
        "nobody else: /projects/NUMBER/apps/PROJECT_ID.",
        iap_audience,
    )
    iap_keys_url: str = setting(
        "MLFLOW_PROXY_IAP_KEYS_URL",
        "",
        "Get Identity-Aware Proxy's public keys, a JWK set, at this https:// URL instead of Google's.",
        keys_url,
    )
    role_rules: str = setting(
        "MLFLOW_PROXY_ROLE_RULES",
        "",
        "Roles for whoever signed in, such as group:ml-admins=admin, email:ann@example.org=editor, "
        "domain:example.org=viewer; the highest that fits.",
    )

    # What it takes
    body_limit: int = setting(
        "MLFLOW_PROXY_BODY_LIMIT_MIB", "32", "The largest body of a signed request, in MiB; beyond it 413.", mib
    )
    body_budget: int = setting(
        "MLFLOW_PROXY_BODY_BUDGET_MIB",
        "128",
        "The memory for all signed bodies in flight, in MiB; beyond it requests wait.",
        mib,
    )
    body_timeout: float = setting(
        "MLFLOW_PROXY_BODY_TIMEOUT_SECONDS",
        "60",
        "How long a body may stand still either way, and how long a request may wait for its share of the budget.",
        some_seconds,
    )
    max_connections: int = setting(
        "MLFLOW_PROXY_MAX_CONNECTIONS", "1024", "Connections from callers; one more is closed at once.", count
    )
    max_requests: int = setting(
        "MLFLOW_PROXY_MAX_REQUESTS", "512", "Requests under way; one more is answered 429.", count
    )
    header_limit: int = setting(
        "MLFLOW_PROXY_HEADER_LIMIT_BYTES",
        "65536",
        "The longest request line and the longest header field; a whole head may be twice as long.",
        count,
    )

    # How long it waits
    connect_timeout: float = setting(
        "MLFLOW_PROXY_CONNECT_TIMEOUT_SECONDS", "5", "To connect to the upstream, TLS included.", some_seconds
    )
    upstream_timeout: float = setting(
        "MLFLOW_PROXY_UPSTREAM_TIMEOUT_SECONDS",
        "110",
        "For the upstream to begin its answer, or to go on with it; MLflow's clients give up after 120.",
        some_seconds,
    )
    upstream_keepalive: float = setting(
        "MLFLOW_PROXY_UPSTREAM_KEEPALIVE_SECONDS",
        "4",
        "How long an idle connection to the upstream is kept; less than the upstream keeps it (`mlflow server`: 5).",
        seconds,
    )
    keepalive: float = setting(
        "MLFLOW_PROXY_KEEPALIVE_SECONDS",
        "75",
        "How long an idle caller's connection is kept; longer than a load balancer in front keeps it.",
        seconds,
    )
    drain: float = setting(
        "MLFLOW_PROXY_DRAIN_SECONDS",
        "5",
        "After SIGTERM, how long new requests are still taken, so that a load balancer can notice.",
        seconds,
    )
    grace: float = setting(
        "MLFLOW_PROXY_GRACE_SECONDS", "25", "After SIGTERM, how long running requests may take to finish.", seconds
    )

    def contradictions(self) -> Iterator[Problem]:
        yield from self._upstream_contradictions()
        yield from self._caller_contradictions()
        yield from self._sign_in_contradictions()
        if self.body_budget < self.body_limit:
            yield (
                ("MLFLOW_PROXY_BODY_BUDGET_MIB", "MLFLOW_PROXY_BODY_LIMIT_MIB"),
                "MLFLOW_PROXY_BODY_BUDGET_MIB must be at least MLFLOW_PROXY_BODY_LIMIT_MIB: the largest body has to "
                "fit.",
            )
        if self.grace < self.drain:
            yield (
                ("MLFLOW_PROXY_GRACE_SECONDS", "MLFLOW_PROXY_DRAIN_SECONDS"),
                "MLFLOW_PROXY_GRACE_SECONDS must be at least MLFLOW_PROXY_DRAIN_SECONDS, which is a part of it.",
            )

    def _upstream_contradictions(self) -> Iterator[Problem]:
        upstreams = ("MLFLOW_PROXY_TARGET_ARN", "MLFLOW_PROXY_UPSTREAM_URL")
        if bool(self.target_arn) == bool(self.upstream_url):
            yield (
                upstreams,
                "Set one of MLFLOW_PROXY_TARGET_ARN (SageMaker) and MLFLOW_PROXY_UPSTREAM_URL (plain MLflow).",
            )
        if self.upstream_url and (self.target_endpoint or self.assume_role_arn):
            yield (
                upstreams,
                "MLFLOW_PROXY_TARGET_ENDPOINT and MLFLOW_PROXY_ASSUME_ROLE_ARN go with MLFLOW_PROXY_TARGET_ARN only.",
            )
        if self.target_endpoint.startswith("http:"):
            yield (), "MLFLOW_PROXY_TARGET_ENDPOINT: signed requests go over https:// only."

    def _caller_contradictions(self) -> Iterator[Problem]:
        about = (
            "MLFLOW_PROXY_AUTH",
            "MLFLOW_PROXY_IAP_AUDIENCE",
            "MLFLOW_PROXY_TOKENS_FILE",
            "MLFLOW_PROXY_TOKENS_SECRET",
        )
        if not self.auth:
            if not self.listen.loopback:
                yield (
                    ("MLFLOW_PROXY_LISTEN",),
                    f"MLFLOW_PROXY_AUTH=off would let anyone who reaches {self.listen} act as an admin: "
                    "listen on 127.0.0.1, or leave authentication on.",
                )
            if self.tokens_file or self.tokens_secret:
                yield about, "MLFLOW_PROXY_AUTH=off takes no tokens: remove it or the tokens' setting."
        elif not self.iap_audience and bool(self.tokens_file) == bool(self.tokens_secret):
            yield (
                about,
                "Set one of MLFLOW_PROXY_TOKENS_FILE and MLFLOW_PROXY_TOKENS_SECRET; make a first token with "
                "`python -m proxy_app token new --help`.",
            )

    def _sign_in_contradictions(self) -> Iterator[Problem]:
        rules = {"MLFLOW_PROXY_ROLE_RULES": self.role_rules}
        client = {"MLFLOW_PROXY_OIDC_ISSUER": self.oidc_issuer, "MLFLOW_PROXY_OIDC_CLIENT_ID": self.oidc_client_id}
        # Each way to sign in: what says that it is believed, what that needs, and what else goes with it.
        ways = {
            "MLFLOW_PROXY_ALB_ARN": (self.alb_arn, client | rules, {"MLFLOW_PROXY_OIDC_KEYS_URL": self.oidc_keys_url}),
            "MLFLOW_PROXY_IAP_AUDIENCE": (self.iap_audience, rules, {"MLFLOW_PROXY_IAP_KEYS_URL": self.iap_keys_url}),
        }
        stray = {name: value for _, needs, other in ways.values() for name, value in (needs | other).items() if value}
        about = (*ways, *client, *rules)
        for way, (believed, needs, other) in ways.items():
            if not believed:
                continue
            if missing := [name for name, value in needs.items() if not value]:
                yield about, f"Set {', '.join(missing)} too, or remove {way}, which needs them."
            if not self.auth:
                yield about, f"MLFLOW_PROXY_AUTH=off knows nobody: remove it or {way}."
            stray = {name: value for name, value in stray.items() if name not in needs | other}
        if stray:
            fitting = [way for way, (_, needs, other) in ways.items() if stray.keys() <= (needs | other).keys()]
            yield (
                about,
                f"Set {' or '.join(fitting or ways)} too, or remove {', '.join(stray)}: nobody is believed without it.",
            )
        if not self.iap_audience:
            return
        if self.alb_arn:
            yield (
                about,
                "Set one of MLFLOW_PROXY_ALB_ARN and MLFLOW_PROXY_IAP_AUDIENCE: requests come through one of them.",
            )
        if self.tokens_file or self.tokens_secret:
            yield (
                about,
                "MLFLOW_PROXY_IAP_AUDIENCE takes no tokens, since Identity-Aware Proxy reads the Authorization "
                "header itself: "
                "remove MLFLOW_PROXY_TOKENS_FILE and MLFLOW_PROXY_TOKENS_SECRET.",
            )
        if self.target_arn:
            yield about, "MLFLOW_PROXY_IAP_AUDIENCE goes with MLFLOW_PROXY_UPSTREAM_URL only."

    @classmethod
    def markdown(cls) -> str:
        """docs/settings.md."""
        return cls.page(
            "The proxy's settings",
            "Environment variables; empty means the default. Written by `make docs` from `proxy_app/settings.py`.",
            "Credentials, regions and endpoints of AWS come from the standard `AWS_*` variables and files.",
        )
