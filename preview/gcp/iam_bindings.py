"""IAM bindings, from the resources that grant a role to a member."""

import re
from dataclasses import dataclass
from typing import Any

from ..graph import Graph, Resource, dig
from ..names import ResourceNames
from .resource_types import ACCOUNT, FLEXIBLE, STANDARD

# pulumi-gcp spells it both IAM and Iam.
_IAM_MEMBER = re.compile(r"gcp:(\w+)/\w+:(\w*?)I[Aa][Mm]Member")
# Inputs that do not identify the resource on which the role is granted.
_NOT_TARGET = frozenset({"role", "member", "condition", "project", "location", "region"})
PUBLIC = ("allUsers", "allAuthenticatedUsers")
IAP_ACCESS = "roles/iap.httpsResourceAccessor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A role granted to a member on ``target``, a text; ``resource`` is the same if it is in the graph.

    ``project_wide``: the role is granted on the whole project.
    """

    member: str
    role: str
    resource: Resource | None
    target: str
    project_wide: bool
    condition: str


def bindings(graph: Graph) -> list[Binding]:
    """Return every binding, in the graph's order."""
    names = ResourceNames(graph)
    found = ((one, _IAM_MEMBER.fullmatch(one.type)) for one in graph.resources if not one.read)
    return [_binding(graph, names, one, match[1], match[2]) for one, match in found if match is not None]


def _binding(graph: Graph, names: ResourceNames, one: Resource, module: str, target_type: str) -> Binding:
    resource, target = _target(graph, names, one, module, target_type)
    title, expression = dig(one.inputs, "condition", "title"), dig(one.inputs, "condition", "expression")
    return Binding(
        member=str(one.inputs["member"]),
        role=str(one.inputs["role"]),
        resource=resource,
        target=target,
        project_wide=module == "projects",
        condition=f"{title}: {expression}" if expression else "",
    )


def _target(
    graph: Graph, names: ResourceNames, one: Resource, module: str, target_type: str
) -> tuple[Resource | None, str]:
    """(resource, text) of what a role is granted on."""
    if module == "projects":
        return None, f"project {one.inputs['project']}"
    inputs = {name: value for name, value in one.inputs.items() if name not in _NOT_TARGET}
    if module == "iap" and target_type == "AppEngineService":
        service = str(inputs.get("service"))
        return _version_of(graph, service), f"App Engine service {service}"
    candidates = (_referenced(graph, names, one, name, value) for name, value in inputs.items())
    found = next((resource for resource in candidates if resource is not None), None)
    return found, found.name if found else "/".join(map(str, inputs.values()))


def _version_of(graph: Graph, service: str) -> Resource | None:
    versions = [*graph.of(FLEXIBLE), *graph.of(STANDARD)]
    return next((one for one in versions if service_of(one) == service), None)


def service_of(version: Resource) -> str:
    """Return the name of the App Engine service of a version."""
    return str(version.inputs.get("service") or "default")


def _referenced(graph: Graph, names: ResourceNames, one: Resource, name: str, value: Any) -> Resource | None:
    """The resource that an input refers to: by dependency within the same Google service, or by name."""
    service = one.type.partition("/")[0]
    for source in map(graph.by_urn, one.property_dependencies.get(name, ())):
        if source is not None and source.type.startswith(f"{service}/") and value in source.outputs.values():
            return source
    return names.resource(value)


def account(graph: Graph, member: str) -> Resource | None:
    """Return the service account of this stack that a member is."""
    kind, _, email = member.partition(":")
    if kind != "serviceAccount":
        return None
    return next((one for one in graph.of(ACCOUNT) if one.outputs.get("email") == email), None)


def display_member(graph: Graph, member: str) -> str:
    """Return a member, with the Pulumi name in place of a service account of this stack."""
    own = account(graph, member)
    return own.name if own is not None else member


def users(graph: Graph, account: Resource) -> list[Resource]:
    """Return the resources that run as a service account."""
    email = account.outputs["email"]
    return [one for one in graph.resources if one.custom and one.inputs.get("serviceAccount") == email]
