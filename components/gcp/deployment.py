"""The names, labels and locations that all resources of one component share."""

import re
from dataclasses import dataclass

from ..names import physical_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One deployment of GcpMlflow: ``name`` is the component's, ``project`` and ``region`` are Google Cloud's."""

    name: str
    stack: str
    project: str
    region: str
    labels: dict[str, str]
    deletion_protection: bool

    def logical_name(self, role: str) -> str:
        """The Pulumi name of a child resource."""
        return f"{self.name}-{role}"

    def physical_name(self, role: str, limit: int) -> str:
        """The name of a child resource in Google Cloud: lowercase letters, digits and hyphens, at most ``limit``.

        It is the same in every run, and unique for each stack, component and role.
        """
        return physical_name(f"{self.stack}-{self.name}-{role}", limit)


def label_value(text: str) -> str:
    """A text as the value of a label: up to 63 lowercase letters, digits, underscores and hyphens.

    https://cloud.google.com/resource-manager/docs/labels-overview#requirements
    """
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63]
