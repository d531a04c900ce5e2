"""What of AWS `pulumi destroy` keeps, or stops at."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..graph import Resource
from ..traits import OFF, Kept, Trait, always, not_on, on, other_than, those_of


def _days(name: str, default: int) -> Callable[[Mapping[str, Any]], bool]:
    return lambda inputs: int(inputs.get(name, default)) > 0


# Each from the provider's page of that type: what makes its deletion fail, or leaves something.
_TRAITS: dict[str, tuple[Trait, ...]] = {
    "aws:s3/bucket:Bucket": (
        Trait(not_on("forceDestroy"), True, "is not deleted while it holds objects", f"empty it, or {OFF}"),
    ),
    "aws:ecr/repository:Repository": (
        Trait(not_on("forceDelete"), True, "is not deleted while it holds images", f"delete them, or {OFF}"),
    ),
    "aws:lb/loadBalancer:LoadBalancer": (Trait(on("enableDeletionProtection"), True, "has deletion protection", OFF),),
    "aws:secretsmanager/secret:Secret": (
        Trait(
            _days("recoveryWindowInDays", 30),
            False,
            "can be brought back for {recoveryWindowInDays} days",
            "`aws secretsmanager delete-secret --force-delete-without-recovery --secret-id ...`",
        ),
    ),
    "aws:sagemaker/domain:Domain": (
        Trait(
            other_than("Delete", "retentionPolicy", "homeEfsFileSystem"),
            False,
            "leaves its file system",
            "`aws efs delete-file-system --file-system-id ...`",
        ),
        Trait(
            always,
            False,
            "leaves mount targets and two security groups, which hold the VPC",
            "the command in docs/destroy.md",
        ),
    ),
}
# What the provider takes where a program says nothing.
_DEFAULTS = {"recoveryWindowInDays": 30}


def kept(one: Resource) -> Iterator[Kept]:
    yield from those_of(one, _TRAITS.get(one.type, ()), _DEFAULTS)
