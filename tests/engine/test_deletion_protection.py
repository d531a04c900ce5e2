"""Deletion protection in production: `destroy` fails and keeps data until the protection is disabled."""

from dataclasses import dataclass

import pytest

from tests.engine import account, programs
from tests.engine.conftest import Start
from tests.engine.engine import Engine, Run


@dataclass(frozen=True, slots=True)
class Stack:
    """``protected``: types in the message of a failed `destroy`; ``data``: prefixes of the resources that hold data."""

    name: str
    protected: tuple[str, ...]
    data: tuple[str, ...]


STACKS = [
    Stack("prod", ("MlflowTrackingServer",), ("MlflowTrackingServer", "Bucket mlflow-artifacts")),
    Stack(
        "gcp-prod",
        ("sql:Database", "storage:Bucket", "appengine:Application"),
        ("DatabaseInstance", "Database ", "User ", "Bucket mlflow-artifacts", "Secret projects"),
    ),
]


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of the engine in their order; ``after_...`` are the resources in the account after a run.

    ``destroy`` is with its preview; ``up_without_protection`` disables the protection.
    """

    stack: Stack
    engine: Engine
    created: list[str]
    retained: list[str]
    destroy: Run
    after_destroy: list[str]
    destroy_without_preview: Run
    after_destroy_without_preview: list[str]
    up_without_protection: Run
    final_destroy: Run


@pytest.fixture(scope="module", params=STACKS, ids=lambda stack: stack.name)
def runs(request: pytest.FixtureRequest, start: Start) -> Runs:
    """Run all commands once for all tests of a stack."""
    stack: Stack = request.param
    engine = start(config=programs.config_of(stack.name), secrets=programs.secrets_of(stack.name))
    engine.up().ok()
    cloud = engine.double.cloud
    created = cloud.left
    # With the preview, as in a terminal.
    destroy = engine.command("destroy", "--yes")
    after_destroy = cloud.left
    destroy_without_preview = engine.destroy()
    after_destroy_without_preview = cloud.left
    engine.configure(programs.config_of(stack.name, {"deletionProtection": False}))
    up_without_protection = engine.up()
    retained = engine.retained_on_destroy()
    return Runs(
        stack,
        engine,
        created,
        retained,
        destroy,
        after_destroy,
        destroy_without_preview,
        after_destroy_without_preview,
        up_without_protection,
        engine.destroy(),
    )


def test_destroy_deletes_nothing_and_names_protected_resources(runs: Runs) -> None:
    assert runs.destroy.code != 0
    assert [type_name for type_name in runs.stack.protected if type_name not in runs.destroy.output] == []
    assert "protected" in runs.destroy.output
    assert runs.after_destroy == runs.created


def test_destroy_without_preview_keeps_data(runs: Runs) -> None:
    assert runs.destroy_without_preview.code != 0
    remaining = [
        data
        for data in runs.stack.data
        if any(leftover.startswith(data) for leftover in runs.after_destroy_without_preview)
    ]
    assert remaining == list(runs.stack.data)


def test_stack_can_be_destroyed_after_disabling_protection(runs: Runs) -> None:
    runs.up_without_protection.ok()
    runs.final_destroy.ok()
    assert runs.engine.resources == []
    assert account.unexplained_leftovers(runs.engine.double.cloud, runs.retained) == []
