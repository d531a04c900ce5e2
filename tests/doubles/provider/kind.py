"""What the double has to be told of a kind of resource, beyond what the SDK says of its fields."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cloud import Cloud, Thing

# AWS's; Google's are in kinds/gcp/project.py.
ACCOUNT = "123456789012"
REGION = "eu-west-1"
Values = Mapping[str, Any]
Problems = Iterator[tuple[str, str]]


class RefusedError(Exception):
    """The cloud says no. The message is what a person would read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """The field that the provider fills in where the program does not: ``<name in the program>-<7 hex digits>``."""

    field: str = "name"
    limit: int = 255
    lower: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refers:
    """A field that names another resource, which has to be there.

    ``by`` are the outputs of the other one that the field may hold. ``holds``: while this one is there, the other one
    cannot be deleted. ``within``: this one goes with the other one.
    """

    path: str
    kinds: tuple[str, ...]
    by: tuple[str, ...] = ("id",)
    holds: bool = True
    within: bool = False


@dataclass(frozen=True, slots=True)
class Making:
    """A resource that is being made. ``name`` is the program's."""

    name: str
    inputs: Values
    cloud: "Cloud"

    def hexes(self, length: int, salt: str = "") -> str:
        """Digits that no other resource of this cloud has."""
        return hashlib.sha256(f"{self.cloud.ticket()}{salt}".encode()).hexdigest()[:length]

    def arn(self, service: str, resource: str, *, region: str = REGION, account: str = ACCOUNT) -> str:
        return f"arn:aws:{service}:{region}:{account}:{resource}"

    def found(self, value: Any, *kinds: str) -> "Thing":
        """The resource that a field names. Raises RefusedError."""
        return self.cloud.named(value, kinds)


def _no_problems(_inputs: Values) -> Problems:
    return iter(())


def _no_effect(_thing: "Thing", _cloud: "Cloud") -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """``make`` gives the id and what the cloud adds to the inputs.

    ``one_of`` are fields that together are there once in an account. ``check`` is what the provider refuses before it
    calls the cloud, ``stuck`` tells why it refuses a change; ``made``, ``changed`` and ``deleting`` are what the cloud
    does beside, and may refuse with RefusedError; ``taken`` is what it says where there is one already. ``leaves``
    names what stays in the account when this one was deleted; ``stays`` is for what the provider only forgets.
    ``holds`` are resources that cannot be deleted for a reason that no field of this one tells. ``moves`` are outputs
    that every update changes. ``key`` is the output that tells two resources apart where the provider's id does not.
    ``puts``: the cloud overwrites what is there without a word, and whoever deletes the old one afterwards deletes the
    new one. ``apis`` have to be switched on in the project. ``first_deleted``: a replacement is made when the old one
    is gone. ``untold`` are fields that the cloud never tells, so that whoever reads it for the first time does not know
    them. ``forgets``: when the provider gives up waiting for a new one, it takes it for not made. ``normal_form`` is
    what the service returns for the inputs, where it returns something else: the provider compares with that.
    """

    token: str
    make: Callable[[Making], tuple[str, dict[str, Any]]]
    name: Name | None = None
    one_of: tuple[tuple[str, ...], ...] = ()
    refers: tuple[Refers, ...] = ()
    check: Callable[[Values], Problems] = _no_problems
    made: Callable[["Thing", "Cloud"], None] = _no_effect
    changed: Callable[["Thing", "Cloud"], None] = _no_effect
    deleting: Callable[["Thing", "Cloud"], None] = _no_effect
    leaves: Callable[["Thing"], str | None] = lambda _thing: None
    holds: Callable[["Thing", "Cloud"], Iterator["Thing"]] = lambda _thing, _cloud: iter(())
    stuck: Callable[[Values, Values], str | None] = lambda _olds, _news: None
    taken: Callable[["Thing"], str] | None = None
    stays: Callable[["Thing"], bool] = lambda _thing: False
    apis: tuple[str, ...] = ()
    first_deleted: bool = False
    forgets: bool = False
    untold: tuple[str, ...] = ()
    moves: tuple[str, ...] = ()
    key: str = "id"
    puts: bool = False
    normal_form: Callable[[Values], Values] = lambda inputs: inputs


def with_id(prefix: str, **outputs: Callable[[Making, str], Any]) -> Callable[[Making], tuple[str, dict[str, Any]]]:
    """A maker for an id such as vpc-0a1b..., with outputs that follow from it."""

    def make(making: Making) -> tuple[str, dict[str, Any]]:
        made = f"{prefix}-0{making.hexes(16)}"
        return made, {name: tell(making, made) for name, tell in outputs.items()}

    return make
