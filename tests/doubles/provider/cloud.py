"""An AWS account in one region and a Google Cloud project: their resources, references, and refused operations.

The account outlives the engine, so that an engine started after a kill finds the resources of the killed one.
"""

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .changes import table
from .kind import CloudError, CreateRequest, Kind, Reference, Values
from .kinds import KINDS
from .kinds.gcp.project import DEFAULT_APIS, api_disabled
from .paths import texts_in, values_at

# Public parameters of AWS Systems Manager: the newest ECS-optimized images.
PARAMETERS = {
    f"/aws/service/ecs/optimized-ami/amazon-linux-2023/{which}recommended/image_id": image
    for which, image in (("", "ami-0aaaaaaaaaaaaaaa1"), ("arm64/", "ami-0bbbbbbbbbbbbbbb1"))
}


@dataclass(slots=True)
class Resource:
    """An existing resource. ``name`` is its Pulumi name, ``contents`` are its objects, images or versions."""

    kind: Kind
    id: str
    name: str
    inputs: dict[str, Any]
    computed: dict[str, Any]
    contents: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def outputs(self) -> dict[str, Any]:
        """The inputs and the outputs that the cloud adds."""
        return {**self.inputs, **self.computed, "id": self.id}

    @property
    def key(self) -> str:
        """The value that identifies the resource among those of its type."""
        return str(self.outputs[self.kind.key])

    def __str__(self) -> str:
        return f"{self.kind.token.split(':')[-1]} {self.id}"


