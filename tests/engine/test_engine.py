"""The engine of these tests does not depend on the machine that it runs on."""

import os
from pathlib import Path

import pytest

from tests.engine.conftest import Start

PROGRAM = """
import pulumi_random as random

random.RandomId("id", byte_length=4)
"""


def test_provider_plugin_on_path_is_not_used(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = tmp_path / "pulumi-resource-random"
    plugin.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    plugin.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    run = start(PROGRAM).up().ok()
    assert run.warnings == []
    assert str(plugin) not in run.output
