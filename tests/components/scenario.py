"""A scenario for snapshots and invariants: the project's program with a stack config, or another program."""

import functools
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from preview.recorder import Graph, record

ROOT = Path(__file__).parents[2]
SECRET_KEYS = ("mlflow:awsOidcClientSecret", "mlflow:gcpOauthClientSecret")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """``program`` None is the project's program. The snapshot shows the differences from the scenario ``base``."""

    cloud: str
    name: str
    about: str
    config: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    program: Callable[[], object] | None = None
    stack: str = "dev"
    base: str | None = "development"
    reviewed: bool = True

    def graph(self) -> Graph:
        """The graph that the program registers; cached."""
        return _recorded(self)


@functools.cache
def _recorded(scenario: Scenario) -> Graph:
    return run(scenario.config, scenario.program, stack=scenario.stack)


def project_program() -> object:
    return runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__") and None


def run(
    config: Mapping[str, str],
    program: Callable[[], object] | None = None,
    *,
    stack: str = "dev",
    project: str = "mlflow",
) -> Graph:
    """The graph of the program with this config; the default is the project's program."""
    return record(program or project_program, project=project, stack_name=stack, config=config, secret_keys=SECRET_KEYS)
