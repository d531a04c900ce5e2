"""Resources of AWS that `pulumi destroy` fails at, or leaves in the account."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..graph import Resource
from ..retention_rules import (
    DISABLE_PROTECTION,
    Retention,
    RetentionRule,
    always,
    apply_rules,
    differs,
    is_not_true,
    is_true,
)

# The provider's default.
_DEFAULTS = {"recoveryWindowInDays": 30}


def _has_recovery_window(inputs: Mapping[str, Any]) -> bool:
    return int({**_DEFAULTS, **inputs}["recoveryWindowInDays"]) > 0


# From the provider's documentation of each type: when deletion fails or leaves part of the resource.
_RULES: dict[str, tuple[RetentionRule, ...]] = {
    "aws:s3/bucket:Bucket": (
        RetentionRule(
            is_not_true("forceDestroy"),
            True,
            "cannot be deleted while it contains objects",
            f"empty it, or {DISABLE_PROTECTION}",
        ),
    ),
    "aws:ecr/repository:Repository": (
        RetentionRule(
            is_not_true("forceDelete"),
            True,
            "cannot be deleted while it contains images",
            f"delete them, or {DISABLE_PROTECTION}",
        ),
    ),
    "aws:lb/loadBalancer:LoadBalancer": (
        RetentionRule(is_true("enableDeletionProtection"), True, "has deletion protection", DISABLE_PROTECTION),
    ),
    "aws:secretsmanager/secret:Secret": (
        RetentionRule(
            _has_recovery_window,
            False,
            "can be restored for {recoveryWindowInDays} days",
            "`aws secretsmanager delete-secret --force-delete-without-recovery --secret-id ...`",
        ),
    ),
    "aws:sagemaker/domain:Domain": (
        RetentionRule(
            differs("Delete", "retentionPolicy", "homeEfsFileSystem"),
            False,
            "leaves its file system",
            "`aws efs delete-file-system --file-system-id ...`",
        ),
        RetentionRule(
            always,
            False,
            "leaves mount targets and two security groups, which block the deletion of the VPC",
            "the command in docs/destroy.md",
        ),
    ),
}


def retentions(resource: Resource) -> Iterator[Retention]:
    """Yield why `pulumi destroy` does not simply delete this resource."""
    yield from apply_rules(resource, _RULES.get(resource.type, ()), _DEFAULTS)
