"""Google Cloud: whom Identity-Aware Proxy, App Engine's machines, firewalls, databases and buckets let in, and out."""

from collections.abc import Iterator, Sequence

from ..cloud import Exposure, Holder, Out, Reach
from ..graph import Graph, Resource, dig
from ..names import Names
from . import firewalls
from .bindings import EVERYBODY, IAP_ACCESS, Binding, bindings, called, served
from .kinds import APPLICATION, BUCKET, DATABASE, FLEXIBLE, STANDARD

# What the proxy is told where it stands behind Identity-Aware Proxy: components/proxy_environment.py.
_AUDIENCE, _RULES = "MLFLOW_PROXY_IAP_AUDIENCE", "MLFLOW_PROXY_ROLE_RULES"
_IAP = "Identity-Aware Proxy"
_WORLD = "the internet"
# https://cloud.google.com/sql/docs/mysql/configure-ip, https://cloud.google.com/sql/docs/mysql/sql-proxy
_MYSQL = "3306"
_PROXY = "3307"


def exposure(graph: Graph) -> Exposure:
    found = bindings(graph)
    return Exposure(
        ways_in=[
            *_services(graph, found),
            *_machines(graph),
            *_firewalls(graph),
            *_databases(graph, found),
            *_buckets(graph, found),
        ],
        ways_out=list(_ways_out(graph)),
        holders=list(_holders(graph)),
    )


def _services(graph: Graph, found: Sequence[Binding]) -> Iterator[Reach]:
    guard = _guard(graph)
    for version in [*graph.of(FLEXIBLE), *graph.of(STANDARD)]:
        if guard is None:
            asked = _signature(version, "which nobody has") or "nothing"
            yield Reach(_WORLD, version.name, "443 HTTPS", "all", asked)
        else:
            for asked in _asked(graph, version, found):
                yield Reach(_WORLD, f"{_IAP} > {version.name}", "443 HTTPS", "all", f"{guard} {asked}")


def _guard(graph: Graph) -> str | None:
    """How Identity-Aware Proxy asks; None where it is off."""
    for one in graph.of(APPLICATION):
        if not one.read:
            return "sign-in" if dig(one.inputs, "iap", "enabled") is True else None
    return "sign-in, if it is on there,"


def _asked(graph: Graph, version: Resource, found: Sequence[Binding]) -> Iterator[str]:
    """Who is let in, those on the same condition together."""
    members: dict[str, list[str]] = {}
    for one in found:
        here = one.resource is not None and served(one.resource) == served(version)
        if one.role == IAP_ACCESS and here:
            members.setdefault(one.condition, []).append(called(graph, one.member))
    for condition, names in members.items():
        who = " or ".join("anybody" if name in EVERYBODY else name for name in dict.fromkeys(names))
        yield f"as {who}{f' if {condition}' if condition else ''}{_role(version)}"
    if not members:
        yield "lets nobody in"


def _role(version: Resource) -> str:
    if not _told(version, _AUDIENCE):
        return ""
    return ", then a role" if _told(version, _RULES) else ", then a role, which nobody has"


def _told(version: Resource, name: str) -> str:
    """What a version's container is told by an environment variable."""
    return str(dig(version.inputs, "envVariables", name) or "")


def _signature(version: Resource, more: str = "") -> str:
    asked = f"{_IAP}'s signature{f', {more}' if more else ''}"
    return asked if _told(version, _AUDIENCE) else ""


def _machines(graph: Graph) -> Iterator[Reach]:
    """Past Identity-Aware Proxy: whoever reaches a machine of a version in its network."""
    for version in graph.of(FLEXIBLE):
        if firewalls.vpc(graph, version) is None:
            network = dig(version.inputs, "network", "name") or "default"
            yield from _beside(version, f"Google's health checks, and whom VPC {network} lets in", "all")


def _beside(version: Resource, source: str, port: str) -> Iterator[Reach]:
    paths = [str(dig(version.inputs, check, "path") or "") for check in ("livenessCheck", "readinessCheck")]
    health = ", ".join(path for path in paths if path)
    signed = _signature(version)
    if signed and health:
        yield Reach(source, version.name, port, health, "nothing")
    yield Reach(source, version.name, port, "all others" if health and signed else "all", signed or "not known")


def _firewalls(graph: Graph) -> Iterator[Reach]:
    names = Names(graph)
    for rule in firewalls.rules(graph):
        versions = firewalls.behind(graph, rule)
        if not versions:
            yield Reach(rule.others, f"VPC {names.called(rule.network)}", rule.ports, "", "not known")
        for version in versions:
            yield from _beside(version, rule.others, rule.ports)


def _databases(graph: Graph, found: Sequence[Binding]) -> Iterator[Reach]:
    names = Names(graph)
    for one in graph.of(DATABASE):
        ip = dig(one.inputs, "settings", "ipConfiguration")
        encrypted = dig(ip, "sslMode") == "ENCRYPTED_ONLY"
        if dig(ip, "ipv4Enabled") is not False:
            may = dict.fromkeys(called(graph, each.member) for each in found if each.role == "roles/cloudsql.client")
            asked = f"Cloud SQL's certificate (cloudsql.client: {', '.join(may) or 'nobody here'}), then a password"
            yield Reach(_WORLD, one.name, f"{_PROXY} TLS", "", asked)
        network = dig(ip, "privateNetwork")
        if network:
            password = "a password, over TLS" if encrypted else "a password, with TLS or without"
            yield Reach(f"VPC {_short(names.called(network))}", one.name, _MYSQL, "", password)


def _short(network: str) -> str:
    return network.rpartition("/")[2]


def _buckets(graph: Graph, found: Sequence[Binding]) -> Iterator[Reach]:
    for one in graph.of(BUCKET):
        public = [
            each.role.removeprefix("roles/") for each in found if each.resource is one and each.member in EVERYBODY
        ]
        if one.inputs.get("publicAccessPrevention") == "enforced":
            asked = "rights in IAM, which the public cannot have"
        else:
            asked = f"nothing ({', '.join(public)})" if public else "rights in IAM"
        yield Reach(_WORLD, one.name, "443 HTTPS", "", asked)


def _ways_out(graph: Graph) -> Iterator[Out]:
    for version in graph.of(FLEXIBLE):
        for database in graph.of(DATABASE):
            port = reaches(version, database)
            if port:
                yield Out(version.name, database.name, port)
        inside = dig(version.inputs, "network", "instanceIpMode") == "INTERNAL"
        yield Out(version.name, "any address that its routes reach" if inside else "anywhere", "all")


def reaches(version: Resource, database: Resource) -> str:
    """The port on which a version talks to a database; empty where it does not."""
    told = " ".join(map(str, [dig(version.inputs, "betaSettings"), dig(version.inputs, "envVariables")]))
    if str(database.outputs.get("connectionName")) in told:
        return _PROXY
    private = dig(database.inputs, "settings", "ipConfiguration", "privateNetwork")
    return _MYSQL if private and str(database.outputs.get("privateIpAddress")) in told else ""


def _holders(graph: Graph) -> Iterator[Holder]:
    versions = [one for one in graph.of(FLEXIBLE) if _told(one, _RULES)]
    for version in versions:
        found: dict[str, list[str]] = {}
        for rule in filter(None, (each.strip() for each in _told(version, _RULES).split(","))):
            who, _, role = rule.rpartition("=")
            found.setdefault(role, []).append(who)
        where = version.name if len(versions) > 1 else ""
        yield from (Holder(role, ", ".join(who), where) for role, who in found.items())
