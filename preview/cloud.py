"""The interface between the preview and a cloud: aws/ and gcp/ implement it, and clouds.py lists them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .console import Style
from .graph import Graph, Resource
from .retention_rules import Retention


class Ingress(NamedTuple):
    """An inbound path. ``requests`` selects among the requests to this port, such as by path."""

    source: str
    target: str
    port: str
    requests: str
    authentication: str


class Egress(NamedTuple):
    """An outbound path."""

    source: str
    target: str
    port: str


class PolicyGrant(NamedTuple):
    """A statement of a resource-based policy. ``effect`` is Allow or Deny."""

    effect: str
    principals: str
    actions: str
    resources: str
    conditions: str


class MlflowRoleBinding(NamedTuple):
    """The members of one of the proxy's roles. ``service`` is empty if the stack has one proxy."""

    role: str
    members: str
    service: str = ""


@dataclass(frozen=True, slots=True)
class Exposure:
    """The rows of the report's tables."""

    ingress: list[Ingress] = field(default_factory=list[Ingress])
    egress: list[Egress] = field(default_factory=list[Egress])
    policy_grants: list[PolicyGrant] = field(default_factory=list[PolicyGrant])
    role_bindings: list[MlflowRoleBinding] = field(default_factory=list[MlflowRoleBinding])


Edge = tuple[Resource | str | None, Resource | str | None, str]
"""Source, target and label. A string is a node outside the stack; an edge without source or target is not drawn."""


@dataclass(frozen=True, slots=True)
class Node:
    """How resources of a type appear in the diagram.

    ``grouped``: all resources of a child component are one node, with their count. ``named``: the label has the
    resource's name. ``describe`` replaces ``label`` where the node is one resource.
    """

    label: str
    store: bool = False
    grouped: bool = False
    named: bool = False
    describe: Callable[[Resource], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """``permissions`` yields the lines below ``permissions_title``; the mappings are by type token."""

    exposure: Callable[[Graph], Exposure]
    permissions_title: str
    permissions: Callable[[Graph, Style], Iterator[str]]
    retentions: Callable[[Resource], Iterator[Retention]]
    edges: Callable[[Graph], Iterator[Edge]]
    nodes: Mapping[str, Node]
    displayed_inputs: Mapping[str, tuple[str, ...]]
