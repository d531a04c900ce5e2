"""What the answers of every cloud are made of."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

Answer = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""A resource's outputs beyond its inputs, from its name in the program and its inputs."""
CallAnswer = Callable[[Mapping[str, Any]], dict[str, Any]]
"""The answer to a call, from its arguments."""


def digest(name: str) -> str:
    """Of 64 digits, its own for each name and the same at every run."""
    return hashlib.sha256(name.encode()).hexdigest()


def hex_id(name: str) -> str:
    """Sixteen digits."""
    return digest(name)[:16]
