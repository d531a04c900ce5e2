"""Secret Manager."""

from typing import TYPE_CHECKING

from ...kind import Making, Name, Problems, Refers, RefusedError, Values
from ..common import exactly_one, group, groups, known, matches
from .identity import iam_member
from .project import NUMBER, PROJECT, in_region, of_google

if TYPE_CHECKING:
    from ...cloud import Cloud, Thing

SECRET = "gcp:secretmanager/secret:Secret"
VERSION = "gcp:secretmanager/secretVersion:SecretVersion"


def _secret(making: Making) -> tuple[str, dict[str, object]]:
    made = f"projects/{PROJECT}/secrets/{making.inputs['secretId']}"
    return made, {
        "name": made.replace(PROJECT, NUMBER),
        "createTime": "2026-01-02T03:04:05Z",
        "effectiveAnnotations": {},
    }


def _secret_problems(inputs: Values) -> Problems:
    """https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/create."""
    yield from matches(inputs, "secretId", r"[a-zA-Z0-9_-]{1,255}")
    replication = group(inputs, "replication")
    if known(inputs, "replication") is not None:
        given = [field for field in ("auto", "userManaged") if replication.get(field) is not None]
        if len(given) != 1:
            yield "replication", "exactly one of auto, userManaged is wanted"
    for index, replica in enumerate(groups(group(replication, "userManaged"), "replicas")):
        for field, why in in_region(replica, "location"):
            yield f"replication.userManaged.replicas[{index}].{field}", why


def _version(making: Making) -> tuple[str, dict[str, object]]:
    secret = making.found(making.inputs["secret"], SECRET)
    # A number is never given twice.
    number = int(secret.inside.get("versions", "0")) + 1
    secret.inside["versions"] = str(number)
    made = f"{secret.computed['name']}/versions/{number}"
    return made, {"name": made, "version": str(number), "createTime": "2026-01-02T03:04:05Z", "destroyTime": ""}


def _version_problems(inputs: Values) -> Problems:
    yield from exactly_one(inputs, "secretData", "secretDataWo")
    yield from matches(inputs, "secret", r"projects/[^/]+/secrets/[a-zA-Z0-9_-]+")
    data = known(inputs, "secretData")
    if data is not None and len(data.encode()) > 65536:
        yield "secretData", "a version holds 64 KiB at most"


def _not_protected(thing: "Thing", _cloud: "Cloud") -> None:
    if thing.inputs.get("deletionProtection"):
        raise RefusedError(f"cannot destroy {thing} without setting deletion_protection=false and running `up`")


KINDS = (
    of_google(
        SECRET,
        "secretmanager",
        _secret,
        name=Name(field="secretId"),
        check=_secret_problems,
        deleting=_not_protected,
        first_deleted=True,
        taken=lambda there: f"googleapi: Error 409: Secret [{there.computed['name']}] already exists.",
    ),
    of_google(
        VERSION,
        "secretmanager",
        _version,
        refers=(Refers(path="secret", kinds=(SECRET,), by=("id", "name"), holds=False, within=True),),
        check=_version_problems,
    ),
    iam_member(
        "gcp:secretmanager/secretIamMember:SecretIamMember",
        "secretmanager",
        lambda inputs: f"projects/{PROJECT}/secrets/{str(inputs['secretId']).rsplit('/', 1)[-1]}",
        Refers(path="secretId", kinds=(SECRET,), by=("id", "name", "secretId"), holds=False, within=True),
    ),
)
