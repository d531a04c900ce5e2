"""IAM in words: which role may do what on which resources, under which conditions, and who may assume it."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..graph import Graph, Resource, texts
from . import policies

ROLE = "aws:iam/role:Role"
_INLINE = "aws:iam/rolePolicy:RolePolicy"
_ATTACHED = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
_PROFILE = "aws:iam/instanceProfile:InstanceProfile"


@dataclass(frozen=True, slots=True, kw_only=True)
class May:
    """``managed``: an AWS policy's name, whose statements are AWS's and not here."""

    allow: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[str, ...]
    managed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """``assumed_by`` are sentences; ``used_by`` the resources that have it."""

    role: Resource
    assumed_by: tuple[str, ...]
    used_by: tuple[Resource, ...]
    boundary: str
    may: tuple[May, ...]


def roles(graph: Graph) -> list[Role]:
    """Every role of the graph with everything that is granted to it."""
    return [_role(graph, one) for one in graph.of(ROLE)]


def _role(graph: Graph, role: Resource) -> Role:
    return Role(
        role=role,
        assumed_by=tuple(_assumers(role)),
        used_by=tuple(_users(graph, role)),
        boundary=str(role.inputs.get("permissionsBoundary") or ""),
        may=tuple(_may(graph, role)),
    )


def _assumers(role: Resource) -> Iterator[str]:
    for said in policies.statements(role.inputs.get("assumeRolePolicy")):
        where = f" if {' and '.join(said.conditions)}" if said.conditions else ""
        yield f"{'' if said.allow else 'never '}{', '.join(said.who)}{where}"


def _calls(role: Resource) -> set[str]:
    return {str(one) for one in (role.id, role.outputs.get("name"), role.outputs.get("arn")) if one}


def _users(graph: Graph, role: Resource) -> Iterator[Resource]:
    arn = str(role.outputs.get("arn"))
    for one in graph.resources:
        if one.type == _PROFILE and one.inputs.get("role") in _calls(role):
            yield from (user for user in graph.resources if one.urn in _profiles(user))
        elif not one.type.startswith("aws:iam/") and arn in texts(one.inputs) and one.custom:
            yield one


def _profiles(one: Resource) -> tuple[str, ...]:
    return one.property_dependencies.get("iamInstanceProfile", ())


def _may(graph: Graph, role: Resource) -> Iterator[May]:
    for one in graph.resources:
        if one.type == _INLINE and one.inputs.get("role") in _calls(role):
            yield from _statements(one.inputs.get("policy"))
        elif one.type == _ATTACHED and one.inputs.get("role") in _calls(role):
            managed = str(one.inputs.get("policyArn")).rpartition("/")[2]
            yield May(allow=True, actions=(), resources=(), conditions=(), managed=managed)


def _statements(document: object) -> Iterator[May]:
    for said in policies.statements(document):
        yield May(allow=said.allow, actions=said.actions, resources=said.resources, conditions=said.conditions)
