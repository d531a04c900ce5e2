"""Which role people who signed in have: the same setting on AWS and on Google Cloud."""

import re
from collections.abc import Iterator
from typing import ClassVar

from .validation import ValidatedArgs

# As the proxy reads them (proxy_app/callers/role_rules.py); a test holds the two together.
_ADDRESS = r"(?:(?![,;<>=@])[!-~])+"
_RULE = re.compile(rf"group:[^,=\s]+|email:{_ADDRESS}@{_ADDRESS}|domain:[a-z0-9-]+(?:\.[a-z0-9-]+)*")
ROLES = ("viewer", "editor", "admin")


class RoleRules(ValidatedArgs):
    """The highest role that fits somebody is theirs. Each entry is group:NAME, email:ADDRESS or domain:NAME."""

    entries: ClassVar[str] = "group:NAME, email:ADDRESS or domain:NAME"

    viewer: list[str] = []
    """Who may read and search."""
    editor: list[str] = []
    """Who may write, too."""
    admin: list[str] = []
    """Who may delete and change model stages and aliases, too."""

    def any(self) -> bool:
        return bool(self.viewer or self.editor or self.admin)

    def text(self) -> str:
        """The rules as the proxy reads them (MLFLOW_PROXY_ROLE_RULES)."""
        return ", ".join(f"{rule}={role}" for role in ROLES for rule in getattr(self, role))

    def conflicts(self) -> Iterator[tuple[str, str]]:
        for role in ROLES:
            for rule in getattr(self, role):
                if not _RULE.fullmatch(rule):
                    yield role, f"got {rule!r}, expected {self.entries}."
