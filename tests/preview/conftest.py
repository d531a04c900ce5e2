from pathlib import Path

import pytest

from preview.stack_files import Stack


@pytest.fixture
def a_stack() -> Stack:
    return Stack(project="mine", name="dev", file=Path("Pulumi.dev.yaml"), config={}, secret_keys=())
