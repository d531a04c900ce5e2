"""Rules for resources that `pulumi destroy` fails at, or that it leaves in the account."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .graph import Resource, value_at

DISABLE_PROTECTION = "set deletionProtection: false, then run `pulumi up`"

Condition = Callable[[Mapping[str, Any]], bool]
"""A predicate on a resource's inputs."""


class Retention(NamedTuple):
    """A resource that `pulumi destroy` does not simply delete, and why.

    ``blocks``: destroy fails at the resource; otherwise it continues, and leaves part of the resource in the account.
    Retentions with the same ``group`` share a line of the report, with their count.
    """

    resource: Resource
    blocks: bool
    reason: str
    remedy: str
    group: str = ""


class RetentionRule(NamedTuple):
    """``reason`` and ``remedy`` may contain names of inputs in braces. The other fields are as in Retention."""

    applies: Condition
    blocks: bool
    reason: str
    remedy: str
    group: str = ""


def always(_inputs: Mapping[str, Any]) -> bool:
    """Apply to every resource of the type."""
    return True


def is_true(*path: str) -> Condition:
    """Apply where the input at this path is true."""
    return lambda inputs: value_at(inputs, *path) is True


def is_not_true(*path: str) -> Condition:
    """Apply where the input at this path is false or missing."""
    return lambda inputs: value_at(inputs, *path) is not True


def differs(expected: object, *path: str) -> Condition:
    """Apply where the input at this path has another value."""
    return lambda inputs: value_at(inputs, *path) != expected


def apply_rules(resource: Resource, rules: Iterable[RetentionRule], defaults: Mapping[str, Any]) -> Iterator[Retention]:
    """Yield a retention for each rule that applies. ``defaults`` are the provider's, for missing inputs."""
    inputs = {**defaults, **resource.inputs}
    for rule in rules:
        if rule.applies(resource.inputs):
            reason, remedy = rule.reason.format_map(inputs), rule.remedy.format_map(inputs)
            yield Retention(resource, rule.blocks, reason, remedy, rule.group)
