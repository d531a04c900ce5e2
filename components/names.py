"""Names of resources: in the Pulumi program, and at the cloud provider."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceNames:
    """Names of the resources of one component. ``name`` is the component's, ``stack`` the Pulumi stack's."""

    name: str
    stack: str

    def logical_name(self, role: str) -> str:
        """The Pulumi name of a child resource."""
        return f"{self.name}-{role}"

    def full_name(self, role: str) -> str:
        """A readable name that is unique among the stacks and components of one cloud account."""
        return f"{self.stack}-{self.name}-{role}"

    def physical_name(self, role: str, limit: int) -> str:
        """A name for a resource that Pulumi does not name itself: see the function physical_name."""
        return physical_name(self.full_name(role), limit)


def physical_name(name: str, limit: int) -> str:
    """``name`` in lowercase letters, digits and hyphens, starting with a letter, at most ``limit`` characters.

    A name that has to be changed for this gets a hash of the original, so that results are stable and distinct.
    """
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower())
    if plain == name and len(plain) <= limit and plain[0].isalpha():
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"s{plain}"[: limit - 9].rstrip("-") + f"-{digest}"
