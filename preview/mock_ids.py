"""Types of mock outputs, and deterministic identifiers that are unique for each name."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

ResourceMock = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""From a resource's Pulumi name and inputs to its outputs beyond the inputs."""
CallMock = Callable[[Mapping[str, Any]], dict[str, Any]]
"""From the arguments of a call (a provider function) to its result."""


def digest(name: str) -> str:
    """Return 64 hexadecimal digits."""
    return hashlib.sha256(name.encode()).hexdigest()


def hex_id(name: str) -> str:
    """Return 16 hexadecimal digits."""
    return digest(name)[:16]
