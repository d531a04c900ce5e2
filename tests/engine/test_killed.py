"""The engine is killed (SIGKILL) during an operation, and the stack recovers by the steps in docs/reliability.md."""

import os

import pytest

from tests.doubles.provider.faults import Action, Fault, Once, no_faults
from tests.engine import account, programs
from tests.engine.conftest import Start
from tests.engine.engine import Engine

ALL = os.environ.get("ENGINE_TESTS") == "all"
# For each stack the types that take longest to create and to delete: a kill most likely meets these.
LONGEST = {
    "dev": ("aws:sagemaker/mlflowApp:MlflowApp", "aws:lb/loadBalancer:LoadBalancer"),
    "gcp-dev": ("gcp:sql/databaseInstance:DatabaseInstance", "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"),
}
# In CI the worse fault, on one cloud.
FAULTS = [Fault.HANG_AFTER, *([Fault.HANG_BEFORE] if ALL else [])]


def kill(engine: Engine, command: str, action: Action, kind: str, fault: Fault) -> None:
    """Kill the engine while it waits for an operation. Raises AssertionError if none hangs."""
    double = engine.double
    double.plan = Once(action, kind, fault)
    double.hanging.clear()
    double.released.clear()
    with engine.started(command, "--yes", "--skip-preview", "--parallel", "32") as running:
        assert double.hanging.wait(180), running.process.communicate(timeout=60)[0]
        running.kill()
    double.released.set()
    double.plan = no_faults


@pytest.mark.parametrize("stack", LONGEST if ALL else ["dev"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.lower())
def test_stack_recovers_from_a_killed_up_and_a_killed_destroy(start: Start, stack: str, fault: Fault) -> None:
    made_last, deleted_last = LONGEST[stack]
    engine = start(config=programs.config_of(stack), secrets=programs.secrets_of(stack))
    kill(engine, "up", "create", made_last, fault)

    locked = engine.up()
    assert locked.code != 0
    assert "pulumi cancel" in locked.output
    engine.cancel().ok()
    waiting = [one["resource"]["type"] for one in engine.pending]
    assert made_last in waiting
    # Resources that exist but are not in the state: pending operations and tags or labels identify them.
    lost = account.orphans(engine)
    assert {one.kind.token for one in lost} <= set(waiting)
    assert (made_last in {one.kind.token for one in lost}) is (fault is Fault.HANG_AFTER)
    account.clean_up_manually(engine)
    engine.refresh("--clear-pending-creates").ok()
    assert engine.pending == []
    engine.up().ok()
    assert engine.up("--expect-no-changes").ok().warnings == []
    assert account.orphans(engine) == []
    kept = engine.kept()

    kill(engine, "destroy", "delete", deleted_last, fault)
    engine.cancel().ok()
    engine.destroy().ok()
    assert engine.resources == []
    assert account.unexplained_leftovers(engine.double.cloud, kept) == []
