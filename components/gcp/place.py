"""Where a component's resources go, and what all of them have: names, labels, protection."""

import re
from dataclasses import dataclass

from ..names import physical_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Shared by the boxes of one component. ``name`` is the component's, ``project`` and ``region`` are Google's."""

    name: str
    stack: str
    project: str
    region: str
    labels: dict[str, str]
    deletion_protection: bool

    def named(self, role: str) -> str:
        """A child's name in the program."""
        return f"{self.name}-{role}"

    def physical_name(self, role: str, limit: int) -> str:
        """A name for a service that wants one chosen: lower-case letters, digits and hyphens, at most ``limit``.

        It is the same at every run, and another one for another stack, component or role.
        """
        return physical_name(f"{self.stack}-{self.name}-{role}", limit)


def as_label(text: str) -> str:
    """A text as the value of a label: lower-case letters, digits, _ and -, at most 63.

    https://cloud.google.com/resource-manager/docs/labels-overview#requirements
    """
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63]
