"""IAM by member: what somebody may do on what, and who may act as an account."""

from collections.abc import Iterator, Mapping, Sequence

from ..console import Style, plain
from ..graph import Graph
from ..names import kind
from .bindings import EVERYBODY, Binding, account, bindings, called, users
from .kinds import ACCOUNT

# https://cloud.google.com/iam/docs/roles-permissions; "it" is what the role is given on.
_WORDS: Mapping[str, str] = {
    "roles/artifactregistry.createOnPushWriter": "push images, the first one to any repository",
    "roles/artifactregistry.reader": "pull images",
    "roles/cloudsql.client": "connect to Cloud SQL",
    "roles/compute.networkUser": "put machines into it",
    "roles/iam.serviceAccountOpenIdTokenCreator": "get ID tokens as it",
    "roles/iam.serviceAccountTokenCreator": "get tokens as it, and sign as it",
    "roles/iam.serviceAccountUser": "run programs as it",
    "roles/iam.workloadIdentityUser": "act as it from elsewhere",
    "roles/iap.httpsResourceAccessor": "come through Identity-Aware Proxy",
    "roles/logging.logWriter": "write log lines",
    "roles/monitoring.metricWriter": "write metrics",
    "roles/secretmanager.secretAccessor": "read its value",
    "roles/storage.objectUser": "read, write and delete objects",
    "roles/storage.objectViewer": "read objects",
    "roles/viewer": "see nearly everything",
    "roles/editor": "change nearly everything",
    "roles/owner": "do everything",
}
_BASIC = ("roles/viewer", "roles/editor", "roles/owner")
_ACTING = ("roles/iam.serviceAccount", "roles/iam.workloadIdentityUser")


def lines(graph: Graph, style: Style) -> Iterator[str]:
    """First the accounts that the stack makes, then everybody else."""
    found = bindings(graph)
    own = [one.outputs["member"] for one in graph.of(ACCOUNT) if not one.read]
    rows = {member: [one for one in found if one.member == member] for member in [*own, *(one.member for one in found)]}
    widths = [max((len(plain(_cells(one, style)[place])) for one in found), default=0) for place in range(2)]
    for member, held in rows.items():
        yield _head(graph, member, style)
        yield from _acting(graph, member, found, style)
        for one in held:
            may, on = (
                cell + " " * (width - len(plain(cell))) for cell, width in zip(_cells(one, style), widths, strict=True)
            )
            yield f"    {style('may', 'dim')} {may}  {style('on', 'dim')} {on}  {_by(one, style)}".rstrip()
            if one.condition:
                yield f"      {style('if', 'dim')} {one.condition}"


def _head(graph: Graph, member: str, style: Style) -> str:
    own = account(graph, member)
    if own is None:
        return f"  {style(member, 'yellow' if member in EVERYBODY else 'bold')}"
    used = ", ".join(f"{one.name} ({kind(one)})" for one in users(graph, own))
    return f"  {style(own.name, 'bold')} ({kind(own)}){f', for {used}' if used else ''}"


def _acting(graph: Graph, member: str, found: Sequence[Binding], style: Style) -> Iterator[str]:
    own = account(graph, member)
    others = [one.member for one in found if own is not None and one.resource is own and one.role.startswith(_ACTING)]
    if others:
        who = ("itself" if other == member else called(graph, other) for other in dict.fromkeys(others))
        yield f"    {style('may be acted as by', 'dim')} {', '.join(who)}"


def _cells(one: Binding, style: Style) -> tuple[str, str]:
    may = _WORDS.get(one.role, "do what its role says")
    on = one.on if one.resource is None else f"{one.on} ({kind(one.resource)})"
    return style(may, "yellow") if one.role in _BASIC else may, style(on, "yellow") if one.wide else on


def _by(one: Binding, style: Style) -> str:
    role = one.role.removeprefix("roles/")
    return style(role, "dim")
