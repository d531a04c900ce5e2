"""Secret Manager."""

from typing import TYPE_CHECKING

from ...kind import CloudError, CreateRequest, Name, Problems, Reference, Values
from ..common import exactly_one, group, groups, known, matches
from .identity import iam_member
from .kms import require_key
from .project import NUMBER, PROJECT, in_region, of_google

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

SECRET = "gcp:secretmanager/secret:Secret"
VERSION = "gcp:secretmanager/secretVersion:SecretVersion"


def _secret(request: CreateRequest) -> tuple[str, dict[str, object]]:
    resource_id = f"projects/{PROJECT}/secrets/{request.inputs['secretId']}"
    return resource_id, {
        "name": resource_id.replace(PROJECT, NUMBER),
        "createTime": "2026-01-02T03:04:05Z",
        "effectiveAnnotations": {},
    }


def _secret_problems(inputs: Values) -> Problems:
    """https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/create."""
    yield from matches(inputs, "secretId", r"[a-zA-Z0-9_-]{1,255}")
    replication = group(inputs, "replication")
    if known(inputs, "replication") is not None:
        present = [field for field in ("auto", "userManaged") if replication.get(field) is not None]
        if len(present) != 1:
            yield "replication", "expected exactly one of auto, userManaged"
    for index, replica in enumerate(groups(group(replication, "userManaged"), "replicas")):
        for field, why in in_region(replica, "location"):
            yield f"replication.userManaged.replicas[{index}].{field}", why


def _version(request: CreateRequest) -> tuple[str, dict[str, object]]:
    secret = request.find(request.inputs["secret"], SECRET)
    # Version numbers are not reused.
    number = int(secret.contents.get("versions", "0")) + 1
    secret.contents["versions"] = str(number)
    resource_id = f"{secret.computed['name']}/versions/{number}"
    return resource_id, {
        "name": resource_id,
        "version": str(number),
        "createTime": "2026-01-02T03:04:05Z",
        "destroyTime": "",
    }


def _version_problems(inputs: Values) -> Problems:
    yield from exactly_one(inputs, "secretData", "secretDataWo")
    yield from matches(inputs, "secret", r"projects/[^/]+/secrets/[a-zA-Z0-9_-]+")
    data = known(inputs, "secretData")
    if data is not None and len(data.encode()) > 65536:
        yield "secretData", "expected at most 64 KiB"


def _keys_usable(resource: "Resource", cloud: "Cloud") -> None:
    for replica in groups(group(group(resource.inputs, "replication"), "userManaged"), "replicas"):
        key = group(replica, "customerManagedEncryption").get("kmsKeyName")
        require_key(resource, cloud, service="secretmanager", key=key, location=str(replica["location"]))


def _not_protected(resource: "Resource", _cloud: "Cloud") -> None:
    if resource.inputs.get("deletionProtection"):
        raise CloudError(f"cannot destroy {resource} without setting deletion_protection=false and running `up`")


KINDS = (
    of_google(
        SECRET,
        "secretmanager",
        _secret,
        name=Name(field="secretId"),
        check=_secret_problems,
        on_create=_keys_usable,
        on_update=_keys_usable,
        on_delete=_not_protected,
        delete_before_replace=True,
        conflict=lambda existing: f"googleapi: Error 409: Secret [{existing.computed['name']}] already exists.",
    ),
    of_google(
        VERSION,
        "secretmanager",
        _version,
        references=(
            Reference(path="secret", kinds=(SECRET,), by=("id", "name"), blocks_delete=False, deleted_with=True),
        ),
        check=_version_problems,
    ),
    iam_member(
        "gcp:secretmanager/secretIamMember:SecretIamMember",
        "secretmanager",
        lambda inputs: f"projects/{PROJECT}/secrets/{str(inputs['secretId']).rsplit('/', 1)[-1]}",
        Reference(
            path="secretId", kinds=(SECRET,), by=("id", "name", "secretId"), blocks_delete=False, deleted_with=True
        ),
    ),
)
