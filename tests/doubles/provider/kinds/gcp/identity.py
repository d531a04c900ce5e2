"""Service accounts, and members of roles on the project or on a resource."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...kind import CloudError, CreateRequest, Kind, Name, Problems, Reference, Values
from ..common import group, known, matches
from .project import PROJECT, of_google

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

ACCOUNT = "gcp:serviceaccount/account:Account"
OF_PROJECT = "gcp:projects/iAMMember:IAMMember"
_HOST = f"{PROJECT}.iam.gserviceaccount.com"
# https://cloud.google.com/iam/docs/principal-identifiers
_MEMBER = re.compile(
    r"(?:user|group|serviceAccount):[^@\s:]+@[^@\s:]+\.[a-z]+|domain:[a-z0-9.-]+\.[a-z]{2,}|allUsers|allAuthenticatedUsers"
    r"|principal(?:Set)?://iam\.googleapis\.com/\S+"
)
# https://cloud.google.com/iam/docs/roles-overview
_ROLE = r"roles/[a-zA-Z.]+|(?:projects|organizations)/[a-z0-9-]+/roles/[a-zA-Z0-9_.]{3,64}"


def is_there(email: str, cloud: "Cloud") -> bool:
    """Whether a service account exists. Those of other projects do; Google's own do once their API is enabled."""
    return not email.endswith(f"@{_HOST}") or any(account.computed["email"] == email for account in cloud.of(ACCOUNT))


def member_problems(inputs: Values) -> Problems:
    """Check the format of a member."""
    yield from matches(inputs, "role", _ROLE)
    member = known(inputs, "member")
    if member is not None and not _MEMBER.fullmatch(member):
        yield "member", f"got {member!r}, expected user:, group:, serviceAccount: or domain: and a name"
    condition = group(inputs, "condition")
    title, expression = known(condition, "title"), known(condition, "expression")
    if title is not None and not 1 <= len(title) <= 100:
        yield "condition.title", "expected 1 to 100 characters"
    if expression is not None and len(re.findall(r"&&|\|\|", expression)) > 11:
        yield "condition.expression", "expected at most 12 expressions"
    if condition and known(inputs, "role") in ("roles/owner", "roles/editor", "roles/viewer"):
        yield "condition", "basic roles do not support conditions"
    if condition and known(inputs, "member") in ("allUsers", "allAuthenticatedUsers"):
        yield "condition", "public members do not support conditions"


def member_exists(resource: "Resource", cloud: "Cloud") -> None:
    """Require an existing service account as member."""
    kind, _, email = str(resource.inputs["member"]).partition(":")
    if kind == "serviceAccount" and not is_there(email, cloud):
        raise CloudError(f"googleapi: Error 400: Service account {email} does not exist., badRequest")


def iam_member(
    token: str,
    api: str | tuple[str, ...],
    parent: Callable[[Values], str],
    *references: Reference,
    on_create: Callable[["Resource", "Cloud"], None] = member_exists,
    delete_before_replace: bool = False,
    check: Callable[[Values], Problems] = lambda _inputs: iter(()),
) -> Kind:
    """A member of a role on the resource ``parent``. Adding an existing member succeeds: a policy is a set."""

    def make(request: CreateRequest) -> tuple[str, dict[str, object]]:
        inputs = request.inputs
        title = group(inputs, "condition").get("title")
        made_id = f"{parent(inputs)}/{inputs['role']}/{inputs['member']}"
        return made_id + (f"/{title}" if title else ""), {"etag": request.hex_digits(11)}

    def problems(inputs: Values) -> Problems:
        yield from member_problems(inputs)
        yield from check(inputs)

    return of_google(
        token,
        api,
        make,
        check=problems,
        references=references,
        on_create=on_create,
        overwrites=True,
        delete_before_replace=delete_before_replace,
    )


def _account(request: CreateRequest) -> tuple[str, dict[str, object]]:
    email = f"{request.inputs['accountId']}@{_HOST}"
    name = f"projects/{PROJECT}/serviceAccounts/{email}"
    return name, {
        "email": email,
        "name": name,
        "member": f"serviceAccount:{email}",
        "uniqueId": str(10**20 + request.cloud.next_number()),
    }


def _account_problems(inputs: Values) -> Problems:
    """https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/create."""
    yield from matches(inputs, "accountId", r"[a-z](?:[a-z0-9-]{4,28}[a-z0-9])")
    for field, most in (("displayName", 100), ("description", 256)):
        text = known(inputs, field)
        if text is not None and len(text.encode()) > most:
            yield field, f"expected at most {most} bytes"


def _leave_members(resource: "Resource", cloud: "Cloud") -> None:
    """A deleted account stays in policies as deleted:serviceAccount:...?uid=..., until it is removed there."""
    for member in cloud.of(OF_PROJECT):
        if member.inputs["member"] == resource.computed["member"]:
            cloud.leftovers.append(
                f"member deleted:{member.inputs['member']} of {member.inputs['role']} in the project"
            )
            cloud.remove(member)


def _account_link(inputs: Values) -> Problems:
    # The provider's own pattern: google/verify/validation.go, ServiceAccountLinkRegex.
    yield from matches(inputs, "serviceAccountId", r"projects/[^/]+/serviceAccounts/[^/@]+@[^/]+")


KINDS = (
    of_google(
        ACCOUNT,
        "iam",
        _account,
        name=Name(field="accountId", limit=30),
        check=_account_problems,
        on_delete=_leave_members,
        conflict=lambda existing: (
            "Error creating service account: googleapi: Error 409: Service account "
            f"{existing.inputs['accountId']} already exists within project projects/{PROJECT}., alreadyExists"
        ),
    ),
    iam_member(
        "gcp:serviceaccount/iAMMember:IAMMember",
        "iam",
        lambda inputs: str(inputs["serviceAccountId"]),
        Reference(path="serviceAccountId", kinds=(ACCOUNT,), by=("id", "name"), blocks_delete=False, deleted_with=True),
        check=_account_link,
    ),
    iam_member(OF_PROJECT, "cloudresourcemanager", lambda inputs: str(inputs["project"]), delete_before_replace=True),
)
