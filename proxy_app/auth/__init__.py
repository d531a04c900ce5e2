"""Authentication: the principal of a request and its role.

``authenticators.py`` lists the authenticators. Each is a module with its settings, their checks, its routes and its
metrics. ``role_rules.py`` assigns roles to users who signed in at another system.
"""

import contextlib
import enum
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
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
    """The permissions of a principal; each role includes the lower ones. PUBLIC routes need no authentication."""

    PUBLIC = 0
    VIEWER = 1
    EDITOR = 2
    ADMIN = 3

    label: str

    def __init__(self, _: int) -> None:
        # Stored, since an enumeration's names are slow to read, and each line of the access log contains one.
        self.label = self._name_.lower()


ROLES = (Role.VIEWER, Role.EDITOR, Role.ADMIN)
"""The roles that a principal can have, weakest first."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated user or program.

    ``auth_method`` names the authenticator; ``groups`` are those of the identity provider.
    """

    name: str
    role: Role
    auth_method: str
    groups: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def owner(self) -> Hashable:
        """The principal as an owner of shares in pools: names are unique within an authentication method only."""
        return self.auth_method, self.name


class Authenticator:
    """One authentication method. Subclasses override the methods that they need.

    ``settings_table`` holds its settings, which are read together with all others.
    """

    label: ClassVar[str]
    """The setting that enables it, for messages."""
    settings_table: "ClassVar[type[SettingTable]]"
    exclusive: ClassVar[str] = ""
    """The reason why no other authenticator can be enabled beside it; empty: others can."""
    uses_role_rules: ClassVar[bool] = False
    """Whether MLFLOW_PROXY_ROLE_RULES assigns the roles of its users."""
    home_page: ClassVar[bool] = True
    """Whether its users need the proxy's home page, which shows how to use a token."""

    @classmethod
    def enabled(cls, settings: "Settings") -> bool:
        """Whether the settings enable this authenticator."""
        raise NotImplementedError

    @classmethod
    def conflicts(cls, settings: "Settings") -> "Iterator[Problem]":
        """The problems between this authenticator's settings and all settings."""
        return iter(())

    @classmethod
    def create(cls, settings: "Settings") -> Self:
        """An instance for settings that enable it. Raises SettingsError."""
        raise NotImplementedError

    async def authenticate(self, context: "RequestContext") -> Principal | None:
        """The principal; None if the request has no credentials of this kind.

        Raises ApiError: 401 for invalid credentials, 403 for a user without a role, 503 if they cannot be verified now.
        It may add headers to the response, such as the cookie of a renewed session.
        """
        raise NotImplementedError

    def challenge(self, context: "RequestContext") -> "ApiError | None":
        """The response to a request without any credentials: a 401, or a Redirect to a login page.

        None leaves the response to the other authenticators, which are called in reverse order: the token's 401 is the
        last resort.
        """
        return None

    def endpoints(self) -> "Iterable[Endpoint]":
        """Additional routes, such as login and callback (``Role.PUBLIC``)."""
        return ()

    def on_revocation(self, revoked: "Callable[[Collection[Principal]], None]") -> None:
        """Call ``revoked`` with the principals whose credentials were revoked while the proxy runs."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Run background tasks during the block. Raises TokenError or StoreError."""
        return contextlib.nullcontext()

    async def probe(self) -> None:
        """Raise ApiError while no request can be authenticated."""

    def add_metrics(self, metrics: "Metrics") -> None:
        """Add gauges to the metrics."""
