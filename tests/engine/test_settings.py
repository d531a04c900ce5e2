"""Changing a setting of a deployed stack updates and replaces the resources in the reviewed table, and no others.

In CI a few groups are changed; with ENGINE_TESTS=all (`make fault-injection`) each setting alone, and back again.
"""

import itertools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from components.aws.settings import AwsMlflowProxySettings
from components.gcp.settings import GcpMlflowSettings
from components.validation import ValidatedArgs, nested_model
from tests.engine import account, programs, setting_changes, setting_changes_gcp
from tests.engine.conftest import Start
from tests.engine.engine import Engine, Run
from tests.engine.setting_changes import Change


@dataclass(frozen=True, slots=True)
class Table:
    """The changes of one stack. ``another``: settings that replace ``data``; ``no_data``: replacements without data."""

    stack: str
    args: type[ValidatedArgs]
    changes: Mapping[str, Change]
    in_ci: tuple[tuple[str, ...], ...]
    not_here: re.Pattern[str]
    another: set[str]
    data: set[str]
    no_data: set[str]


TABLES = {
    stack: Table(stack, args, its.CHANGES, its.IN_CI, its.NOT_HERE, its.ANOTHER, its.DATA, its.NO_DATA)
    for stack, args, its in (
        ("dev", AwsMlflowProxySettings, setting_changes),
        ("gcp-dev", GcpMlflowSettings, setting_changes_gcp),
    )
}


def steps_of(run: Run) -> set[str]:
    """The steps as text; the two parts of a replacement are one step."""
    names = {"create-replacement": "replace", "delete-replaced": "replace"}
    found = {(names.get(step.op, step.op), step.kind) for step in run.steps if ":providers:" not in step.kind}
    return {f"{op} {kind.split(':')[-1]}" for op, kind in found}


def go(engine: Engine, config: dict[str, Any]) -> Run:
    """Run `up` with this config, and check that the changed resources exist afterwards."""
    engine.configure(config)
    run = engine.up().ok()
    engine.refresh("--expect-no-changes").ok()
    return run


MACHINE_IMAGES = itertools.count(1)


def settings_of(model: type[ValidatedArgs], prefix: str = "") -> list[str]:
    """Return the paths of all settings of a model."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        inner = nested_model(field.annotation)
        path = prefix + to_camel(name)
        found += settings_of(inner, f"{path}.") if inner else [path]
    return found


def begin(start: Start, table: Table) -> Engine:
    """Start an engine with the deployed stack."""
    engine = start(config=programs.config_of(table.stack), secrets=programs.secrets_of(table.stack))
    engine.up().ok()
    return engine


def ends(engine: Engine) -> None:
    """Destroy the stack, and check that nothing is left."""
    kept = engine.kept()
    engine.destroy().ok()
    assert account.unexplained_leftovers(engine.double.cloud, kept) == []


@pytest.fixture(scope="module")
def stacks() -> dict[str, Engine]:
    """The engines by stack."""
    return {}


@pytest.fixture
def stack(start: Start, stacks: dict[str, Engine], table: Table) -> Engine:
    """Start one engine for all tests of a table, when the first test needs it."""
    if table.stack not in stacks:
        stacks[table.stack] = begin(start, table)
    parameters = stacks[table.stack].double.cloud.parameters
    # AWS releases a new machine image: a deployed stack does not adopt it.
    for name in parameters:
        parameters[name] = f"ami-0{next(MACHINE_IMAGES):016x}"
    return stacks[table.stack]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_setting_is_in_the_table_or_excluded(table: Table) -> None:
    listed = {name.split(":")[0] for name in table.changes}
    settings = set(settings_of(table.args))
    assert {one for one in settings - listed if not table.not_here.fullmatch(one)} == set()
    # A group of settings is changed together.
    assert {one for one in listed - settings if not any(other.startswith(f"{one}.") for other in settings)} == set()


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_only_listed_settings_lose_data(table: Table) -> None:
    for name, change in table.changes.items():
        gone = {step.split()[1] for step in change.steps if step.split()[0] in ("replace", "delete")}
        assert bool(gone & table.data) <= (name in table.another | table.no_data), name


def changes(*, refused: bool) -> list[Any]:
    """Return the rows of all tables as test parameters."""
    return [
        pytest.param(
            table,
            name,
            id=f"{table.stack}-{name}",
        )
        for table in TABLES.values()
        for name, change in table.changes.items()
        if (change.refused is not None) is refused
    ]


# Takes hours: not in CI.
if os.environ.get("ENGINE_TESTS") == "all":

    @pytest.mark.parametrize(("table", "name"), changes(refused=False))
    def test_a_setting_is_changed_as_the_table_says_and_back(stack: Engine, table: Table, name: str) -> None:
        base = programs.config_of(table.stack)
        try:
            run = go(stack, programs.with_settings(base, table.changes[name].settings))
            assert steps_of(run) == set(table.changes[name].steps)
        finally:
            go(stack, base)

    @pytest.mark.parametrize(("table", "name"), changes(refused=True))
    def test_what_cannot_be_changed_is_refused_and_harms_nothing(start: Start, table: Table, name: str) -> None:
        """The cloud refuses the change: the engine fails, data stays, and `destroy` works."""
        engine = begin(start, table)
        change = table.changes[name]
        engine.configure(programs.with_settings(engine.config, change.settings))
        run = engine.up()
        assert run.code != 0
        assert change.refused is not None
        assert change.refused in run.output
        assert not {step.kind.split(":")[-1] for step in run.steps if "delete" in step.op} & table.data
        account.add_usage(engine.double.cloud)
        ends(engine)

else:

    @pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
    def test_settings_are_changed_as_the_table_says(stack: Engine, table: Table) -> None:
        config = programs.config_of(table.stack)
        for group in table.in_ci:
            expected: set[str] = set()
            for name in group:
                config = programs.with_settings(config, table.changes[name].settings)
                expected |= set(table.changes[name].steps)
            assert steps_of(go(stack, config)) == expected, group
        ends(stack)
