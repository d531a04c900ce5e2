"""Which operation of the double fails, and how. A plan is asked before every create, update and delete."""

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

Action = Literal["create", "update", "delete"]


class Fault(Enum):
    """What goes wrong with one operation."""

    BEFORE = "it fails, and nothing has happened"
    AFTER = "it fails after it has taken effect, and the provider knows the id: a waiter's time-out"
    HANG_BEFORE = "it never answers, and nothing has happened"
    HANG_AFTER = "it never answers, though it has taken effect"


Plan = Callable[[Action, str], Fault | None]
"""From an action and a URN."""


def nothing(_action: Action, _urn: str) -> Fault | None:
    """All goes well."""
    return None


@dataclass(slots=True)
class EachOnce:
    """The first try of each action at each resource fails; the next one goes through.

    With several faults every resource gets one of them, always the same. ``share``: one resource of so many fails.
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
    """The first time that an action meets a kind of resource, it fails."""

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
    """The first of several plans that wants a fault."""

    plans: tuple[Plan, ...]

    def __call__(self, action: Action, urn: str) -> Fault | None:
        return next((fault for plan in self.plans if (fault := plan(action, urn)) is not None), None)


@dataclass(slots=True)
class Nth:
    """The nth operation of a kind of action fails, whichever resource it meets; ``hit`` tells which."""

    action: Action
    n: int
    fault: Fault
    hit: str | None = None
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, action: Action, urn: str) -> Fault | None:
        with self._lock:
            if action != self.action:
                return None
            self._count += 1
            if self._count != self.n:
                return None
            self.hit = urn
            return self.fault
