"""An account of AWS in one region, and a project of Google's: what is there, what refers to what, what is refused.

It outlives the engine, so that a killed engine finds what it left behind.
"""

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .changes import table
from .kind import Kind, Making, Refers, RefusedError, Values
from .kinds import KINDS
from .kinds.gcp.project import ON_FROM_THE_FIRST, switched_off
from .paths import texts_in, values_at

# AWS's own parameters of Systems Manager: the newest ECS-optimized images.
PARAMETERS = {
    f"/aws/service/ecs/optimized-ami/amazon-linux-2023/{which}recommended/image_id": image
    for which, image in (("", "ami-0aaaaaaaaaaaaaaa1"), ("arm64/", "ami-0bbbbbbbbbbbbbbb1"))
}


@dataclass(slots=True)
class Thing:
    """A resource that is there. ``name`` is the program's, ``inside`` what others have put into it: objects, images."""

    kind: Kind
    id: str
    name: str
    inputs: dict[str, Any]
    computed: dict[str, Any]
    inside: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def outputs(self) -> dict[str, Any]:
        return {**self.inputs, **self.computed, "id": self.id}

    @property
    def key(self) -> str:
        return str(self.outputs[self.kind.key])

    def __str__(self) -> str:
        return f"{self.kind.token.split(':')[-1]} {self.id}"


