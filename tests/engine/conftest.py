"""Stacks for the real engine, each with an account of its own."""

import contextlib
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.provider.cloud import Cloud
from tests.doubles.provider.server import Double
from tests.engine import account, programs
from tests.engine.engine import Engine, make_venv, missing

# A run of the engine takes seconds, and a test has many, on a machine that may be busy.
SLOWEST = 900
Start = Callable[..., Engine]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(SLOWEST))


@pytest.fixture(scope="session")
def program_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    why = missing()
    if why is not None:
        pytest.skip(why)
    return make_venv(tmp_path_factory.mktemp("program") / "venv")


@pytest.fixture(scope="module")
def start(program_venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Start]:
    """`start(program)` for a program's text, `start()` for the project.

    `given` and what `prepare` makes is what the account had before.
    """
    with contextlib.ExitStack() as running:

        def begin(
            program: str | None = None,
            config: Mapping[str, Any] = programs.CONFIG,
            secrets: Mapping[str, str] | None = None,
            given: tuple[str, ...] = programs.GIVEN,
            prepare: Callable[[Cloud], object] = account.prepare,
        ) -> Engine:
            folder = tmp_path_factory.mktemp("stack") / "project"
            double = Double(cloud=Cloud(given, folder))
            prepare(double.cloud)
            programs.write(folder, program_venv, program)
            providers = running.enter_context(double.serve())
            engine = Engine(folder, program_venv, double, providers, dict(config), dict(secrets or {}))
            engine.init()
            return engine

        yield begin
