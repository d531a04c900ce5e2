"""Production is protected: `destroy` fails until protection is disabled, and data is not deleted by accident."""

from dataclasses import dataclass

import pytest

from tests.engine import account, programs
from tests.engine.conftest import Start
from tests.engine.engine import Engine, Run


@dataclass(frozen=True, slots=True)
class Stack:
    """``named``: types in the message of a failed `destroy`; ``data``: prefixes of the resources that hold data."""

    name: str
    named: tuple[str, ...]
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
class Life:
    """``left``: the account after ``destroy``; ``left_by_force``: after ``forced``, a destroy without preview."""

    stack: Stack
    engine: Engine
    created: list[str]
    kept: list[str]
    destroy: Run
    left: list[str]
    forced: Run
    left_by_force: list[str]
    unprotected: Run
    second: Run


@pytest.fixture(scope="module", params=STACKS, ids=lambda stack: stack.name)
def life(request: pytest.FixtureRequest, start: Start) -> Life:
    """Run all commands once for all tests of a stack."""
    stack: Stack = request.param
    engine = start(config=programs.config_of(stack.name), secrets=programs.secrets_of(stack.name))
    engine.up().ok()
    cloud = engine.double.cloud
    created = cloud.left
    # With its preview, as in a terminal.
    destroy = engine.command("destroy", "--yes")
    left = cloud.left
    forced = engine.destroy()
    left_by_force = cloud.left
    engine.configure(programs.config_of(stack.name, {"deletionProtection": False}))
    unprotected = engine.up()
    kept = engine.kept()
    return Life(stack, engine, created, kept, destroy, left, forced, left_by_force, unprotected, engine.destroy())


def test_destroy_fails_before_any_deletion_and_names_protected_resources(life: Life) -> None:
    assert life.destroy.code != 0
    assert [one for one in life.stack.named if one not in life.destroy.output] == []
    assert "protected" in life.destroy.output
    assert life.left == life.created


def test_destroy_without_preview_keeps_data(life: Life) -> None:
    assert life.forced.code != 0
    kept = [data for data in life.stack.data if any(one.startswith(data) for one in life.left_by_force)]
    assert kept == list(life.stack.data)


def test_stack_without_protection_can_be_repaired_and_destroyed(life: Life) -> None:
    life.unprotected.ok()
    life.second.ok()
    assert life.engine.resources == []
    assert account.unexplained_leftovers(life.engine.double.cloud, life.kept) == []
