"""Nodes and edges of Google Cloud: clients, databases, permissions of service accounts, logs and alerts."""

from collections.abc import Iterator

from ..cloud import Edge, Node
from ..graph import Graph, Resource, as_list, strings_in
from .exposure import database_port
from .iam_bindings import IAP_ACCESS, bindings, service_of, users
from .resource_types import (
    ACCOUNT,
    ALERT,
    APPLICATION,
    BUCKET,
    CHANNEL,
    DATABASE,
    FLEXIBLE,
    LOG_BUCKET,
    REPOSITORY,
    SECRET,
    SINK,
)

_PEOPLE = ("user", "group", "domain")


def _database(resource: Resource) -> str:
    version = str(resource.inputs.get("databaseVersion")).removeprefix("MYSQL_")
    return f"Cloud SQL: MySQL {version.replace('_', '.')}"


NODES = {
    APPLICATION: Node("Identity-Aware Proxy"),
    FLEXIBLE: Node("the proxy and MLflow: App Engine"),
    DATABASE: Node("database", store=True, describe=_database),
    BUCKET: Node("bucket", store=True, named=True),
    SECRET: Node("secret", store=True, named=True),
    REPOSITORY: Node("image in Artifact Registry", store=True),
    LOG_BUCKET: Node("log bucket", store=True),
    ALERT: Node("alert", grouped=True),
}


def edges(graph: Graph) -> Iterator[Edge]:
    """Yield the edges; the same edge may come more than once."""
    yield from _clients(graph)
    yield from _databases(graph)
    yield from _permissions(graph)
    yield from _monitoring(graph)


def _clients(graph: Graph) -> Iterator[Edge]:
    for application in graph.of(APPLICATION):
        for binding in bindings(graph):
            if binding.role == IAP_ACCESS:
                people = binding.member.partition(":")[0] in _PEOPLE
                yield "browsers and notebooks" if people else "training jobs", application, "443"
        yield from ((application, version, "IAP assertion") for version in graph.of(FLEXIBLE))


def _databases(graph: Graph) -> Iterator[Edge]:
    for version in graph.of(FLEXIBLE):
        for database in graph.of(DATABASE):
            port = database_port(version, database)
            if port:
                yield version, database, port


def _permissions(graph: Graph) -> Iterator[Edge]:
    """From the resources that run as a service account to those that it has a role on."""
    found = bindings(graph)
    for account in graph.of(ACCOUNT):
        for binding in found:
            if binding.member == account.outputs.get("member"):
                role = binding.role.rpartition(".")[2]
                yield from ((user, binding.resource, role) for user in users(graph, account))


def _monitoring(graph: Graph) -> Iterator[Edge]:
    for version in graph.of(FLEXIBLE):
        for sink in graph.of(SINK):
            if _filters_on(sink, service_of(version)):
                yield from ((version, log, "logs") for log in _destinations(graph, sink))
        for alert in graph.of(ALERT):
            if _filters_on(alert, service_of(version)):
                yield version, alert, "metrics"
    for database in graph.of(DATABASE):
        name = f":{database.outputs.get('name')}"
        yield from ((database, alert, "metrics") for alert in graph.of(ALERT) if _filters_on(alert, name))
    for alert in graph.of(ALERT):
        for channel in graph.of(CHANNEL):
            if channel.outputs.get("name") in as_list(alert.inputs.get("notificationChannels")):
                address = channel.inputs.get("labels", {}).get("email_address")
                yield alert, str(address or channel.name), str(channel.inputs.get("type"))


def _filters_on(resource: Resource, name: str) -> bool:
    """Whether a filter compares with a quoted text that ends in this name."""
    return any(f'{name}"' in text for text in strings_in(resource.inputs))


def _destinations(graph: Graph, sink: Resource) -> list[Resource]:
    return [bucket for bucket in graph.of(LOG_BUCKET) if str(sink.inputs.get("destination")).endswith(bucket.id)]
