"""Fixtures: stacks for the real engine, each with its own account of the provider double."""

import contextlib
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.provider.cloud import Cloud
from tests.doubles.provider.server import Double
from tests.engine import account, programs
from tests.engine.engine import Engine, make_venv, missing_tool

# Seconds. A test has many runs of the engine, each of several seconds.
TEST_TIMEOUT = 900
Start = Callable[..., Engine]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT))


@pytest.fixture(scope="session")
def program_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a virtual environment for the programs. Skips if a tool is missing."""
    missing = missing_tool()
    if missing is not None:
        pytest.skip(missing)
    return make_venv(tmp_path_factory.mktemp("program") / "venv")


@pytest.fixture(scope="module")
def start(program_venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Start]:
    """Return a function that starts an engine: `start(program)` for a program's text, `start()` for the project.

    `existing` and the resources that `prepare` creates are in the account before the first run.
    """
    with contextlib.ExitStack() as servers:

        def start_engine(
            program: str | None = None,
            config: Mapping[str, Any] = programs.CONFIG,
            secrets: Mapping[str, str] | None = None,
            existing: tuple[str, ...] = programs.EXISTING,
            prepare: Callable[[Cloud], object] = account.prepare,
        ) -> Engine:
            folder = tmp_path_factory.mktemp("stack") / "project"
            double = Double(cloud=Cloud(existing, folder))
            prepare(double.cloud)
            programs.write(folder, program_venv, program)
            providers = servers.enter_context(double.serve())
            engine = Engine(folder, program_venv, double, providers, dict(config), dict(secrets or {}))
            engine.init()
            return engine

        yield start_engine
