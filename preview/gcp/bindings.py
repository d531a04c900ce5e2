"""IAM: who has which role on what, from the resources that say it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..graph import Graph, Resource, dig
from ..names import Names
from .kinds import ACCOUNT, FLEXIBLE, STANDARD

# pulumi-gcp spells it both IAM and Iam.
_KIND = re.compile(r"gcp:(\w+)/\w+:(\w*?)I[Aa][Mm]Member")
# Inputs that do not say on what.
_ABOUT = frozenset({"role", "member", "condition", "project", "location", "region"})
EVERYBODY = ("allUsers", "allAuthenticatedUsers")
IAP_ACCESS = "roles/iap.httpsResourceAccessor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """``resource`` is the one that it is about, if that is in the graph; ``wide`` if it is about the whole project."""

    member: str
    role: str
    resource: Resource | None
    on: str
    wide: bool
    condition: str


def bindings(graph: Graph) -> list[Binding]:
    """Every one, in the graph's order."""
    names = Names(graph)
    return [found for one in graph.resources for found in _of(graph, names, one)]


def _of(graph: Graph, names: Names, one: Resource) -> Iterator[Binding]:
    kind = _KIND.fullmatch(one.type)
    if kind is None or one.read:
        return
    resource, on, wide = _subject(graph, names, one, kind[1], kind[2])
    yield Binding(
        member=str(one.inputs["member"]),
        role=str(one.inputs["role"]),
        resource=resource,
        on=on,
        wide=wide,
        condition=_condition(one.inputs),
    )


def _condition(said: Mapping[str, Any]) -> str:
    title, expression = dig(said, "condition", "title"), dig(said, "condition", "expression")
    return f"{title}: {expression}" if expression else ""


def _subject(graph: Graph, names: Names, one: Resource, module: str, about: str) -> tuple[Resource | None, str, bool]:
    """(the resource, in words, whether it is about many) of what a role is given on."""
    given = {name: value for name, value in one.inputs.items() if name not in _ABOUT}
    if module == "iap" and about == "AppEngineService":
        service = str(given.get("service"))
        return _served(graph, service), f"App Engine's service {service}", False
    if module == "projects":
        return None, f"the whole project {one.inputs['project']}", True
    found = next((found for name, value in given.items() if (found := _made(graph, names, one, name, value))), None)
    return found, found.name if found else "/".join(map(str, given.values())), False


def _served(graph: Graph, service: str) -> Resource | None:
    return next((one for kind in (FLEXIBLE, STANDARD) for one in graph.of(kind) if served(one) == service), None)


def served(version: Resource) -> str:
    """The App Engine service that a version is of."""
    return str(version.inputs.get("service") or "default")


def _made(graph: Graph, names: Names, one: Resource, name: str, value: Any) -> Resource | None:
    """What an input is about: it is called so, or a resource of the same service gives it the name."""
    service = one.type.partition("/")[0]
    for source in map(graph.by_urn, one.property_dependencies.get(name, ())):
        if source is not None and source.type.startswith(f"{service}/") and value in source.outputs.values():
            return source
    return names.resource(value)


def account(graph: Graph, member: str) -> Resource | None:
    """The service account of this stack that a member is."""
    kind, _, email = member.partition(":")
    if kind != "serviceAccount":
        return None
    return next((one for one in graph.of(ACCOUNT) if one.outputs.get("email") == email), None)


def called(graph: Graph, member: str) -> str:
    """A member as a reader knows it."""
    own = account(graph, member)
    return own.name if own is not None else member


def users(graph: Graph, of: Resource) -> list[Resource]:
    """The resources that act as a service account."""
    return [one for one in graph.resources if one.custom and one.inputs.get("serviceAccount") == of.outputs["email"]]
