"""Rules that give roles to users who sign in: the same setting on AWS and on Google Cloud."""

import re
from collections.abc import Iterator
from typing import ClassVar, Literal

from .validation import ValidatedArgs

# The format that the proxy parses (MLFLOW_PROXY_ROLE_RULES); a test compares the two.
_ADDRESS = r"(?:(?![,;<>=@])[!-~])+"
_RULE = re.compile(rf"group:[^,=\s]+|email:{_ADDRESS}@{_ADDRESS}|domain:[a-z0-9-]+(?:\.[a-z0-9-]+)*")
ROLES = ("viewer", "editor", "admin")


class RoleRules(ValidatedArgs):
    """Roles of users; the highest role that matches applies. Each entry is group:NAME, email:ADDRESS or domain:NAME."""

    entries: ClassVar[str] = "group:NAME, email:ADDRESS or domain:NAME"

    viewer: list[str] = []
    """Users who may read and search."""
    editor: list[str] = []
    """Users who may also create and update."""
    admin: list[str] = []
    """Users who may also delete, and change model stages and aliases."""
    everyone: Literal["viewer", "editor", "admin"] | None = None
    """Role of every user who can sign in, such as members of workforce pools, of whom no address is known."""

    def any(self) -> bool:
        """Whether there is at least one rule."""
        return bool(self.viewer or self.editor or self.admin or self.everyone)

    def text(self) -> str:
        """The rules in the format of the proxy's setting MLFLOW_PROXY_ROLE_RULES."""
        rules = [f"{rule}={role}" for role in ROLES for rule in getattr(self, role)]
        return ", ".join([*rules, f"*={self.everyone}"] if self.everyone else rules)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (role, message) for each malformed rule."""
        for role in ROLES:
            for rule in getattr(self, role):
                if not _RULE.fullmatch(rule):
                    yield role, f"got {rule!r}, expected {self.entries}."
