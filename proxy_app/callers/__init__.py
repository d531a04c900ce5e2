"""Who is calling: a caller, what they may do, and one module for each way to recognise them."""

import enum
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web


class Role(enum.IntEnum):
    """What a caller may do; each role may do what the ones before it may."""

    VIEWER = 1
    EDITOR = 2
    ADMIN = 3

    label: str

    def __init__(self, _: int) -> None:
        # Kept, since an enumeration's names are slow to ask for, and each line of the log holds one.
        self.label = self._name_.lower()


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone the proxy has recognised. ``way`` names the module that did."""

    name: str
    role: Role
    way: str


class Recogniser(Protocol):
    """One way to recognise a caller."""

    async def recognise(self, request: web.BaseRequest) -> Caller | None:
        """The caller; None if the request shows nothing of this kind.

        Refusal: 401 if what it shows is bad, 403 for someone who may do nothing here, 503 if nobody can tell now.
        """
        ...
