"""Fault injection: which operations of the mock provider fail, and how. A plan is called before each operation."""

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

Action = Literal["create", "update", "delete"]


class Fault(Enum):
    """The fault of an operation."""

    BEFORE = "the operation fails and has no effect"
    AFTER = "the operation fails after it took effect, and the provider returns the id, as when a waiter times out"
    HANG_BEFORE = "the operation hangs and has no effect"
    HANG_AFTER = "the operation hangs after it took effect"


Plan = Callable[[Action, str], Fault | None]
"""From an action and a URN to the fault of this operation."""


def no_faults(_action: Action, _urn: str) -> Fault | None:
    """Inject no faults."""
    return None


@dataclass(slots=True)
class EachOnce:
    """The first attempt of each action on each resource fails; the next one succeeds.

    With several faults, each resource always gets the same fault. ``share``: 1 in ``share`` resources fails.
    """

    faults: tuple[Fault, ...]
    actions: tuple[Action, ...] = ("create", "update", "delete")
    share: int = 1
    failed: set[tuple[Action, str]] = field(default_factory=set[tuple[Action, str]])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, action: Action, urn: str) -> Fault | None:
        number = zlib.crc32(urn.encode())
        with self._lock:
            if action not in self.actions or (action, urn) in self.failed or number % self.share:
                return None
            self.failed.add((action, urn))
            return self.faults[number // self.share % len(self.faults)]


@dataclass(slots=True)
class Once:
    """The first operation of this action on this type of resource fails."""

    action: Action
    kind: str
    fault: Fault
    done: threading.Event = field(default_factory=threading.Event)

    def __call__(self, action: Action, urn: str) -> Fault | None:
        if self.done.is_set() or action != self.action or urn.split("::")[2].split("$")[-1] != self.kind:
            return None
        self.done.set()
        return self.fault


@dataclass(frozen=True, slots=True)
class First:
    """The fault of the first plan that returns one."""

    plans: tuple[Plan, ...]

    def __call__(self, action: Action, urn: str) -> Fault | None:
        return next((fault for plan in self.plans if (fault := plan(action, urn)) is not None), None)


@dataclass(slots=True)
class Nth:
    """The nth operation of this action fails; ``urn`` is its resource afterwards."""

    action: Action
    n: int
    fault: Fault
    urn: str | None = None
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, action: Action, urn: str) -> Fault | None:
        with self._lock:
            if action != self.action:
                return None
            self._count += 1
            if self._count != self.n:
                return None
            self.urn = urn
            return self.fault
