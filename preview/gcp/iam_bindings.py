"""IAM bindings, from the resources that grant a role to a member."""

import re
from dataclasses import dataclass
from typing import Any

from ..graph import Graph, Resource, value_at
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
    """A role granted to a member on ``target``, a name; ``resource`` is the target if it is in the graph.

    ``project_wide``: the role is granted on the project.
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
    matches = ((resource, _IAM_MEMBER.fullmatch(resource.type)) for resource in graph.resources if not resource.read)
    return [_binding(graph, names, resource, match[1], match[2]) for resource, match in matches if match is not None]


def _binding(graph: Graph, names: ResourceNames, iam_member: Resource, module: str, target_type: str) -> Binding:
    resource, target = _target(graph, names, iam_member, module, target_type)
    title, expression = (
        value_at(iam_member.inputs, "condition", "title"),
        value_at(iam_member.inputs, "condition", "expression"),
    )
    return Binding(
        member=str(iam_member.inputs["member"]),
        role=str(iam_member.inputs["role"]),
        resource=resource,
        target=target,
        project_wide=module == "projects",
        condition=f"{title}: {expression}" if expression else "",
    )


def _target(
    graph: Graph, names: ResourceNames, iam_member: Resource, module: str, target_type: str
) -> tuple[Resource | None, str]:
    """(resource, name) of the target of a binding: the resource on which the role is granted."""
    if module == "projects":
        return None, f"project {iam_member.inputs['project']}"
    inputs = {name: value for name, value in iam_member.inputs.items() if name not in _NOT_TARGET}
    if module == "iap" and target_type == "AppEngineService":
        service = str(inputs.get("service"))
        return _version_of(graph, service), f"App Engine service {service}"
    candidates = (_referenced(graph, names, iam_member, name, value) for name, value in inputs.items())
    found = next((resource for resource in candidates if resource is not None), None)
    return found, found.name if found else "/".join(map(str, inputs.values()))


def _version_of(graph: Graph, service: str) -> Resource | None:
    versions = [*graph.of(FLEXIBLE), *graph.of(STANDARD)]
    return next((version for version in versions if service_of(version) == service), None)


def service_of(version: Resource) -> str:
    """Return the name of the App Engine service of a version."""
    return str(version.inputs.get("service") or "default")


def _referenced(graph: Graph, names: ResourceNames, iam_member: Resource, name: str, value: Any) -> Resource | None:
    """The resource that an input refers to: by dependency within the same Google service, or by name."""
    service = iam_member.type.partition("/")[0]
    for source in map(graph.by_urn, iam_member.property_dependencies.get(name, ())):
        if source is not None and source.type.startswith(f"{service}/") and value in source.outputs.values():
            return source
    return names.resource(value)


def account(graph: Graph, member: str) -> Resource | None:
    """Return the service account of this stack with the member's e-mail address; None for other members."""
    kind, _, email = member.partition(":")
    if kind != "serviceAccount":
        return None
    return next(
        (service_account for service_account in graph.of(ACCOUNT) if service_account.outputs.get("email") == email),
        None,
    )


def display_member(graph: Graph, member: str) -> str:
    """Return a member, with the Pulumi name in place of a service account of this stack."""
    service_account = account(graph, member)
    return service_account.name if service_account is not None else member


def users(graph: Graph, account: Resource) -> list[Resource]:
    """Return the resources that run as a service account."""
    email = account.outputs["email"]
    return [
        resource for resource in graph.resources if resource.custom and resource.inputs.get("serviceAccount") == email
    ]
