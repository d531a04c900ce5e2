"""Authentication: who sends a request, and what they may do.

``authenticators.py`` lists the authenticators, one module each: it owns its settings, their checks, its routes and its
metrics. ``role_rules.py`` gives roles to users who signed in elsewhere.
"""

import contextlib
import enum
from collections.abc import Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from ..context import RequestContext
    from ..errors import ApiError
    from ..metrics import Metrics
    from ..routing import Endpoint
    from ..setting_table import Problem, SettingTable
    from ..settings import Settings


class Role(enum.IntEnum):
    """What a principal may do; each role includes the ones below it. PUBLIC routes need no authentication."""

    PUBLIC = 0
    VIEWER = 1
    EDITOR = 2
    ADMIN = 3

    label: str

    def __init__(self, _: int) -> None:
        # Kept, since an enumeration's names are slow to read, and each line of the access log holds one.
        self.label = self._name_.lower()


ROLES = (Role.VIEWER, Role.EDITOR, Role.ADMIN)
"""The roles that a principal can have, weakest first."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated user or program. ``auth_method`` names the authenticator; ``groups`` are the provider's."""

    name: str
    role: Role
    auth_method: str
    groups: frozenset[str] = field(default=frozenset(), compare=False)


class Authenticator:
    """One way to prove an identity. Subclasses override what they need.

    ``settings_table`` holds its settings, which are read with all others.
    """

    label: ClassVar[str]
    """The setting that enables it, for messages."""
    settings_table: "ClassVar[type[SettingTable]]"
    exclusive: ClassVar[str] = ""
    """Why no other authenticator can be enabled beside it; empty: others can."""
    uses_role_rules: ClassVar[bool] = False
    """Whether MLFLOW_PROXY_ROLE_RULES gives its users their roles."""
    home_page: ClassVar[bool] = True
    """Whether the proxy's home page, which shows how to use a token, is of use to its users."""

    @classmethod
    def enabled(cls, settings: "Settings") -> bool:
        """Whether the settings enable it."""
        raise NotImplementedError

    @classmethod
    def conflicts(cls, settings: "Settings") -> "Iterator[Problem]":
        """What is wrong between its settings and the others."""
        return iter(())

    @classmethod
    def create(cls, settings: "Settings") -> Self:
        """An instance for settings that enable it. Raises SettingsError."""
        raise NotImplementedError

    async def authenticate(self, context: "RequestContext") -> Principal | None:
        """The principal; None if the request holds no credentials of this kind.

        Raises ApiError: 401 for invalid credentials, 403 for a user without a role, 503 if they cannot be checked now.
        It may add headers to the response, such as the cookie of a renewed session.
        """
        raise NotImplementedError

    def challenge(self, context: "RequestContext") -> "ApiError | None":
        """The response to a request without any credentials: a 401, or a Redirect to a login page.

        None leaves it to the others: they are asked in reverse order, so that the token's 401 comes last.
        """
        return None

    def endpoints(self) -> "Iterable[Endpoint]":
        """Routes of its own, such as login and callback (``Role.PUBLIC``)."""
        return ()

    def running(self) -> AbstractAsyncContextManager[None]:
        """Everything that it needs while the proxy runs."""
        return contextlib.nullcontext()

    async def probe(self) -> None:
        """Raises ApiError while it cannot authenticate anybody."""

    def add_metrics(self, metrics: "Metrics") -> None:
        """Add its gauges."""
