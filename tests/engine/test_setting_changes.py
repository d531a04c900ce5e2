"""Changing a setting of a deployed stack updates and replaces the resources in the reviewed table, and no others.

In CI a few groups of settings change; with ENGINE_TESTS=all (`make fault-injection`) each setting changes alone, and
back.
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
    """The changes of a stack: the names of a module, such as setting_changes.py, in lower case."""

    stack: str
    args: type[ValidatedArgs]
    changes: Mapping[str, Change]
    ci_groups: tuple[tuple[str, ...], ...]
    excluded: re.Pattern[str]
    data_loss_settings: set[str]
    data_types: set[str]
    no_data_loss_settings: set[str]


TABLES = {
    stack: Table(
        stack,
        args,
        module.CHANGES,
        module.CI_GROUPS,
        module.EXCLUDED,
        module.DATA_LOSS_SETTINGS,
        module.DATA_TYPES,
        module.NO_DATA_LOSS_SETTINGS,
    )
    for stack, args, module in (
        ("dev", AwsMlflowProxySettings, setting_changes),
        ("gcp-dev", GcpMlflowSettings, setting_changes_gcp),
    )
}


def steps_of(run: Run) -> set[str]:
    """The steps as strings; the two parts of a replacement are one step."""
    names = {"create-replacement": "replace", "delete-replaced": "replace"}
    steps = {(names.get(step.op, step.op), step.kind) for step in run.steps if ":providers:" not in step.kind}
    return {f"{op} {kind.split(':')[-1]}" for op, kind in steps}


def change_config(engine: Engine, config: dict[str, Any]) -> Run:
    """Run `up` with this config, and check with `refresh` that the account has the changed resources."""
    engine.configure(config)
    run = engine.up().ok()
    engine.refresh("--expect-no-changes").ok()
    return run


AMI_NUMBERS = itertools.count(1)


def settings_of(model: type[ValidatedArgs], prefix: str = "") -> list[str]:
    """Return the paths of all settings of a model."""
    paths: list[str] = []
    for name, field in model.model_fields.items():
        inner = nested_model(field.annotation)
        path = prefix + to_camel(name)
        paths += settings_of(inner, f"{path}.") if inner else [path]
    return paths


def deploy(start: Start, table: Table) -> Engine:
    """Start an engine and deploy the stack."""
    engine = start(config=programs.config_of(table.stack), secrets=programs.secrets_of(table.stack))
    engine.up().ok()
    return engine


def destroy(engine: Engine) -> None:
    """Destroy the stack, and check that only documented leftovers stay."""
    retained = engine.retained_on_destroy()
    engine.destroy().ok()
    assert account.unexplained_leftovers(engine.double.cloud, retained) == []


@pytest.fixture(scope="module")
def stacks() -> dict[str, Engine]:
    """The engines by stack."""
    return {}


@pytest.fixture
def stack(start: Start, stacks: dict[str, Engine], table: Table) -> Engine:
    """Start one engine for all tests of a table, when the first test needs it."""
    if table.stack not in stacks:
        stacks[table.stack] = deploy(start, table)
    parameters = stacks[table.stack].double.cloud.parameters
    # AWS releases a new AMI: a deployed stack does not adopt it.
    for name in parameters:
        parameters[name] = f"ami-0{next(AMI_NUMBERS):016x}"
    return stacks[table.stack]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_setting_has_a_row_or_is_excluded(table: Table) -> None:
    listed = {name.split(":")[0] for name in table.changes}
    settings = set(settings_of(table.args))
    assert {setting for setting in settings - listed if not table.excluded.fullmatch(setting)} == set()
    # A row may be for a group of settings.
    assert {
        setting for setting in listed - settings if not any(other.startswith(f"{setting}.") for other in settings)
    } == set()


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_only_documented_settings_lose_data(table: Table) -> None:
    for name, change in table.changes.items():
        deleted = {step.split()[1] for step in change.steps if step.split()[0] in ("replace", "delete")}
        assert bool(deleted & table.data_types) <= (name in table.data_loss_settings | table.no_data_loss_settings), (
            name
        )


def changes(*, rejected: bool) -> list[Any]:
    """Return the rows of all tables as test parameters."""
    return [
        pytest.param(
            table,
            name,
            id=f"{table.stack}-{name}",
        )
        for table in TABLES.values()
        for name, change in table.changes.items()
        if (change.error is not None) is rejected
    ]


# Takes hours: not in CI.
if os.environ.get("ENGINE_TESTS") == "all":

    @pytest.mark.parametrize(("table", "name"), changes(rejected=False))
    def test_changed_setting_has_the_steps_of_the_table(stack: Engine, table: Table, name: str) -> None:
        base = programs.config_of(table.stack)
        try:
            run = change_config(stack, programs.with_settings(base, table.changes[name].settings))
            assert steps_of(run) == set(table.changes[name].steps)
        finally:
            change_config(stack, base)

    @pytest.mark.parametrize(("table", "name"), changes(rejected=True))
    def test_rejected_change_keeps_data_and_the_stack_can_be_destroyed(start: Start, table: Table, name: str) -> None:
        """The cloud rejects the change."""
        engine = deploy(start, table)
        change = table.changes[name]
        engine.configure(programs.with_settings(engine.config, change.settings))
        run = engine.up()
        assert run.code != 0
        assert change.error is not None
        assert change.error in run.output
        assert not {step.kind.split(":")[-1] for step in run.steps if "delete" in step.op} & table.data_types
        account.add_usage(engine.double.cloud)
        destroy(engine)

else:

    @pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
    def test_changed_settings_have_the_steps_of_the_table(stack: Engine, table: Table) -> None:
        config = programs.config_of(table.stack)
        for group in table.ci_groups:
            expected: set[str] = set()
            for name in group:
                config = programs.with_settings(config, table.changes[name].settings)
                expected |= set(table.changes[name].steps)
            assert steps_of(change_config(stack, config)) == expected, group
        destroy(stack)
