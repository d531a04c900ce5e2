"""IAM bindings by member, and the members that may impersonate a service account, as lines of text."""

from collections.abc import Iterator, Mapping, Sequence

from ..console import Style, plain
from ..graph import Graph
from ..names import class_name
from .iam_bindings import PUBLIC, Binding, account, bindings, display_member, users
from .resource_types import ACCOUNT

# https://cloud.google.com/iam/docs/roles-permissions; "it" is the resource on which the role is granted.
_DESCRIPTIONS: Mapping[str, str] = {
    "roles/artifactregistry.createOnPushWriter": "push images, and create repositories by a push",
    "roles/artifactregistry.reader": "pull images",
    "roles/cloudsql.client": "connect to Cloud SQL",
    "roles/cloudsql.instanceUser": "log in to Cloud SQL by IAM",
    "roles/compute.networkUser": "create instances in it",
    "roles/iam.serviceAccountOpenIdTokenCreator": "create ID tokens for it",
    "roles/iam.serviceAccountTokenCreator": "create tokens and signatures for it",
    "roles/iam.serviceAccountUser": "attach it to resources",
    "roles/iam.workloadIdentityUser": "impersonate it by federation",
    "roles/iap.httpsResourceAccessor": "pass Identity-Aware Proxy",
    "roles/logging.logWriter": "write log entries",
    "roles/monitoring.metricWriter": "write metrics",
    "roles/secretmanager.secretAccessor": "read the secret",
    "roles/storage.objectUser": "read, write and delete objects",
    "roles/storage.objectViewer": "read objects",
    "roles/viewer": "view most resources",
    "roles/editor": "change most resources",
    "roles/owner": "do everything",
}
_BASIC_ROLES = ("roles/viewer", "roles/editor", "roles/owner")
_IMPERSONATION = ("roles/iam.serviceAccount", "roles/iam.workloadIdentityUser")


def lines(graph: Graph, style: Style) -> Iterator[str]:
    """Yield the lines of each member: first the stack's own service accounts, then the others."""
    found = bindings(graph)
    own = [service_account.outputs["member"] for service_account in graph.of(ACCOUNT) if not service_account.read]
    members = dict.fromkeys([*own, *(binding.member for binding in found)])
    widths = [max((len(plain(_cells(binding, style)[column])) for binding in found), default=0) for column in range(2)]
    for member in members:
        yield _heading(graph, member, style)
        yield from _impersonators(graph, member, found, style)
        for binding in found:
            if binding.member == member:
                cells = zip(_cells(binding, style), widths, strict=True)
                description, target = (cell + " " * (width - len(plain(cell))) for cell, width in cells)
                role = style(binding.role.removeprefix("roles/"), "dim")
                yield f"    {style('can', 'dim')} {description}  {style('on', 'dim')} {target}  {role}".rstrip()
                if binding.condition:
                    yield f"      {style('if', 'dim')} {binding.condition}"


def _heading(graph: Graph, member: str, style: Style) -> str:
    service_account = account(graph, member)
    if service_account is None:
        return f"  {style(member, 'yellow' if member in PUBLIC else 'bold')}"
    used_by = ", ".join(f"{user.name} ({class_name(user)})" for user in users(graph, service_account))
    suffix = f", used by {used_by}" if used_by else ""
    return f"  {style(service_account.name, 'bold')} ({class_name(service_account)}){suffix}"


def _impersonators(graph: Graph, member: str, found: Sequence[Binding], style: Style) -> Iterator[str]:
    service_account = account(graph, member)
    if service_account is None:
        return
    others = dict.fromkeys(
        binding.member
        for binding in found
        if binding.resource is service_account and binding.role.startswith(_IMPERSONATION)
    )
    if others:
        names = ("itself" if other == member else display_member(graph, other) for other in others)
        yield f"    {style('impersonated by', 'dim')} {', '.join(names)}"


def _cells(binding: Binding, style: Style) -> tuple[str, str]:
    description = _DESCRIPTIONS.get(binding.role, "do what the role allows")
    target = binding.target if binding.resource is None else f"{binding.target} ({class_name(binding.resource)})"
    return (
        style(description, "yellow") if binding.role in _BASIC_ROLES else description,
        style(target, "yellow") if binding.project_wide else target,
    )