class Cloud:
    """All methods may be called from several threads."""

    def __init__(self, given: Iterable[str] = (), folder: Path = Path()) -> None:
        """``given``: ids and ARNs of what was there before; ``folder``: where the engine runs its providers."""
        self.given = set(given)
        self.folder = folder
        self.left_behind: list[str] = []
        self.parameters = dict(PARAMETERS)
        self.apis = set(ON_FROM_THE_FIRST)
        self.reserved: set[tuple[str, str]] = set()
        """Kinds and names that nobody can have for now, though what had them is deleted."""
        self._things: dict[tuple[str, str], Thing] = {}
        self._gone: dict[str, str] = {}
        self._tickets = 0
        self._lock = threading.RLock()

    def ticket(self) -> int:
        """A number that nobody has had."""
        with self._lock:
            self._tickets += 1
            return self._tickets

    def create(self, token: str, name: str, inputs: Values) -> Thing:
        """Raises RefusedError."""
        kind = KINDS[token]
        with self._lock:
            self._check(kind, inputs)
            made, computed = kind.make(Making(name, inputs, self))
            thing = Thing(kind, made, name, dict(inputs), computed)
            there = self._things.get((token, thing.key))
            if there is not None and not (kind.puts and there.name == name):
                raise RefusedError(_taken(there, f"AlreadyExists: {thing}, {there.name} in the program."))
            kind.made(thing, self)
            self._things[token, thing.key] = thing
            for one in _names_of(thing):
                self._gone.pop(one, None)
            return thing

    def update(self, token: str, made: str, state: Values, inputs: Values) -> Thing:
        """``state`` is what the engine knows of it. Raises RefusedError."""
        with self._lock:
            thing = self.get(token, made, state)
            if thing is None:
                raise RefusedError(f"{token.split(':')[-1]} {made} is not there.")
            # What the program no longer gives stays as it was, where the provider leaves that to the cloud.
            kept = {field: thing.inputs[field] for field in table()[token].kept if field in thing.inputs}
            asked = {**kept, **{field: value for field, value in inputs.items() if value is not None}}
            self._check(thing.kind, asked, but=thing)
            changed = Thing(thing.kind, made, thing.name, asked, thing.computed, thing.inside)
            thing.kind.changed(changed, self)
            thing.inputs = changed.inputs
            return thing

    def delete(self, token: str, made: str, state: Values) -> None:
        """What is not there counts as deleted, as in the provider. Raises RefusedError."""
        with self._lock:
            thing = self.get(token, made, state)
            if thing is None or thing.kind.stays(thing):
                return
            self._switched_on(thing.kind)
            holder = next((one for one in self if one is not thing and thing in self._held_by(one)), None)
            if holder is not None:
                raise RefusedError(f"DependencyViolation: {thing} is in use by {holder}.")
            thing.kind.deleting(thing, self)
            self.remove(thing)

    def remove(self, thing: Thing) -> None:
        """It is gone, and what is in it with it."""
        inside = [
            one
            for one in self
            if any(refers.within and thing in self._targets(refers, one.inputs) for refers in one.kind.refers)
        ]
        self._things.pop((thing.kind.token, thing.key), None)
        # A name that somebody chose may come back.
        made = _names_of(thing) - {*map(str, thing.inputs.values())}
        self._gone.update(dict.fromkeys((one for one in made if len(one) > 9), str(thing)))
        for one in inside:
            self.remove(one)
        left = thing.kind.leaves(thing)
        if left is not None:
            self.left_behind.append(left)

    def get(self, token: str, made: str, state: Values) -> Thing | None:
        """By the provider's id, and by what the engine knows where that does not tell."""
        key = KINDS[token].key
        with self._lock:
            return self._things.get((token, made if key == "id" else str(state.get(key))))

    def __iter__(self) -> Iterator[Thing]:
        with self._lock:
            return iter(list(self._things.values()))

    def of(self, token: str) -> list[Thing]:
        return [one for one in self if one.kind.token == token]

    def named(self, value: Any, kinds: Iterable[str], by: Iterable[str] = ("id", "arn", "name")) -> Thing:
        """The resource whose id, ARN or name the value is. Raises RefusedError."""
        wanted = tuple(kinds)
        for one in self:
            if one.kind.token in wanted and any(one.outputs.get(field) == value for field in by):
                return one
        raise RefusedError(f"{wanted[0].split(':')[-1]} {value!r} does not exist.")

    @property
    def left(self) -> list[str]:
        """Everything that somebody would still find, or pay for."""
        return sorted({*map(str, self), *self.left_behind})

    def _switched_on(self, kind: Kind) -> None:
        for api in kind.apis:
            if api not in self.apis:
                raise RefusedError(switched_off(api))

    def _check(self, kind: Kind, inputs: Values, but: Thing | None = None) -> None:
        self._switched_on(kind)
        for text in texts_in(inputs):
            for gone, what in self._gone.items():
                # Not the first letters of another one, as revision 1 is of revision 12.
                if gone in text and re.search(rf"{re.escape(gone)}(?![\w-])", text):
                    raise RefusedError(f"{what} was deleted, and is still named.")
        for refers in kind.refers:
            for value in values_at(inputs, refers.path):
                if value not in self.given:
                    self.named(value, refers.kinds, refers.by)
        for fields in () if kind.puts else kind.one_of:
            wanted = [inputs.get(one) for one in fields]
            twin = next(
                (
                    one
                    for one in self
                    if one is not but and one.kind is kind and [one.outputs.get(name) for name in fields] == wanted
                ),
                None,
            )
            if twin is not None and None not in wanted:
                raise RefusedError(
                    _taken(twin, f"AlreadyExists: {twin} has the same {' and '.join(fields)}: {wanted}.")
                )

    def _held_by(self, thing: Thing) -> Iterator[Thing]:
        for refers in thing.kind.refers:
            if refers.holds:
                yield from self._targets(refers, thing.inputs)
        yield from thing.kind.holds(thing, self)

    def _targets(self, refers: Refers, inputs: Mapping[str, Any]) -> Iterator[Thing]:
        for value in values_at(inputs, refers.path):
            if value not in self.given:
                for one in self:
                    if one.kind.token in refers.kinds and any(one.outputs.get(field) == value for field in refers.by):
                        yield one


def _names_of(thing: Thing) -> set[str]:
    """What others know it by."""
    return {thing.id, *(str(thing.computed[name]) for name in ("arn", "email", "selfLink") if name in thing.computed)}


def _taken(there: Thing, otherwise: str) -> str:
    return there.kind.taken(there) if there.kind.taken else otherwise
