"""Every setting of the gate: its environment variable, its default and a sentence, in one table.

Below this module nothing reads the environment, except botocore: it takes the standard ``AWS_*`` variables.
"""

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

MIB = 1024 * 1024
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class SettingsError(Exception):
    """One or more settings are wrong; the message has a line for each."""


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        return self.host in LOOPBACK

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not (colon and port.isdecimal() and int(port) < 65536):
        raise ValueError("host:port, such as 127.0.0.1:8080")
    return Address(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - what `:8080` means everywhere


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError("a number of seconds, such as 2.5")
    return value


def _some_seconds(text: str) -> float:
    if (value := _seconds(text)) == 0:
        raise ValueError("a number of seconds above 0, such as 2.5")
    return value


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise ValueError("a whole number above 0")
    return int(text)


def _mib(text: str) -> int:
    return _count(text) * MIB


def _switch(text: str) -> bool:
    if text not in {"on", "off"}:
        raise ValueError("on or off")
    return text == "on"


def _path(text: str) -> Path | None:
    return Path(text) if text else None


_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?/?", re.ASCII | re.IGNORECASE)
_USUAL_PORTS = {"http": 80, "https": 443}


def _origin(text: str) -> str:
    """scheme://host[:port] in the one form that browsers and servers write; empty stays empty."""
    if not text:
        return ""
    found = _ORIGIN.fullmatch(text)
    if found is None or (found[3] is not None and not 0 < int(found[3]) < 65536):
        raise ValueError("scheme://host[:port] and nothing more, such as https://mlflow.example.com")
    scheme, host = found[1].lower(), found[2].lower()
    port = int(found[3] or _USUAL_PORTS[scheme])
    return f"{scheme}://{host}" if port == _USUAL_PORTS[scheme] else f"{scheme}://{host}:{port}"


_HOST_NAME = re.compile(r"(\*[.-][a-z0-9_-]+\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.ASCII)


def _host_names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(",")) if text else ()
    if not all(_HOST_NAME.fullmatch(name) for name in names):
        raise ValueError("host names without ports, with commas between, such as mlflow.example.com, *.example.com")
    return names


# A project ID may begin with an organization's domain.
_IAP_AUDIENCE = re.compile(r"/projects/[1-9]\d*/apps/([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]", re.ASCII)


def _iap_audience(text: str) -> str:
    if text and not _IAP_AUDIENCE.fullmatch(text):
        raise ValueError("/projects/NUMBER/apps/PROJECT_ID, such as /projects/123456789012/apps/my-project")
    return text


_KEYS_URL = re.compile(r"https://[a-z0-9.-]+(?::(\d{1,5}))?(/[a-z0-9._~-]+)*/?", re.ASCII | re.IGNORECASE)


def _keys_url(text: str) -> str:
    found = _KEYS_URL.fullmatch(text)
    if text and not (found and int(found[1] or 443) < 65536):
        raise ValueError("an https:// URL without a query, such as https://keys.example.com/public")
    return text.rstrip("/")


def _setting(env: str, default: str, sentence: str, parse: Callable[[str], Any] = str) -> Any:
    return dataclasses.field(
        default_factory=lambda: parse(default),
        metadata={"env": env, "default": default, "sentence": sentence, "parse": parse},
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the gate is told. Sizes are bytes, times are seconds."""

    # What stands behind the gate
    target_arn: str = _setting(
        "GATE_TARGET_ARN",
        "",
        "SageMaker's MLflow to sign for: the ARN of a tracking server or of a serverless app.",
    )
    target_endpoint: str = _setting(
        "GATE_TARGET_ENDPOINT",
        "",
        "Use this https:// origin instead of the endpoint that follows from the ARN.",
        _origin,
    )
    assume_role_arn: str = _setting(
        "GATE_ASSUME_ROLE_ARN", "", "A role to assume before signing; empty: the AWS chain's own credentials."
    )
    upstream_url: str = _setting(
        "GATE_UPSTREAM_URL",
        "",
        "A plain MLflow server instead of SageMaker's, such as http://127.0.0.1:5000.",
        _origin,
    )
    ca_bundle: Path | None = _setting(
        "AWS_CA_BUNDLE", "", "A PEM file of authorities to trust instead of the system's.", _path
    )

    # Where it listens
    listen: Address = _setting("GATE_LISTEN", "127.0.0.1:8080", "host:port for callers.", _address)
    metrics_listen: Address = _setting(
        "GATE_METRICS_LISTEN",
        "127.0.0.1:9090",
        "host:port for Prometheus; keep it private, it asks nobody who they are.",
        _address,
    )
    public_url: str = _setting(
        "GATE_PUBLIC_URL",
        "",
        "The origin under which callers reach the gate; empty: what the request's Host header says.",
        _origin,
    )
    allowed_hosts: tuple[str, ...] = _setting(
        "GATE_ALLOWED_HOSTS",
        "",
        "The names under which callers reach the gate, such as mlflow.example.com, *.example.com; a request for "
        "another is answered 403, unless it is after the gate's health; empty: any name.",
        _host_names,
    )

    # Who may call
    auth: bool = _setting("GATE_AUTH", "on", "off: everyone is an admin; refused on anything but loopback.", _switch)
    tokens_file: Path | None = _setting("GATE_TOKENS_FILE", "", "The file of hashed tokens.", _path)
    tokens_secret: str = _setting(
        "GATE_TOKENS_SECRET",
        "",
        "The Secrets Manager secret (name or ARN) of hashed tokens, instead of a file.",
    )
    tokens_reload: float = _setting(
        "GATE_TOKENS_RELOAD_SECONDS",
        "15",
        "How often the tokens are read again: the longest a revoked one still works.",
        _some_seconds,
    )

    # Who has signed in elsewhere
    alb_arn: str = _setting(
        "GATE_ALB_ARN",
        "",
        "Believe what this Application Load Balancer says of people who signed in at it; empty: believe none.",
    )
    oidc_issuer: str = _setting(
        "GATE_OIDC_ISSUER", "", "The issuer at which the load balancer signs people in, as it is told it."
    )
    oidc_client_id: str = _setting("GATE_OIDC_CLIENT_ID", "", "The load balancer's client ID at that issuer.")
    oidc_keys_url: str = _setting(
        "GATE_OIDC_KEYS_URL",
        "",
        "Get the load balancer's public keys below this https:// URL instead of AWS's that follows from the ARN.",
        _keys_url,
    )
    oidc_groups_claim: str = _setting(
        "GATE_OIDC_GROUPS_CLAIM", "groups", "The claim that names the groups of whoever signed in."
    )
    iap_audience: str = _setting(
        "GATE_IAP_AUDIENCE",
        "",
        "Believe what Google's Identity-Aware Proxy says of whoever comes through it to this application, and answer "
        "nobody else: /projects/NUMBER/apps/PROJECT_ID.",
        _iap_audience,
    )
    iap_keys_url: str = _setting(
        "GATE_IAP_KEYS_URL",
        "",
        "Get Identity-Aware Proxy's public keys, a JWK set, at this https:// URL instead of Google's.",
        _keys_url,
    )
    role_rules: str = _setting(
        "GATE_ROLE_RULES",
        "",
        "Roles for whoever signed in, such as group:ml-admins=admin, email:ann@example.org=editor, "
        "domain:example.org=viewer; the highest that fits.",
    )

    # What it takes
    body_limit: int = _setting(
        "GATE_BODY_LIMIT_MIB", "32", "The largest body of a signed request, in MiB; beyond it 413.", _mib
    )
    body_budget: int = _setting(
        "GATE_BODY_BUDGET_MIB",
        "128",
        "The memory for all signed bodies in flight, in MiB; beyond it requests wait.",
        _mib,
    )
    body_timeout: float = _setting(
        "GATE_BODY_TIMEOUT_SECONDS",
        "60",
        "How long a body may stand still either way, and how long a request may wait for its share of the budget.",
        _some_seconds,
    )
    max_connections: int = _setting(
        "GATE_MAX_CONNECTIONS", "1024", "Connections from callers; one more is closed at once.", _count
    )
    max_requests: int = _setting("GATE_MAX_REQUESTS", "512", "Requests under way; one more is answered 429.", _count)
    header_limit: int = _setting(
        "GATE_HEADER_LIMIT_BYTES", "65536", "The longest request line and the longest header field.", _count
    )

    # How long it waits
    connect_timeout: float = _setting(
        "GATE_CONNECT_TIMEOUT_SECONDS", "5", "To connect to the upstream, TLS included.", _some_seconds
    )
    upstream_timeout: float = _setting(
        "GATE_UPSTREAM_TIMEOUT_SECONDS",
        "110",
        "For the upstream to begin its answer, or to go on with it; MLflow's clients give up after 120.",
        _some_seconds,
    )
    upstream_keepalive: float = _setting(
        "GATE_UPSTREAM_KEEPALIVE_SECONDS",
        "20",
        "How long an idle connection to the upstream is kept; less than the upstream keeps it.",
        _seconds,
    )
    keepalive: float = _setting(
        "GATE_KEEPALIVE_SECONDS",
        "75",
        "How long an idle caller's connection is kept; longer than a load balancer in front keeps it.",
        _seconds,
    )
    drain: float = _setting(
        "GATE_DRAIN_SECONDS",
        "5",
        "After SIGTERM, how long new requests are still taken, so that a load balancer can notice.",
        _seconds,
    )
    grace: float = _setting(
        "GATE_GRACE_SECONDS", "25", "After SIGTERM, how long running requests may take to finish.", _seconds
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings; SettingsError names every one that is wrong."""
        problems: list[str] = []
        values: dict[str, Any] = {}
        known = {field.metadata["env"]: field for field in dataclasses.fields(cls)}
        for name in sorted(environ):
            if name.startswith("GATE_") and name not in known:
                close = difflib.get_close_matches(name, known, 1)
                problems.append(f"{name} is not a setting" + (f"; is {close[0]} meant?" if close else "."))
        for name, field in known.items():
            if (text := environ.get(name, "").strip()) == "":
                continue
            try:
                values[field.name] = cast("Callable[[str], Any]", field.metadata["parse"])(text)
            except ValueError as error:
                # An URL may hold a password, and this ends in a log.
                shown = re.sub(r"(?s)\A(\w+://)?.*@", r"\1...@", text)
                problems.append(f"{name}: {shown!r} is not right; it takes {error}.")
        if not problems:
            settings = cls(**values)
            problems = settings._contradictions()
            if not problems:
                return settings
        raise SettingsError("\n".join(problems))

    def _contradictions(self) -> list[str]:
        """What is wrong between settings that are right one by one."""
        problems: list[str] = []
        if bool(self.target_arn) == bool(self.upstream_url):
            problems.append("Set one of GATE_TARGET_ARN (SageMaker) and GATE_UPSTREAM_URL (plain MLflow).")
        if self.upstream_url and (self.target_endpoint or self.assume_role_arn):
            problems.append("GATE_TARGET_ENDPOINT and GATE_ASSUME_ROLE_ARN go with GATE_TARGET_ARN only.")
        if self.target_endpoint.startswith("http:"):
            problems.append("GATE_TARGET_ENDPOINT: signed requests go over https:// only.")
        if not self.auth:
            if not self.listen.loopback:
                problems.append(
                    f"GATE_AUTH=off would let anyone who reaches {self.listen} act as an admin: "
                    "listen on 127.0.0.1, or leave authentication on."
                )
            if self.tokens_file or self.tokens_secret:
                problems.append("GATE_AUTH=off takes no tokens: remove it or the tokens' setting.")
        elif not self.iap_audience and bool(self.tokens_file) == bool(self.tokens_secret):
            problems.append(
                "Set one of GATE_TOKENS_FILE and GATE_TOKENS_SECRET; make a first token with "
                "`python -m proxy_app token new --help`."
            )
        problems += self._sign_in_contradictions()
        if self.body_budget < self.body_limit:
            problems.append("GATE_BODY_BUDGET_MIB must be at least GATE_BODY_LIMIT_MIB: the largest body has to fit.")
        if self.grace < self.drain:
            problems.append("GATE_GRACE_SECONDS must be at least GATE_DRAIN_SECONDS, which is a part of it.")
        return problems

    def _sign_in_contradictions(self) -> list[str]:
        rules = {"GATE_ROLE_RULES": self.role_rules}
        client = {"GATE_OIDC_ISSUER": self.oidc_issuer, "GATE_OIDC_CLIENT_ID": self.oidc_client_id}
        # Each way to sign in: what says that it is believed, what that needs, and what else goes with it.
        ways = {
            "GATE_ALB_ARN": (self.alb_arn, client | rules, {"GATE_OIDC_KEYS_URL": self.oidc_keys_url}),
            "GATE_IAP_AUDIENCE": (self.iap_audience, rules, {"GATE_IAP_KEYS_URL": self.iap_keys_url}),
        }
        problems: list[str] = []
        stray = {name: value for _, needs, other in ways.values() for name, value in (needs | other).items() if value}
        for way, (believed, needs, other) in ways.items():
            if not believed:
                continue
            if missing := [name for name, value in needs.items() if not value]:
                problems.append(f"Set {', '.join(missing)} too, or remove {way}, which needs them.")
            if not self.auth:
                problems.append(f"GATE_AUTH=off knows nobody: remove it or {way}.")
            stray = {name: value for name, value in stray.items() if name not in needs | other}
        if stray:
            fitting = [way for way, (_, needs, other) in ways.items() if stray.keys() <= (needs | other).keys()]
            problems.append(
                f"Set {' or '.join(fitting or ways)} too, or remove {', '.join(stray)}: nobody is believed without it."
            )
        if self.iap_audience:
            problems += self._iap_contradictions()
        return problems

    def _iap_contradictions(self) -> list[str]:
        problems: list[str] = []
        if self.alb_arn:
            problems.append("Set one of GATE_ALB_ARN and GATE_IAP_AUDIENCE: requests come through one of them.")
        if self.tokens_file or self.tokens_secret:
            problems.append(
                "GATE_IAP_AUDIENCE takes no tokens, since Identity-Aware Proxy reads the Authorization header itself: "
                "remove GATE_TOKENS_FILE and GATE_TOKENS_SECRET."
            )
        if self.target_arn:
            problems.append("GATE_IAP_AUDIENCE goes with GATE_UPSTREAM_URL only.")
        return problems

    @classmethod
    def table(cls) -> list[tuple[str, str, str]]:
        """(environment variable, default, sentence) of every setting, in reading order."""
        return [
            (field.metadata["env"], field.metadata["default"], field.metadata["sentence"])
            for field in dataclasses.fields(cls)
        ]

    @classmethod
    def markdown(cls) -> str:
        """The table as a page; docs/settings.md is this."""
        rows = [
            f"| `{env}` | {f'`{default}`' if default else ''} | {sentence} |" for env, default, sentence in cls.table()
        ]
        return "\n".join(
            [
                "# The gate's settings",
                "",
                "Environment variables; empty means the default. Written by `make docs` from `proxy_app/settings.py`.",
                "Credentials, regions and endpoints of AWS come from the standard `AWS_*` variables and files.",
                "",
                "| variable | default | what it says |",
                "|---|---|---|",
                *rows,
                "",
            ]
        )
