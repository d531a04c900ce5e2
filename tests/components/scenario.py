"""A stack that snapshots and invariants are about: a stack's config, or a program of its own."""

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
    """``program`` None is the project's own, with this config. The snapshot shows what is different from ``base``."""

    cloud: str
    name: str
    about: str
    config: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    program: Callable[[], object] | None = None
    stack: str = "dev"
    base: str | None = "development"
    reviewed: bool = True

    def graph(self) -> Graph:
        """What it asks for; recorded once."""
        return _recorded(self)


@functools.cache
def _recorded(scenario: Scenario) -> Graph:
    return run(scenario.config, scenario.program, stack=scenario.stack)


def own_program() -> object:
    return runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__") and None


def run(
    given: Mapping[str, str],
    program: Callable[[], object] | None = None,
    *,
    stack: str = "dev",
    project: str = "mlflow",
) -> Graph:
    """The graph of the project's program, or another one, with this config."""
    return record(program or own_program, project=project, stack_name=stack, config=given, secret_keys=SECRET_KEYS)
