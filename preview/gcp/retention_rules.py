"""Resources of Google Cloud that `pulumi destroy` fails at, or leaves in the account."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..graph import Resource, value_at
from ..retention_rules import (
    DISABLE_PROTECTION,
    Retention,
    RetentionRule,
    always,
    apply_rules,
    is_not_true,
    is_true,
)
from .resource_types import API, APPLICATION, BUCKET, DATABASE, FLEXIBLE, LOG_BUCKET, SECRET, STANDARD

_DAY = 86_400
# Cloud Storage's default.
_SOFT_DELETE = 7 * _DAY
_DELETE_BACKUPS = "`gcloud sql backups delete ...`"
_DEFAULT_SERVICE = "stays: App Engine cannot delete the service default"
# Shown in place of a missing input.
_PLACEHOLDERS = {"project": "...", "versionId": "..."}


def _is_protected(inputs: Mapping[str, Any]) -> bool:
    """Whether the provider protects the resource, which is its default."""
    return inputs.get("deletionProtection") is not False


def _has_configured_name(inputs: Mapping[str, Any]) -> bool:
    """Whether the program sets the name: Pulumi's automatic names differ in each deployment."""
    return "name" in inputs


# From the provider's documentation of each type: when deletion fails or leaves part of the resource.
_RULES: dict[str, tuple[RetentionRule, ...]] = {
    API: (
        RetentionRule(
            is_not_true("disableOnDestroy"),
            False,
            "stay enabled",
            "`gcloud services disable ... --project {project}`, if nothing else uses them",
            "APIs",
        ),
    ),
    APPLICATION: (RetentionRule(always, False, "stays: Google cannot delete an application", "delete the project"),),
    FLEXIBLE: (
        RetentionRule(
            is_true("noopOnDestroy"),
            False,
            f"{_DEFAULT_SERVICE}, and its instances keep running",
            "`gcloud app versions stop {versionId} --service default --project {project}`",
        ),
    ),
    STANDARD: (
        RetentionRule(is_true("noopOnDestroy"), False, f"{_DEFAULT_SERVICE}; it scales to zero", "delete the project"),
    ),
    DATABASE: (
        RetentionRule(_is_protected, True, "has deletion protection", DISABLE_PROTECTION),
        RetentionRule(
            is_true("settings", "deletionProtectionEnabled"),
            True,
            "has Cloud SQL's own deletion protection",
            DISABLE_PROTECTION,
        ),
        RetentionRule(is_true("settings", "retainBackupsOnDelete"), False, "leaves its backups", _DELETE_BACKUPS),
        RetentionRule(_has_configured_name, False, "its name is reserved for a week", "use another name, or wait"),
    ),
    BUCKET: (
        RetentionRule(
            is_not_true("forceDestroy"),
            True,
            "cannot be deleted while it contains objects",
            f"empty it, or {DISABLE_PROTECTION}",
        ),
    ),
    SECRET: (RetentionRule(is_true("deletionProtection"), True, "has deletion protection", DISABLE_PROTECTION),),
    LOG_BUCKET: (RetentionRule(always, False, "can be restored for 7 days", "wait"),),
}
_ABANDONED = RetentionRule(always, False, "stays, because other resources may use it", "delete it manually")


def retentions(resource: Resource) -> Iterator[Retention]:
    """Yield why `pulumi destroy` does not simply delete this resource."""
    abandoned = resource.type.startswith("gcp:") and resource.inputs.get("deletionPolicy") == "ABANDON"
    rules = (_ABANDONED,) if abandoned else _RULES.get(resource.type, ())
    yield from apply_rules(resource, rules, _PLACEHOLDERS)
    if resource.type == DATABASE:
        yield from _final_backup(resource)
    if resource.type == BUCKET:
        yield from _soft_delete(resource)


def _final_backup(database: Resource) -> Iterator[Retention]:
    final = value_at(database.inputs, "settings", "finalBackupConfig")
    if value_at(final, "enabled") is True:
        days = value_at(final, "retentionDays")
        reason = f"leaves a final backup{f' for {days} days' if days else ''}"
        yield Retention(database, False, reason, _DELETE_BACKUPS)


def _soft_delete(bucket: Resource) -> Iterator[Retention]:
    """https://cloud.google.com/storage/docs/soft-delete applies to a bucket and its objects."""
    seconds = value_at(bucket.inputs, "softDeletePolicy", "retentionDurationSeconds")
    days = (_SOFT_DELETE if seconds is None else int(seconds)) // _DAY
    if days:
        yield Retention(bucket, False, f"can be restored, and is billed, for {days} days", "wait")
