from pathlib import Path

import pytest

from preview.stack_files import Stack


@pytest.fixture
def empty_stack() -> Stack:
    """Return a stack without config."""
    return Stack(project="my-project", name="dev", file=Path("Pulumi.dev.yaml"), config={}, secret_keys=())
