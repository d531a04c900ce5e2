"""Recovery of a stack by the steps in docs/reliability.md after SIGKILL of the engine during an operation."""

import os
import time

import pytest

from tests.doubles.provider.faults import Action, Fault, Once, no_faults
from tests.engine import account, programs
from tests.engine.conftest import Start
from tests.engine.engine import Engine

ALL = os.environ.get("ENGINE_TESTS") == "all"
# For each stack the types whose creation and deletion take longest, during which a kill is most likely.
SLOWEST_TYPES = {
    "dev": ("aws:sagemaker/mlflowApp:MlflowApp", "aws:lb/loadBalancer:LoadBalancer"),
    "gcp-dev": ("gcp:sql/databaseInstance:DatabaseInstance", "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"),
}
# In CI only the fault that leaves an orphan, and only on AWS.
FAULTS = [Fault.HANG_AFTER, *([Fault.HANG_BEFORE] if ALL else [])]


def wait_for_complete_state(engine: Engine) -> None:
    """Wait until the engine has not written the state for a second.

    Pulumi's file backend overwrites the file: a kill meanwhile leaves a part of it.
    """
    deadline = time.monotonic() + 60
    written = 0.0
    while written != engine.state_file.stat().st_mtime:
        assert time.monotonic() < deadline, "the engine writes the state all the time"
        written = engine.state_file.stat().st_mtime
        time.sleep(1)


def kill_during(engine: Engine, command: str, action: Action, kind: str, fault: Fault) -> None:
    """Kill the engine while an operation hangs. Raises AssertionError if no operation hangs."""
    double = engine.double
    double.plan = Once(action, kind, fault)
    double.hanging.clear()
    double.released.clear()
    with engine.started(command, "--yes", "--skip-preview", "--parallel", "32") as running:
        assert double.hanging.wait(180), running.process.communicate(timeout=60)[0]
        wait_for_complete_state(engine)
        running.kill()
    double.released.set()
    double.plan = no_faults


@pytest.mark.parametrize("stack", SLOWEST_TYPES if ALL else ["dev"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.lower())
def test_stack_recovers_from_killed_up_and_destroy(start: Start, stack: str, fault: Fault) -> None:
    created_type, deleted_type = SLOWEST_TYPES[stack]
    engine = start(config=programs.config_of(stack), secrets=programs.secrets_of(stack))
    kill_during(engine, "up", "create", created_type, fault)

    locked = engine.up()
    assert locked.code != 0
    assert "pulumi cancel" in locked.output
    engine.cancel().ok()
    pending = [operation["resource"]["type"] for operation in engine.pending]
    assert created_type in pending
    # Resources in the account but not in the state: pending operations and tags or labels identify them.
    orphans = account.orphans(engine)
    assert {orphan.kind.token for orphan in orphans} <= set(pending)
    assert (created_type in {orphan.kind.token for orphan in orphans}) is (fault is Fault.HANG_AFTER)
    account.clean_up_manually(engine)
    engine.refresh("--clear-pending-creates").ok()
    assert engine.pending == []
    engine.up().ok()
    assert engine.up("--expect-no-changes").ok().warnings == []
    assert account.orphans(engine) == []
    retained = engine.retained_on_destroy()

    kill_during(engine, "destroy", "delete", deleted_type, fault)
    engine.cancel().ok()
    engine.destroy().ok()
    assert engine.resources == []
    assert account.unexplained_leftovers(engine.double.cloud, retained) == []
