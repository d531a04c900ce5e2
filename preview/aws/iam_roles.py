"""IAM roles: their permissions, the principals that may assume them, and the resources that use them."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..graph import Graph, Resource, strings_in
from . import policies

ROLE = "aws:iam/role:Role"
_INLINE = "aws:iam/rolePolicy:RolePolicy"
_ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
_PROFILE = "aws:iam/instanceProfile:InstanceProfile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """A statement of a role's policy. ``managed``: the name of an AWS managed policy, whose statements are unknown."""

    allow: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[str, ...]
    managed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """``assumed_by``: principals with their conditions, as text. ``used_by``: the resources that have the role."""

    role: Resource
    assumed_by: tuple[str, ...]
    used_by: tuple[Resource, ...]
    boundary: str
    permissions: tuple[Permission, ...]


def roles(graph: Graph) -> list[Role]:
    """Return every role of the graph with its permissions."""
    return [_role(graph, role) for role in graph.of(ROLE)]


def _role(graph: Graph, role: Resource) -> Role:
    return Role(
        role=role,
        assumed_by=tuple(_assumed_by(role)),
        used_by=tuple(_used_by(graph, role)),
        boundary=str(role.inputs.get("permissionsBoundary") or ""),
        permissions=tuple(_permissions(graph, role)),
    )


def _assumed_by(role: Resource) -> Iterator[str]:
    for statement in policies.statements(role.inputs.get("assumeRolePolicy")):
        conditions = f" if {' and '.join(statement.conditions)}" if statement.conditions else ""
        yield f"{'' if statement.allow else 'never '}{', '.join(statement.principals)}{conditions}"


def _references(role: Resource) -> set[str]:
    return {str(value) for value in (role.id, role.outputs.get("name"), role.outputs.get("arn")) if value}


def _used_by(graph: Graph, role: Resource) -> Iterator[Resource]:
    arn = str(role.outputs.get("arn"))
    for resource in graph.resources:
        if resource.type == _PROFILE and resource.inputs.get("role") in _references(role):
            yield from (user for user in graph.resources if resource.urn in _instance_profiles(user))
        elif not resource.type.startswith("aws:iam/") and arn in strings_in(resource.inputs) and resource.custom:
            yield resource


def _instance_profiles(resource: Resource) -> tuple[str, ...]:
    return resource.property_dependencies.get("iamInstanceProfile", ())


def _permissions(graph: Graph, role: Resource) -> Iterator[Permission]:
    for resource in graph.resources:
        if resource.type == _INLINE and resource.inputs.get("role") in _references(role):
            for statement in policies.statements(resource.inputs.get("policy")):
                yield Permission(
                    allow=statement.allow,
                    actions=statement.actions,
                    resources=statement.resources,
                    conditions=statement.conditions,
                )
        elif resource.type == _ATTACHMENT and resource.inputs.get("role") in _references(role):
            managed = str(resource.inputs.get("policyArn")).rpartition("/")[2]
            yield Permission(allow=True, actions=(), resources=(), conditions=(), managed=managed)
