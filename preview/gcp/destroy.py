"""What of Google Cloud `pulumi destroy` keeps, or stops at."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..graph import Resource, dig
from ..traits import OFF, Kept, Trait, always, not_on, on, those_of
from .kinds import API, APPLICATION, BUCKET, DATABASE, FLEXIBLE, LOG_BUCKET, SECRET, STANDARD

_DAY = 86_400
_BACKUPS = "`gcloud sql backups delete ...`"
_DEFAULT = "stays: App Engine never lets go of the service default"


def _deletes_the_version(inputs: Mapping[str, Any]) -> bool:
    return not inputs.get("noopOnDestroy") and not inputs.get("deleteServiceOnDestroy")


_ONLY_VERSION = Trait(
    _deletes_the_version,
    True,
    "is not deleted while it is its service's only version",
    "set delete_service_on_destroy, or for the service default noop_on_destroy",
)


def _stays(*, on_default: bool) -> Callable[[Mapping[str, Any]], bool]:
    def held(inputs: Mapping[str, Any]) -> bool:
        return bool(inputs.get("noopOnDestroy")) and (inputs.get("service", "default") == "default") == on_default

    return held


def _protected(inputs: Mapping[str, Any]) -> bool:
    """The provider protects where a program says nothing."""
    return inputs.get("deletionProtection") is not False


def _built_in(inputs: Mapping[str, Any]) -> bool:
    return str(inputs.get("bucketId")) in ("_Default", "_Required")


def _own(inputs: Mapping[str, Any]) -> bool:
    return not _built_in(inputs)


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
            _stays(on_default=True),
            False,
            f"{_DEFAULT}, and its machines go on",
            "`gcloud app versions stop {versionId} --service default --project {project}`",
        ),
        Trait(
            _stays(on_default=False),
            False,
            "stays, and its machines go on",
            "`gcloud app services delete {service} --project {project}`",
        ),
        _ONLY_VERSION,
    ),
    STANDARD: (
        Trait(_stays(on_default=True), False, f"{_DEFAULT}; it scales to zero", "delete the project"),
        Trait(
            _stays(on_default=False),
            False,
            "stays",
            "`gcloud app services delete {service} --project {project}`",
        ),
        _ONLY_VERSION,
    ),
    DATABASE: (
        Trait(_protected, True, "has deletion protection", OFF),
        Trait(on("settings", "deletionProtectionEnabled"), True, "has Cloud SQL's deletion protection, too", OFF),
        Trait(on("settings", "retainBackupsOnDelete"), False, "leaves its backups", _BACKUPS),
        Trait(_named_itself, False, "leaves its name taken for a week", "another name, or wait"),
    ),
    BUCKET: (Trait(not_on("forceDestroy"), True, "is not deleted while it holds objects", f"empty it, or {OFF}"),),
    SECRET: (Trait(on("deletionProtection"), True, "has deletion protection", OFF),),
    LOG_BUCKET: (
        Trait(_built_in, False, "stays: Cloud Logging made it", "set it by hand to what it should be"),
        Trait(_own, False, "can be brought back for 7 days", "wait"),
    ),
}
_PREVENTED = Trait(always, True, "has the deletion policy PREVENT", "set it to DELETE, then `pulumi up`")
_LEFT = Trait(always, False, "stays, since others may use it", "delete it by hand")
_GONE_WITH_THEIR_INSTANCE = ("gcp:sql/database:Database", "gcp:sql/user:User")
# Where a program says nothing: Cloud Storage's own, and what a text can do without.
_SOFT_DELETE = 7 * _DAY
_UNSAID = {"project": "...", "service": "default", "versionId": "..."}


def kept(one: Resource) -> Iterator[Kept]:
    if not one.type.startswith("gcp:"):
        return
    policy = one.inputs.get("deletionPolicy")
    if policy == "ABANDON" and one.type not in _GONE_WITH_THEIR_INSTANCE:
        yield from those_of(one, [_LEFT], _UNSAID)
        return
    traits = _TRAITS.get(one.type, ())
    yield from those_of(one, [_PREVENTED, *traits] if policy == "PREVENT" else traits, _UNSAID)
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
