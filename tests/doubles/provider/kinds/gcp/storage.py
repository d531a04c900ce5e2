"""Cloud Storage."""

import re
from typing import TYPE_CHECKING

from ...kind import Making, Name, Problems, Refers, RefusedError, Values
from ..common import among, exactly_one, group, groups, known
from .identity import iam_member
from .project import NUMBER, REGIONS, of_google

if TYPE_CHECKING:
    from ...cloud import Cloud, Thing

BUCKET = "gcp:storage/bucket:Bucket"
OBJECT = "gcp:storage/bucketObject:BucketObject"
# https://cloud.google.com/storage/docs/locations; the provider puts them in capitals.
_WIDE = frozenset({"ASIA", "EU", "US", "ASIA1", "EUR4", "EUR5", "EUR7", "EUR8", "NAM4"})
_DAY = 86400


def _bucket(making: Making) -> tuple[str, dict[str, object]]:
    name = str(making.inputs["name"])
    return name, {
        "url": f"gs://{name}",
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{name}",
        "projectNumber": int(NUMBER),
        "timeCreated": "2026-01-02T03:04:05Z",
        "updated": "2026-01-02T03:04:05Z",
    }


def _bucket_problems(inputs: Values) -> Problems:
    name = known(inputs, "name")
    # https://cloud.google.com/storage/docs/buckets#naming; one with dots would have to be a domain of one's own.
    if name is not None and (
        not re.fullmatch(r"[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]", name) or re.search(r"^goog|g[o0]+gle", name)
    ):
        yield "name", f"{name!r} is given; allowed are 3 to 63 letters of a-z, digits, _ and -, without google"
    location = known(inputs, "location")
    if location is not None and location.upper() not in _WIDE and location.lower() not in REGIONS:
        yield "location", f"{location!r} is no region and none of {', '.join(sorted(_WIDE))}"
    yield from among(inputs, "publicAccessPrevention", ("inherited", "enforced"))
    yield from among(
        inputs, "storageClass", ("STANDARD", "MULTI_REGIONAL", "REGIONAL", "NEARLINE", "COLDLINE", "ARCHIVE")
    )
    seconds = known(group(inputs, "softDeletePolicy"), "retentionDurationSeconds")
    if seconds is not None and seconds != 0 and not 7 * _DAY <= seconds <= 90 * _DAY:
        yield "softDeletePolicy.retentionDurationSeconds", f"{seconds} is given; allowed is 0, or 7 to 90 days"
    for index, rule in enumerate(groups(inputs, "lifecycleRules")):
        path = f"lifecycleRules[{index}]"
        action = group(rule, "action")
        if known(action, "type") not in (None, "Delete", "SetStorageClass", "AbortIncompleteMultipartUpload"):
            yield f"{path}.action.type", f"{action['type']!r} is unknown"
        if (known(action, "type") == "SetStorageClass") != bool(action.get("storageClass")):
            yield f"{path}.action.storageClass", "it belongs to SetStorageClass, and that wants it"
        if not [value for value in group(rule, "condition").values() if value is not None]:
            yield f"{path}.condition", "a rule needs a condition"
        if known(action, "type") == "AbortIncompleteMultipartUpload" and set(group(rule, "condition")) - {
            "age",
            "matchesPrefixes",
            "matchesSuffixes",
        }:
            yield f"{path}.condition", "an upload that was not finished has an age and a name only"


def _empty(thing: "Thing", _cloud: "Cloud") -> None:
    if thing.inside and not thing.inputs.get("forceDestroy"):
        raise RefusedError(f"Error trying to delete bucket {thing.id} without `force_destroy` set to true")


def _name_free(thing: "Thing", cloud: "Cloud") -> None:
    # Buckets of everybody in the world have one list of names.
    if f"gs://{thing.id}" in cloud.given:
        raise RefusedError(
            "googleapi: Error 409: The requested bucket name is not available. The bucket namespace is shared by all "
            "users of the system. Please select a different name and try again., conflict"
        )


def _soft_deleted(thing: "Thing") -> str | None:
    """https://cloud.google.com/storage/docs/soft-delete: seven days if nothing else is said, and they are paid for."""
    seconds = group(thing.inputs, "softDeletePolicy").get("retentionDurationSeconds", 7 * _DAY)
    return f"soft-deleted bucket {thing.id} for {seconds // _DAY} days" if seconds else None


def _object(making: Making) -> tuple[str, dict[str, object]]:
    bucket = making.found(making.inputs["bucket"], BUCKET)
    name = str(making.inputs["name"])
    bucket.inside[name] = ""
    return f"{bucket.id}-{name}", {
        "outputName": name,
        "selfLink": f"{bucket.computed['selfLink']}/o/{name}",
        "mediaLink": f"https://storage.googleapis.com/download/storage/v1/b/{bucket.id}/o/{name}?alt=media",
        "generation": making.cloud.ticket(),
        "md5hash": making.hexes(22),
        "md5hexhash": making.hexes(32),
        "crc32c": making.hexes(8),
    }


def _object_gone(thing: "Thing", cloud: "Cloud") -> None:
    cloud.named(thing.inputs["bucket"], (BUCKET,)).inside.pop(str(thing.inputs["name"]), None)


KINDS = (
    of_google(
        BUCKET,
        "storage",
        _bucket,
        name=Name(limit=222),
        check=_bucket_problems,
        made=_name_free,
        deleting=_empty,
        leaves=_soft_deleted,
        taken=lambda _there: (
            "googleapi: Error 409: Your previous request to create the named bucket succeeded and you already own it., "
            "conflict"
        ),
    ),
    of_google(
        OBJECT,
        "storage",
        _object,
        name=Name(),
        refers=(Refers(path="bucket", kinds=(BUCKET,), holds=False, within=True),),
        check=lambda inputs: exactly_one(inputs, "source", "content"),
        deleting=_object_gone,
        puts=True,
    ),
    iam_member(
        "gcp:storage/bucketIAMMember:BucketIAMMember",
        "storage",
        lambda inputs: f"b/{inputs['bucket']}",
        Refers(path="bucket", kinds=(BUCKET,), by=("id", "name"), holds=False, within=True),
    ),
)
