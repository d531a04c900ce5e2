"""Who talks to whom in Google Cloud: callers, what a version is told of, what accounts may do, what is watched."""

from collections.abc import Iterator

from ..cloud import FoundArrow
from ..graph import Graph, Resource, listed, texts
from .bindings import IAP_ACCESS, bindings, served, users
from .exposure import reaches
from .kinds import ACCOUNT, ALERT, APPLICATION, CHANNEL, DATABASE, FLEXIBLE, LOG_BUCKET, SINK

_PEOPLE = ("user", "group", "domain")


def arrows(graph: Graph) -> Iterator[FoundArrow]:
    """Each may come more than once."""
    yield from _callers(graph)
    yield from _data(graph)
    yield from _rights(graph)
    yield from _watching(graph)


def _callers(graph: Graph) -> Iterator[FoundArrow]:
    for application in graph.of(APPLICATION):
        for one in bindings(graph):
            if one.role == IAP_ACCESS:
                people = one.member.partition(":")[0] in _PEOPLE
                yield "browsers and notebooks" if people else "training jobs", application, "443"
        yield from ((application, version, "signed identity") for version in graph.of(FLEXIBLE))


def _data(graph: Graph) -> Iterator[FoundArrow]:
    for version in graph.of(FLEXIBLE):
        yield from ((version, database, reaches(version, database)) for database in _databases(graph, version))


def _databases(graph: Graph, version: Resource) -> list[Resource]:
    return [one for one in graph.of(DATABASE) if reaches(version, one)]


def _rights(graph: Graph) -> Iterator[FoundArrow]:
    """What an account may do with a resource, from whoever acts as it."""
    found = bindings(graph)
    for account in graph.of(ACCOUNT):
        for one in found:
            if one.member == account.outputs.get("member"):
                yield from ((user, one.resource, one.role.rpartition(".")[2]) for user in users(graph, account))


def _watching(graph: Graph) -> Iterator[FoundArrow]:
    for version in graph.of(FLEXIBLE):
        for sink in graph.of(SINK):
            if _about(sink, served(version)):
                yield from ((version, log, "log") for log in _ends(graph, sink))
        yield from ((version, alert, "metrics") for alert in graph.of(ALERT) if _about(alert, served(version)))
    for database in graph.of(DATABASE):
        name = f":{database.outputs.get('name')}"
        yield from ((database, alert, "metrics") for alert in graph.of(ALERT) if _about(alert, name))
    for alert in graph.of(ALERT):
        for channel in graph.of(CHANNEL):
            if channel.outputs.get("name") in listed(alert.inputs.get("notificationChannels")):
                address = channel.inputs.get("labels", {}).get("email_address")
                yield alert, str(address or channel.name), str(channel.inputs.get("type"))


def _about(one: Resource, name: str) -> bool:
    """A filter names what it is about in quotes."""
    return any(f'{name}"' in text for text in texts(one.inputs))


def _ends(graph: Graph, sink: Resource) -> list[Resource]:
    return [one for one in graph.of(LOG_BUCKET) if str(sink.inputs.get("destination")).endswith(one.id)]
