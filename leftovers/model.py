"""A search for what a stack left, as a check of preflight/: each resource is a fault, its removal the remedy."""

import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

from preflight.model import Check, Fault, check
from preflight.subject import Subject

from .owner import Held, Owner

UNCOMPARED = "the stack's state could not be read, and may hold this: no removal is shown"


class Left(NamedTuple):
    """A resource in the account.

    ``type`` is its type in a Pulumi program, and ``identities`` are the ids and ARNs by which a state may hold it.
    ``within`` are the (type, id) of the resource that it belongs to: what belongs to a held resource is not left.
    """

    what: str
    command: str
    type: str = ""
    identities: tuple[str, ...] = ()
    within: tuple[str, str] = ("", "")


Function = Callable[[Subject, list[Owner]], Iterable[Left]]


def search(name: str, types: tuple[str, ...]) -> Callable[[Function], Check]:
    """Make a check of a function that yields what is in the account; ``types`` as for ``check``."""

    def made(function: Function) -> Check:
        @functools.wraps(function)
        def run(subject: Subject) -> str | list[Fault]:
            held = Held(subject)
            left = [
                one
                for one in function(subject, held.owners(subject))
                if not held.holds(one.type, one.identities) and not held.holds(one.within[0], one.within[1:])
            ]
            return [Fault(one.what, UNCOMPARED if held.unread else one.command) for one in left] or "nothing"

        return check(name, types=types)(run)

    return made
