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
    own = [one.outputs["member"] for one in graph.of(ACCOUNT) if not one.read]
    members = dict.fromkeys([*own, *(one.member for one in found)])
    widths = [max((len(plain(_cells(one, style)[column])) for one in found), default=0) for column in range(2)]
    for member in members:
        yield _heading(graph, member, style)
        yield from _impersonators(graph, member, found, style)
        for one in found:
            if one.member == member:
                cells = zip(_cells(one, style), widths, strict=True)
                what, target = (cell + " " * (width - len(plain(cell))) for cell, width in cells)
                role = style(one.role.removeprefix("roles/"), "dim")
                yield f"    {style('can', 'dim')} {what}  {style('on', 'dim')} {target}  {role}".rstrip()
                if one.condition:
                    yield f"      {style('if', 'dim')} {one.condition}"


def _heading(graph: Graph, member: str, style: Style) -> str:
    own = account(graph, member)
    if own is None:
        return f"  {style(member, 'yellow' if member in PUBLIC else 'bold')}"
    used_by = ", ".join(f"{one.name} ({class_name(one)})" for one in users(graph, own))
    return f"  {style(own.name, 'bold')} ({class_name(own)}){f', used by {used_by}' if used_by else ''}"


def _impersonators(graph: Graph, member: str, found: Sequence[Binding], style: Style) -> Iterator[str]:
    own = account(graph, member)
    if own is None:
        return
    others = dict.fromkeys(one.member for one in found if one.resource is own and one.role.startswith(_IMPERSONATION))
    if others:
        names = ("itself" if other == member else display_member(graph, other) for other in others)
        yield f"    {style('impersonated by', 'dim')} {', '.join(names)}"


def _cells(one: Binding, style: Style) -> tuple[str, str]:
    what = _DESCRIPTIONS.get(one.role, "do what the role allows")
    target = one.target if one.resource is None else f"{one.target} ({class_name(one.resource)})"
    return (
        style(what, "yellow") if one.role in _BASIC_ROLES else what,
        style(target, "yellow") if one.project_wide else target,
    )