class Cloud:
    """The resources of an account. All methods are thread-safe."""

    def __init__(self, existing: Iterable[str] = (), folder: Path = Path()) -> None:
        """``existing``: ids and ARNs of resources outside the stack; ``folder``: the working folder of the engine."""
        self.existing = set(existing)
        self.folder = folder
        self.leftovers: list[str] = []
        self.has_builder = True
        """Whether docker-build reaches a builder."""
        self.parameters = dict(PARAMETERS)
        self.apis = set(DEFAULT_APIS)
        # The number of requests that an API which is enabled from now on refuses at first; and how many are left.
        self.refusals_of_new_apis = 0
        self.refusals: dict[str, int] = {}
        self.reserved: set[tuple[str, str]] = set()
        """Types and names that stay reserved after the deletion of a resource."""
        self._resources: dict[tuple[str, str], Resource] = {}
        self._deleted: dict[str, str] = {}
        self._counter = 0
        self._lock = threading.RLock()

    def place(self, resource: Resource) -> None:
        """Put a resource into the account that the providers did not create."""
        with self._lock:
            self._resources[resource.kind.token, resource.key] = resource

    def next_number(self) -> int:
        """Return a number that is unique in this cloud."""
        with self._lock:
            self._counter += 1
            return self._counter

    def create(self, token: str, name: str, inputs: Values) -> Resource:
        """Create a resource. Raises CloudError."""
        kind = KINDS[token]
        with self._lock:
            self._check(kind, inputs)
            resource_id, computed = kind.make(CreateRequest(name, inputs, self))
            resource = Resource(kind, resource_id, name, dict(inputs), computed)
            existing = self._resources.get((token, resource.key))
            if existing is not None and not (kind.overwrites and existing.name == name):
                raise CloudError(_taken(existing, f"AlreadyExists: {resource}, {existing.name} in the program."))
            kind.on_create(resource, self)
            self._resources[token, resource.key] = resource
            for reference in _names_of(resource):
                self._deleted.pop(reference, None)
            return resource

    def update(self, token: str, resource_id: str, state: Values, inputs: Values) -> Resource:
        """Update a resource; ``state`` is its state in the engine. Raises CloudError."""
        with self._lock:
            resource = self.get(token, resource_id, state)
            if resource is None:
                raise CloudError(f"{token.split(':')[-1]} {resource_id} does not exist.")
            # A computed field retains its value when the program no longer sets it.
            retained = {field: resource.inputs[field] for field in table()[token].retained if field in resource.inputs}
            merged = {**retained, **{field: value for field, value in inputs.items() if value is not None}}
            self._check(resource.kind, merged, updated=resource)
            changed = Resource(resource.kind, resource_id, resource.name, merged, resource.computed, resource.contents)
            resource.kind.on_update(changed, self)
            resource.inputs = changed.inputs
            return resource

    def delete(self, token: str, resource_id: str, state: Values) -> None:
        """Delete a resource; one that does not exist is no error, as in the provider. Raises CloudError."""
        with self._lock:
            resource = self.get(token, resource_id, state)
            if resource is None or resource.kind.survives_delete(resource):
                return
            self._check_apis(resource.kind)
            blocker = next(
                (other for other in self if other is not resource and resource in self._blocked_by(other)), None
            )
            if blocker is not None:
                raise CloudError(f"DependencyViolation: {resource} is in use by {blocker}.")
            resource.kind.on_delete(resource, self)
            self.remove(resource)

    def remove(self, resource: Resource) -> None:
        """Remove a resource and everything that is deleted with it."""
        dependents = [
            other
            for other in self
            if any(
                reference.deleted_with and resource in self._targets(reference, other.inputs)
                for reference in other.kind.references
            )
        ]
        self._resources.pop((resource.kind.token, resource.key), None)
        # A name that the program set may be reused.
        generated = _names_of(resource) - {*map(str, resource.inputs.values())}
        self._deleted.update(dict.fromkeys((reference for reference in generated if len(reference) > 9), str(resource)))
        for other in dependents:
            self.remove(other)
        left = resource.kind.leftover(resource)
        if left is not None:
            self.leftovers.append(left)

    def get(self, token: str, resource_id: str, state: Values) -> Resource | None:
        """Return a resource by the provider's id, or by its state where the id is ambiguous."""
        key = KINDS[token].key
        with self._lock:
            return self._resources.get((token, resource_id if key == "id" else str(state.get(key))))

    def __iter__(self) -> Iterator[Resource]:
        with self._lock:
            return iter(list(self._resources.values()))

    def of(self, token: str) -> list[Resource]:
        """Return the resources of a type."""
        return [resource for resource in self if resource.kind.token == token]

    def find(self, value: Any, kinds: Iterable[str], by: Iterable[str] = ("id", "arn", "name")) -> Resource:
        """Return the resource with this id, ARN or name. Raises CloudError."""
        types = tuple(kinds)
        for resource in self:
            if resource.kind.token in types and any(resource.outputs.get(field) == value for field in by):
                return resource
        raise CloudError(f"{types[0].split(':')[-1]} {value!r} does not exist.")

    @property
    def left(self) -> list[str]:
        """Everything that is still in the account, leftovers included."""
        return sorted({*map(str, self), *self.leftovers})

    def _check_apis(self, kind: Kind) -> None:
        for api in kind.apis:
            if self.refusals.get(api):
                self.refusals[api] -= 1
                raise CloudError(api_disabled(api))
            if api not in self.apis:
                raise CloudError(api_disabled(api))

    def _check(self, kind: Kind, inputs: Values, updated: Resource | None = None) -> None:
        self._check_apis(kind)
        for text in texts_in(inputs):
            for name, description in self._deleted.items():
                # As a whole word: revision 1 is a prefix of revision 12.
                if name in text and re.search(rf"{re.escape(name)}(?![\w-])", text):
                    raise CloudError(f"{description} was deleted, and is still referenced.")
        for reference in kind.references:
            for value in values_at(inputs, reference.path):
                if value not in self.existing:
                    self.find(value, reference.kinds, reference.by)
        for fields in () if kind.overwrites else kind.unique:
            values = [inputs.get(field) for field in fields]
            duplicate = next(
                (
                    other
                    for other in self
                    if other is not updated
                    and other.kind is kind
                    and [other.outputs.get(name) for name in fields] == values
                ),
                None,
            )
            if duplicate is not None and None not in values:
                raise CloudError(
                    _taken(duplicate, f"AlreadyExists: {duplicate} has the same {' and '.join(fields)}: {values}.")
                )

    def _blocked_by(self, resource: Resource) -> Iterator[Resource]:
        for reference in resource.kind.references:
            if reference.blocks_delete:
                yield from self._targets(reference, resource.inputs)
        yield from resource.kind.blocks_delete(resource, self)

    def _targets(self, reference: Reference, inputs: Mapping[str, Any]) -> Iterator[Resource]:
        for value in values_at(inputs, reference.path):
            if value not in self.existing:
                for other in self:
                    if other.kind.token in reference.kinds and any(
                        other.outputs.get(field) == value for field in reference.by
                    ):
                        yield other


def _names_of(resource: Resource) -> set[str]:
    """The values by which other resources refer to it."""
    return {
        resource.id,
        *(str(resource.computed[name]) for name in ("arn", "email", "selfLink") if name in resource.computed),
    }


def _taken(existing: Resource, otherwise: str) -> str:
    return existing.kind.conflict(existing) if existing.kind.conflict else otherwise
