"""What a preview needs to know of a cloud: aws/ and gcp/ say it, clouds.py lists them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .console import Style
from .graph import Graph, Resource
from .traits import Kept


class Reach(NamedTuple):
    """One way in. ``requests`` says which of those that come on this port."""

    source: str
    target: str
    port: str
    requests: str
    authentication: str


class Out(NamedTuple):
    """One way out."""

    source: str
    target: str
    port: str


class Grant(NamedTuple):
    """What a resource's own policy lets others do, or forbids."""

    who: str
    may: str
    on: str
    where: str


class Holder(NamedTuple):
    """Who has a role of the proxy's in MLflow. ``where`` tells several proxies apart."""

    role: str
    who: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Exposure:
    """The tables."""

    ways_in: list[Reach] = field(default_factory=list[Reach])
    ways_out: list[Out] = field(default_factory=list[Out])
    grants: list[Grant] = field(default_factory=list[Grant])
    holders: list[Holder] = field(default_factory=list[Holder])


FoundArrow = tuple[Resource | str | None, Resource | str | None, str]
"""From whom to whom, and what is written on it. An end that is a text is outside of the stack; one that is None is not
drawn, and neither is the arrow."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """How a type is drawn. ``together``: all of one part as one, with their number; ``named``: with its name;
    ``said``: what is written instead of ``text`` where it is the only one.
    """

    text: str
    store: bool = False
    together: bool = False
    named: bool = False
    said: Callable[[Resource], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """``rights`` are lines under ``rights_title``; ``drawn`` and ``matters`` go by type."""

    exposure: Callable[[Graph], Exposure]
    rights_title: str
    rights: Callable[[Graph, Style], Iterator[str]]
    kept: Callable[[Resource], Iterator[Kept]]
    arrows: Callable[[Graph], Iterator[FoundArrow]]
    drawn: Mapping[str, Drawn]
    matters: Mapping[str, tuple[str, ...]]
