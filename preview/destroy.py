"""What `pulumi destroy` keeps, or stops at, and the way to lift it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from .graph import Graph, Resource, dig


class Kept(NamedTuple):
    """``stops``: destroy ends there with an error; otherwise it goes on, and something stays in the account."""

    resource: Resource
    stops: bool
    what: str
    lift: str


class _Trait(NamedTuple):
    """``held`` says it of a resource's inputs."""

    held: Callable[[Mapping[str, Any]], bool]
    stops: bool
    what: str
    lift: str


def _always(_inputs: Mapping[str, Any]) -> bool:
    return True


def _on(*path: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda inputs: dig(inputs, *path) is True


def _not_on(*path: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda inputs: dig(inputs, *path) is not True


def _other_than(wanted: object, *path: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda inputs: dig(inputs, *path) != wanted


def _days(name: str, default: int) -> Callable[[Mapping[str, Any]], bool]:
    return lambda inputs: int(inputs.get(name, default)) > 0


PROTECTED = "is protected"
_OFF = "set deletionProtection: false, then `pulumi up`"
# Each from the provider's page of that type: what makes its deletion fail, or leaves something.
_TRAITS: dict[str, tuple[_Trait, ...]] = {
    "aws:s3/bucket:Bucket": (
        _Trait(_not_on("forceDestroy"), True, "is not deleted while it holds objects", f"empty it, or {_OFF}"),
    ),
    "aws:ecr/repository:Repository": (
        _Trait(_not_on("forceDelete"), True, "is not deleted while it holds images", f"delete them, or {_OFF}"),
    ),
    "aws:lb/loadBalancer:LoadBalancer": (
        _Trait(_on("enableDeletionProtection"), True, "has deletion protection", _OFF),
    ),
    "aws:secretsmanager/secret:Secret": (
        _Trait(
            _days("recoveryWindowInDays", 30),
            False,
            "can be brought back for {recoveryWindowInDays} days",
            "`aws secretsmanager delete-secret --force-delete-without-recovery --secret-id ...`",
        ),
    ),
    "aws:kms/key:Key": (
        _Trait(_always, False, "is deleted after a waiting time of {deletionWindowInDays} days", "wait"),
    ),
    "aws:cloudwatch/logGroup:LogGroup": (
        _Trait(_on("skipDestroy"), False, "stays with its lines", "`aws logs delete-log-group --log-group-name ...`"),
        _Trait(_on("deletionProtectionEnabled"), True, "has deletion protection", _OFF),
    ),
    "aws:sagemaker/domain:Domain": (
        _Trait(
            _other_than("Delete", "retentionPolicy", "homeEfsFileSystem"),
            False,
            "leaves its file system",
            "`aws efs delete-file-system --file-system-id ...`",
        ),
        _Trait(
            _always,
            False,
            "leaves mount targets and two security groups, which hold the VPC",
            "the command in docs/destroy.md",
        ),
    ),
    "aws:ec2/instance:Instance": (_Trait(_on("disableApiTermination"), True, "has termination protection", _OFF),),
    "aws:rds/instance:Instance": (
        _Trait(_on("deletionProtection"), True, "has deletion protection", _OFF),
        _Trait(_not_on("skipFinalSnapshot"), False, "leaves a last snapshot", "`aws rds delete-db-snapshot ...`"),
    ),
    "aws:route53/zone:Zone": (
        _Trait(_not_on("forceDestroy"), True, "is not deleted while it holds other records", "delete them"),
    ),
}
# What the provider takes where a program says nothing.
_DEFAULTS = {"recoveryWindowInDays": 30, "deletionWindowInDays": 30}


def kept(graph: Graph) -> list[Kept]:
    """Everything that destroy would not simply take away, in the graph's order."""
    return [found for one in graph.resources for found in _of(graph, one)]


def _of(graph: Graph, one: Resource) -> Iterator[Kept]:
    if one.protect:
        yield Kept(one, True, PROTECTED, _OFF)
    if one.retain_on_delete and not _goes_with_its_repository(graph, one):
        yield Kept(one, False, "stays in the account, and leaves the state", "delete it by hand")
    for trait in _TRAITS.get(one.type, ()):
        if trait.held(one.inputs):
            yield Kept(one, trait.stops, trait.what.format_map({**_DEFAULTS, **one.inputs}), trait.lift)


def _goes_with_its_repository(graph: Graph, one: Resource) -> bool:
    """An image is no resource of AWS's: it is in a repository, and goes when that goes."""
    found = [graph.by_urn(urn) for urn in one.dependencies]
    return one.type == "docker-build:index:Image" and any(
        other is not None and other.type == "aws:ecr/repository:Repository" for other in found
    )
