"""What of Google Cloud `pulumi destroy` keeps, or stops at."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..graph import Resource, dig
from ..traits import OFF, Kept, Trait, always, not_on, on, those_of
from .kinds import API, APPLICATION, BUCKET, DATABASE, FLEXIBLE, LOG_BUCKET, SECRET, STANDARD

_DAY = 86_400
_BACKUPS = "`gcloud sql backups delete ...`"
_DEFAULT = "stays: App Engine never lets go of the service default"


def _protected(inputs: Mapping[str, Any]) -> bool:
    """The provider protects where a program says nothing."""
    return inputs.get("deletionProtection") is not False


def _named_itself(inputs: Mapping[str, Any]) -> bool:
    """Pulumi's names are others each time."""
    return "name" in inputs


# Each from the provider's page of that type: what makes its deletion fail, or leaves something.
_TRAITS: dict[str, tuple[Trait, ...]] = {
    API: (
        Trait(
            not_on("disableOnDestroy"),
            False,
            "stay switched on",
            "`gcloud services disable ... --project {project}`, if nobody else there needs them",
            "APIs",
        ),
    ),
    APPLICATION: (Trait(always, False, "stays: no project ever loses it", "delete the project"),),
    FLEXIBLE: (
        Trait(
            on("noopOnDestroy"),
            False,
            f"{_DEFAULT}, and its machines go on",
            "`gcloud app versions stop {versionId} --service default --project {project}`",
        ),
    ),
    STANDARD: (Trait(on("noopOnDestroy"), False, f"{_DEFAULT}; it scales to zero", "delete the project"),),
    DATABASE: (
        Trait(_protected, True, "has deletion protection", OFF),
        Trait(on("settings", "deletionProtectionEnabled"), True, "has Cloud SQL's deletion protection, too", OFF),
        Trait(on("settings", "retainBackupsOnDelete"), False, "leaves its backups", _BACKUPS),
        Trait(_named_itself, False, "leaves its name taken for a week", "another name, or wait"),
    ),
    BUCKET: (Trait(not_on("forceDestroy"), True, "is not deleted while it holds objects", f"empty it, or {OFF}"),),
    SECRET: (Trait(on("deletionProtection"), True, "has deletion protection", OFF),),
    LOG_BUCKET: (Trait(always, False, "can be brought back for 7 days", "wait"),),
}
_LEFT = Trait(always, False, "stays, since others may use it", "delete it by hand")
# Where a program says nothing: Cloud Storage's own, and what a text can do without.
_SOFT_DELETE = 7 * _DAY
_UNSAID = {"project": "...", "versionId": "..."}


def kept(one: Resource) -> Iterator[Kept]:
    if not one.type.startswith("gcp:"):
        return
    if one.inputs.get("deletionPolicy") == "ABANDON":
        yield from those_of(one, [_LEFT], _UNSAID)
        return
    yield from those_of(one, _TRAITS.get(one.type, ()), _UNSAID)
    if one.type == DATABASE:
        yield from _last_backup(one)
    if one.type == BUCKET:
        yield from _deleted_softly(one)


def _last_backup(one: Resource) -> Iterator[Kept]:
    final = dig(one.inputs, "settings", "finalBackupConfig")
    if dig(final, "enabled") is True:
        days = dig(final, "retentionDays")
        yield Kept(one, False, f"leaves a last backup{f' for {days} days' if days else ''}", _BACKUPS)


def _deleted_softly(one: Resource) -> Iterator[Kept]:
    """https://cloud.google.com/storage/docs/soft-delete: a bucket with what is in it, too."""
    seconds = dig(one.inputs, "softDeletePolicy", "retentionDurationSeconds")
    days = (_SOFT_DELETE if seconds is None else int(seconds)) // _DAY
    if days:
        yield Kept(one, False, f"can be brought back, and costs, for {days} days", "wait")
