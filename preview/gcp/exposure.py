"""Inbound and outbound access in Google Cloud: Identity-Aware Proxy, instances, firewalls, databases and buckets."""

from collections.abc import Iterator, Sequence

from ..cloud import Egress, Exposure, Ingress, MlflowRoleBinding
from ..graph import Graph, Resource, value_at
from ..names import ResourceNames
from . import firewall_rules
from .iam_bindings import IAP_ACCESS, PUBLIC, Binding, bindings, display_member, service_of
from .resource_types import APPLICATION, BUCKET, DATABASE, DATABASE_USER, FLEXIBLE, STANDARD

# Environment variables of a proxy behind Identity-Aware Proxy: components/proxy_environment.py.
_AUDIENCE, _RULES = "MLFLOW_PROXY_IAP_AUDIENCE", "MLFLOW_PROXY_ROLE_RULES"
_INTERNET = "the internet"
# https://cloud.google.com/sql/docs/mysql/configure-ip, https://cloud.google.com/sql/docs/mysql/sql-proxy
_MYSQL_PORT = "3306"
_CONNECTOR_PORT = "3307"


def exposure(graph: Graph) -> Exposure:
    """Return the access that the graph's resources would have."""
    found = bindings(graph)
    return Exposure(
        ingress=[
            *_services(graph, found),
            *_default_networks(graph),
            *_firewalls(graph),
            *_databases(graph, found),
            *_buckets(graph, found),
        ],
        egress=list(_egress(graph)),
        role_bindings=list(_role_bindings(graph)),
    )


def _services(graph: Graph, found: Sequence[Binding]) -> Iterator[Ingress]:
    iap = _iap(graph)
    for version in [*graph.of(FLEXIBLE), *graph.of(STANDARD)]:
        if iap is None:
            authentication = f"{_assertion(version)}, which no request has" if _assertion(version) else "none"
            yield Ingress(_INTERNET, version.name, "443 HTTPS", "all", authentication)
        else:
            target = f"Identity-Aware Proxy > {version.name}"
            for members in _members(graph, version, found):
                yield Ingress(_INTERNET, target, "443 HTTPS", "all", f"{iap} {members}")


def _iap(graph: Graph) -> str | None:
    """The authentication of Identity-Aware Proxy; None where it is off."""
    for application in graph.of(APPLICATION):
        if not application.read:
            return "IAP sign-in" if value_at(application.inputs, "iap", "enabled") is True else None
    return "IAP sign-in (if enabled)"


def _members(graph: Graph, version: Resource, found: Sequence[Binding]) -> Iterator[str]:
    """The members with access to a version's service; the members with the same condition in one string."""
    members: dict[str, list[str]] = {}
    for binding in found:
        same_service = binding.resource is not None and service_of(binding.resource) == service_of(version)
        if binding.role == IAP_ACCESS and same_service:
            members.setdefault(binding.condition, []).append(display_member(graph, binding.member))
    for condition, names in members.items():
        principals = " or ".join("anyone" if name in PUBLIC else name for name in dict.fromkeys(names))
        yield f"as {principals}{f' if {condition}' if condition else ''}{_role(version)}"
    if not members:
        yield "(no member has access)"


def _role(version: Resource) -> str:
    if not _variable(version, _AUDIENCE):
        return ""
    return ", then role" if _variable(version, _RULES) else ", then role (there are no role rules)"


def _variable(version: Resource, name: str) -> str:
    """The value of an environment variable of a version's container."""
    return str(value_at(version.inputs, "envVariables", name) or "")


def _assertion(version: Resource) -> str:
    return "IAP assertion" if _variable(version, _AUDIENCE) else ""


def _default_networks(graph: Graph) -> Iterator[Ingress]:
    """Requests that reach an instance in its network, and so do not pass Identity-Aware Proxy."""
    for version in graph.of(FLEXIBLE):
        if firewall_rules.vpc(graph, version) is None:
            network = value_at(version.inputs, "network", "name") or "default"
            yield from _instances(version, f"Google's health checks, sources that VPC {network} allows", "all")


