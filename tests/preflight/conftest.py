from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.preflight.aws_account import moto_without_images
from tests.preflight.stacks import World, stack_of, world

Make = Callable[..., World]


@pytest.fixture
def moto() -> Iterator[None]:
    """moto in this process, empty."""
    with moto_without_images():
        yield


@pytest.fixture
def make(moto: None, tmp_path: Path) -> Make:
    """Make the world of a stack, in which nothing prevents its first `up`."""

    def made(name: str, settings: dict[str, Any] | None = None, config: dict[str, str] | None = None) -> World:
        return world(stack_of(name, settings, config), tmp_path)

    return made
