"""Why `pulumi destroy` stops at a resource, or leaves something of it: what clouds' own rows are written with."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .graph import Resource, dig

OFF = "set deletionProtection: false, then `pulumi up`"


class Kept(NamedTuple):
    """``stops``: destroy ends there with an error; otherwise it goes on, and something stays in the account.

    Those that share ``together`` are one line, with their number before it.
    """

    resource: Resource
    stops: bool
    what: str
    lift: str
    together: str = ""


class Trait(NamedTuple):
    """``held`` says it of a resource's inputs, which ``what`` and ``lift`` may name in braces."""

    held: Callable[[Mapping[str, Any]], bool]
    stops: bool
    what: str
    lift: str
    together: str = ""


def always(_inputs: Mapping[str, Any]) -> bool:
    return True


def on(*path: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda inputs: dig(inputs, *path) is True


def not_on(*path: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda inputs: dig(inputs, *path) is not True


def other_than(wanted: object, *path: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda inputs: dig(inputs, *path) != wanted


def those_of(one: Resource, traits: Iterable[Trait], defaults: Mapping[str, Any]) -> Iterator[Kept]:
    """The traits that a resource has; ``defaults`` are what the provider takes where a program says nothing."""
    inputs = {**defaults, **one.inputs}
    for trait in traits:
        if trait.held(one.inputs):
            what, lift = trait.what.format_map(inputs), trait.lift.format_map(inputs)
            yield Kept(one, trait.stops, what, lift, trait.together)
