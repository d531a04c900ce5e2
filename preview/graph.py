"""The registrations of a program: resources with their options, calls, and the stack's outputs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

SECRET = "[secret]"  # noqa: S105 - shown in place of a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource registration as the engine receives it. ``parent`` and ``dependencies`` are URNs.

    ``inputs`` holds SECRET in place of secret values; ``secret_inputs`` names these properties, and ``secret_outputs``
    the outputs in ``additional_secret_outputs``. ``outputs`` holds the mock outputs, or those that a component
    registers.
    """

    urn: str
    type: str
    name: str
    custom: bool
    parent: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    secret_inputs: tuple[str, ...]
    secret_outputs: tuple[str, ...]
    dependencies: tuple[str, ...]
    property_dependencies: dict[str, tuple[str, ...]]
    provider: str
    protect: bool
    retain_on_delete: bool
    ignore_changes: tuple[str, ...]
    replace_on_changes: tuple[str, ...]
    delete_before_replace: bool
    deleted_with: str
    aliases: tuple[str, ...]
    id: str = ""
    replace_with: tuple[str, ...] = ()
    hide_diffs: tuple[str, ...] = ()
    timeouts: dict[str, str] = field(default_factory=dict[str, str])
    import_id: str = ""
    version: str = ""
    read: bool = False
    """Whether the program reads an existing resource (``get``) and does not manage it."""


class Call(NamedTuple):
    """A call of a provider function (an invoke)."""

    token: str
    args: dict[str, Any]
    provider: str
    result: dict[str, Any]


@dataclass(slots=True)
class Graph:
    """The registrations of a program; resources are in the order in which the program creates them."""

    resources: list[Resource] = field(default_factory=list[Resource])
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    calls: list[Call] = field(default_factory=list[Call])
    messages: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Log messages for the engine, as (level, text), such as ("WARNING", "...")."""
    stack_urn: str = ""

    def of(self, type_token: str) -> list[Resource]:
        """Return the resources of a type, such as aws:lb/loadBalancer:LoadBalancer."""
        return [resource for resource in self.resources if resource.type == type_token]

    def children(self, urn: str) -> list[Resource]:
        """Return the resources whose parent has this URN."""
        return [resource for resource in self.resources if resource.parent == urn]

    def by_urn(self, urn: str) -> Resource | None:
        """Return the resource with this URN; None for the stack itself."""
        return next((resource for resource in self.resources if resource.urn == urn), None)

    def ancestors(self, resource: Resource) -> Iterator[Resource]:
        """Yield the ancestors, the nearest first, without the stack."""
        ancestor = self.by_urn(resource.parent)
        while ancestor is not None:
            yield ancestor
            ancestor = self.by_urn(ancestor.parent)


def strings_in(value: Any) -> Iterator[str]:
    """Yield every string in a value, keys of mappings included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in cast("dict[Any, Any]", value).items():
            yield str(name)
            yield from strings_in(inner)
    elif isinstance(value, list | tuple):
        for inner in cast("list[Any]", value):
            yield from strings_in(inner)


def value_at(value: Any, *names: str) -> Any:
    """Return the value at this path of names; None where a part of the path is missing."""
    for name in names:
        value = cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
    return value


def as_list(value: Any) -> list[Any]:
    """Return a list unchanged, and an empty list for any other value."""
    return cast("list[Any]", value) if isinstance(value, list) else []
