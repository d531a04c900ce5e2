"""Cloud Storage."""

import re
from typing import TYPE_CHECKING

from ...kind import CloudError, CreateRequest, Name, Problems, Reference, Values
from ..common import among, exactly_one, group, groups, known
from .identity import iam_member
from .kms import require_key
from .project import NUMBER, REGIONS, of_google

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

BUCKET = "gcp:storage/bucket:Bucket"
OBJECT = "gcp:storage/bucketObject:BucketObject"
# https://cloud.google.com/storage/docs/locations; the provider converts them to upper case.
_WIDE = frozenset({"ASIA", "EU", "US", "ASIA1", "EUR4", "EUR5", "EUR7", "EUR8", "NAM4"})
_DAY = 86400


def _bucket(request: CreateRequest) -> tuple[str, dict[str, object]]:
    name = str(request.inputs["name"])
    return name, {
        "url": f"gs://{name}",
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{name}",
        "projectNumber": int(NUMBER),
        "timeCreated": "2026-01-02T03:04:05Z",
        "updated": "2026-01-02T03:04:05Z",
    }


def _bucket_problems(inputs: Values) -> Problems:
    name = known(inputs, "name")
    # https://cloud.google.com/storage/docs/buckets#naming; names with dots must be verified domains.
    if name is not None and (
        not re.fullmatch(r"[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]", name) or re.search(r"^goog|g[o0]+gle", name)
    ):
        yield "name", f"{name!r} is invalid: expected 3 to 63 of a-z, digits, _ and -, without google"
    location = known(inputs, "location")
    if location is not None and location.upper() not in _WIDE and location.lower() not in REGIONS:
        yield "location", f"got {location!r}, expected a region or one of {', '.join(sorted(_WIDE))}"
    yield from among(inputs, "publicAccessPrevention", ("inherited", "enforced"))
    yield from among(
        inputs, "storageClass", ("STANDARD", "MULTI_REGIONAL", "REGIONAL", "NEARLINE", "COLDLINE", "ARCHIVE")
    )
    seconds = known(group(inputs, "softDeletePolicy"), "retentionDurationSeconds")
    if seconds is not None and seconds != 0 and not 7 * _DAY <= seconds <= 90 * _DAY:
        yield "softDeletePolicy.retentionDurationSeconds", f"got {seconds}, expected 0, or 7 to 90 days"
    for index, rule in enumerate(groups(inputs, "lifecycleRules")):
        path = f"lifecycleRules[{index}]"
        action = group(rule, "action")
        if known(action, "type") not in (None, "Delete", "SetStorageClass", "AbortIncompleteMultipartUpload"):
            yield f"{path}.action.type", f"{action['type']!r} is unknown"
        if (known(action, "type") == "SetStorageClass") != bool(action.get("storageClass")):
            yield f"{path}.action.storageClass", "required for SetStorageClass, and not allowed for other types"
        if not [value for value in group(rule, "condition").values() if value is not None]:
            yield f"{path}.condition", "a rule requires a condition"
        if known(action, "type") == "AbortIncompleteMultipartUpload" and set(group(rule, "condition")) - {
            "age",
            "matchesPrefixes",
            "matchesSuffixes",
        }:
            yield f"{path}.condition", "AbortIncompleteMultipartUpload supports conditions on age and name only"


def _empty(resource: "Resource", _cloud: "Cloud") -> None:
    if resource.contents and not resource.inputs.get("forceDestroy"):
        raise CloudError(f"Error trying to delete bucket {resource.id} without `force_destroy` set to true")


def _name_free(resource: "Resource", cloud: "Cloud") -> None:
    # Bucket names are global.
    if f"gs://{resource.id}" in cloud.existing:
        raise CloudError(
            "googleapi: Error 409: The requested bucket name is not available. The bucket namespace is shared by all "
            "users of the system. Please select a different name and try again., conflict"
        )
    _key_usable(resource, cloud)


def _key_usable(resource: "Resource", cloud: "Cloud") -> None:
    key = group(resource.inputs, "encryption").get("defaultKmsKeyName")
    require_key(resource, cloud, service="storage", key=key, location=str(resource.inputs["location"]))


def _soft_deleted(resource: "Resource") -> str | None:
    """https://cloud.google.com/storage/docs/soft-delete: seven days by default."""
    seconds = group(resource.inputs, "softDeletePolicy").get("retentionDurationSeconds", 7 * _DAY)
    return f"soft-deleted bucket {resource.id} for {seconds // _DAY} days" if seconds else None


def _object(request: CreateRequest) -> tuple[str, dict[str, object]]:
    bucket = request.find(request.inputs["bucket"], BUCKET)
    name = str(request.inputs["name"])
    bucket.contents[name] = ""
    return f"{bucket.id}-{name}", {
        "outputName": name,
        "selfLink": f"{bucket.computed['selfLink']}/o/{name}",
        "mediaLink": f"https://storage.googleapis.com/download/storage/v1/b/{bucket.id}/o/{name}?alt=media",
        "generation": request.cloud.next_number(),
        "md5hash": request.hex_digits(22),
        "md5hexhash": request.hex_digits(32),
        "crc32c": request.hex_digits(8),
    }


def _object_gone(resource: "Resource", cloud: "Cloud") -> None:
    cloud.find(resource.inputs["bucket"], (BUCKET,)).contents.pop(str(resource.inputs["name"]), None)


KINDS = (
    of_google(
        BUCKET,
        "storage",
        _bucket,
        name=Name(limit=222),
        check=_bucket_problems,
        on_create=_name_free,
        on_update=_key_usable,
        on_delete=_empty,
        leftover=_soft_deleted,
        conflict=lambda _there: (
            "googleapi: Error 409: Your previous request to create the named bucket succeeded and you already own it., "
            "conflict"
        ),
    ),
    of_google(
        OBJECT,
        "storage",
        _object,
        name=Name(),
        references=(Reference(path="bucket", kinds=(BUCKET,), blocks_delete=False, deleted_with=True),),
        check=lambda inputs: exactly_one(inputs, "source", "content"),
        on_delete=_object_gone,
        overwrites=True,
    ),
    iam_member(
        "gcp:storage/bucketIAMMember:BucketIAMMember",
        "storage",
        lambda inputs: f"b/{inputs['bucket']}",
        Reference(path="bucket", kinds=(BUCKET,), by=("id", "name"), blocks_delete=False, deleted_with=True),
    ),
)