def _instances(version: Resource, source: str, port: str) -> Iterator[Ingress]:
    paths = [str(value_at(version.inputs, check, "path") or "") for check in ("livenessCheck", "readinessCheck")]
    health = ", ".join(path for path in paths if path)
    assertion = _assertion(version)
    if assertion and health:
        yield Ingress(source, version.name, port, health, "none")
    requests = "all others" if health and assertion else "all"
    yield Ingress(source, version.name, port, requests, assertion or "unknown")


def _firewalls(graph: Graph) -> Iterator[Ingress]:
    names = ResourceNames(graph)
    for rule in firewall_rules.rules(graph):
        versions = firewall_rules.versions(graph, rule)
        if not versions:
            yield Ingress(rule.sources, f"VPC {names.display(rule.network)}", rule.ports, "", "unknown")
        for version in versions:
            yield from _instances(version, rule.sources, rule.ports)


def _databases(graph: Graph, found: Sequence[Binding]) -> Iterator[Ingress]:
    names = ResourceNames(graph)
    for database in graph.of(DATABASE):
        ip = value_at(database.inputs, "settings", "ipConfiguration")
        if value_at(ip, "ipv4Enabled") is not False:
            clients = dict.fromkeys(
                display_member(graph, binding.member) for binding in found if binding.role == "roles/cloudsql.client"
            )
            certificate = f"Cloud SQL client certificate (cloudsql.client: {', '.join(clients) or 'no member'})"
            port = f"{_CONNECTOR_PORT} TLS"
            yield Ingress(_INTERNET, database.name, port, "", f"{certificate}, then {_login(graph, database)}")
        network = value_at(ip, "privateNetwork")
        if network:
            encrypted = value_at(ip, "sslMode") == "ENCRYPTED_ONLY"
            password = f"{_login(graph, database)}{' over TLS' if encrypted else ', TLS optional'}"
            source = f"VPC {names.display(network).rpartition('/')[2]}"
            yield Ingress(source, database.name, _MYSQL_PORT, "", password)


def _login(graph: Graph, database: Resource) -> str:
    """How users of the database log in."""
    users = [user for user in graph.of(DATABASE_USER) if user.inputs.get("instance") == database.outputs.get("name")]
    by_iam = [user for user in users if str(user.inputs.get("type")).startswith("CLOUD_IAM")]
    return "access token" if users and by_iam == users else "password"


def _buckets(graph: Graph, found: Sequence[Binding]) -> Iterator[Ingress]:
    for bucket in graph.of(BUCKET):
        public = [
            binding.role.removeprefix("roles/")
            for binding in found
            if binding.resource is bucket and binding.member in PUBLIC
        ]
        if bucket.inputs.get("publicAccessPrevention") == "enforced":
            authentication = "IAM, public access prevented"
        else:
            authentication = f"none ({', '.join(public)})" if public else "IAM"
        yield Ingress(_INTERNET, bucket.name, "443 HTTPS", "", authentication)


def _egress(graph: Graph) -> Iterator[Egress]:
    for version in graph.of(FLEXIBLE):
        for database in graph.of(DATABASE):
            port = database_port(version, database)
            if port:
                yield Egress(version.name, database.name, port)
        internal = value_at(version.inputs, "network", "instanceIpMode") == "INTERNAL"
        yield Egress(version.name, "any address with a route" if internal else "any address", "all")


def database_port(version: Resource, database: Resource) -> str:
    """Return the port on which a version connects to a database; an empty string if it does not."""
    return (
        _CONNECTOR_PORT
        if str(database.outputs.get("connectionName")) in str(value_at(version.inputs, "envVariables"))
        else ""
    )


def _role_bindings(graph: Graph) -> Iterator[MlflowRoleBinding]:
    versions = [version for version in graph.of(FLEXIBLE) if _variable(version, _RULES)]
    for version in versions:
        members: dict[str, list[str]] = {}
        for rule in filter(None, (entry.strip() for entry in _variable(version, _RULES).split(","))):
            member, _, role = rule.rpartition("=")
            members.setdefault(role, []).append(member)
        service = version.name if len(versions) > 1 else ""
        yield from (MlflowRoleBinding(role, ", ".join(names), service) for role, names in members.items())
