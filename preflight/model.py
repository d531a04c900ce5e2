"""Checks and their results.

A check is a function of the Subject, with one sentence as docstring. It returns a short text if nothing is wrong,
otherwise its faults, and raises Unchecked if it cannot tell. It reads and creates nothing.
"""

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from .subject import Subject

CREDENTIALS = {"aws credentials": "aws ", "gcp credentials": "gcp "}
"""The checks of credentials, each with the prefix of the checks that need them."""


class Status(StrEnum):
    """The outcome of a check."""

    PASSED = "passed"
    FAILED = "failed"
    UNCHECKED = "could not check"


class Fault(NamedTuple):
    """A reason for which `pulumi up` would fail, and what to do."""

    problem: str
    remedy: str


class Result(NamedTuple):
    """The outcome of one check.

    ``text`` says what was found, or why the check could not be done; ``permission`` is the one that is missing.
    """

    name: str
    status: Status
    text: str
    faults: tuple[Fault, ...] = ()
    permission: str = ""


Function = Callable[[Subject], str | list[Fault]]


@dataclass(frozen=True, slots=True)
class Check:
    """``sentence`` says what is checked, ``applies`` whether a stack needs it."""

    name: str
    sentence: str
    concerns: str
    applies: Callable[[Subject], bool]
    function: Function


def check(
    name: str, *, types: tuple[str, ...] = (), when: Callable[[Subject], bool] = lambda _: True, concerns: str = ""
) -> Callable[[Function], Check]:
    """Make a check of a function, whose docstring is the check's sentence.

    ``types`` are patterns of resource types (aws:ec2/vpc:Vpc) and of functions that the program calls: the check
    applies if the stack's graph has one of them, and ``when`` holds. ``concerns`` describes that in the documentation.
    """

    def made(function: Function) -> Check:
        sentence = " ".join((function.__doc__ or "").split())
        described = concerns or ", ".join(f"`{pattern}`" for pattern in types) or "every stack"
        return Check(name, sentence, described, lambda subject: uses(subject, types) and when(subject), function)

    return made


def uses(subject: Subject, patterns: tuple[str, ...]) -> bool:
    """Whether the stack creates a resource of these types, or calls one of these functions; true without patterns."""
    used = {resource.type for resource in subject.graph.resources if not resource.read}
    used |= {call.token for call in subject.graph.calls}
    return not patterns or any(fnmatch.filter(used, pattern) for pattern in patterns)
