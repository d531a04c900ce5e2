"""What a program asked for: resources with their options, calls, and the stack's outputs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

SECRET = "[secret]"  # noqa: S105 - what is shown instead of one


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A registration as the engine would have got it. ``parent`` and ``dependencies`` are URNs.

    ``inputs`` holds SECRET where a secret was given; ``secret_inputs`` names those properties, ``secret_outputs`` the
    outputs that are to be kept secret, too. ``outputs`` is what the answers say, or a component has registered.
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
    """It is only looked at (``get``), and nobody's to change or to delete."""


class Call(NamedTuple):
    """A question to the cloud (an invoke)."""

    token: str
    args: dict[str, Any]
    provider: str
    answer: dict[str, Any]


@dataclass(slots=True)
class Graph:
    """Everything that a program asked for; resources in the program's order."""

    resources: list[Resource] = field(default_factory=list[Resource])
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    calls: list[Call] = field(default_factory=list[Call])
    messages: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """What was logged for the engine: (WARNING, text)."""
    stack_urn: str = ""

    def of(self, kind: str) -> list[Resource]:
        """The resources of a type, such as aws:lb/loadBalancer:LoadBalancer."""
        return [one for one in self.resources if one.type == kind]

    def children(self, urn: str) -> list[Resource]:
        return [one for one in self.resources if one.parent == urn]

    def by_urn(self, urn: str) -> Resource | None:
        """None for the stack itself."""
        return next((one for one in self.resources if one.urn == urn), None)

    def ancestors(self, resource: Resource) -> Iterator[Resource]:
        """From its parent upwards, without the stack."""
        above = self.by_urn(resource.parent)
        while above is not None:
            yield above
            above = self.by_urn(above.parent)


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in cast("dict[Any, Any]", value).items():
            yield str(name)
            yield from texts(inner)
    elif isinstance(value, list | tuple):
        for inner in cast("list[Any]", value):
            yield from texts(inner)


def dig(value: Any, *names: str) -> Any:
    """What lies at the end of these names; None where something on the way is not there."""
    for name in names:
        value = cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
    return value


def listed(value: Any) -> list[Any]:
    """A list's values, none for what is no list."""
    return cast("list[Any]", value) if isinstance(value, list) else []
