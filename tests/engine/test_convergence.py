"""Convergence after failed operations: the next `up` or `destroy` continues where the previous one stopped.

Google's provider drops a resource whose creation times out: it has to be deleted or imported manually (account.py).
"""

import os

import pytest

from tests.doubles.provider.faults import EachOnce, Fault, First, Once, no_faults
from tests.doubles.provider.kinds.images import IMAGE
from tests.engine import account, programs
from tests.engine.conftest import Start
from tests.engine.engine import Engine, Run

ALL = os.environ.get("ENGINE_TESTS") == "all"
BOTH = (Fault.BEFORE, Fault.AFTER)
# In CI one in SHARES resources fails, with one of the two faults.
FAULTS = [(fault,) for fault in BOTH] if ALL else [BOTH]
SHARES = {"dev": 5, "gcp-dev": 12}
# More than the longest chain of dependencies, of which each run completes at least one resource.
MAX_RUNS = 40


def retry_until_success(engine: Engine, command: str) -> list[Run]:
    """Run a command until it succeeds. Raises AssertionError after MAX_RUNS."""
    runs: list[Run] = []
    for _ in range(MAX_RUNS):
        failed_before = len([operation for operation in engine.double.journal if operation.fault])
        # Independent operations continue after a failure, which needs fewer runs.
        runs.append(engine.up("--continue-on-error") if command == "up" else engine.destroy("--continue-on-error"))
        if runs[-1].code == 0:
            return runs
        if command == "up":
            account.clean_up_manually(engine)
        failed = len([operation for operation in engine.double.journal if operation.fault])
        assert failed > failed_before, f"The run failed without an injected fault:\n{runs[-1].output[-6000:]}"
    raise AssertionError(f"The command failed in {MAX_RUNS} runs:\n{runs[-1].output[-6000:]}")


@pytest.mark.parametrize("stack", SHARES)
@pytest.mark.parametrize("faults", FAULTS, ids=lambda faults: "-".join(fault.name.lower() for fault in faults))
def test_stack_converges_when_every_operation_fails_once(start: Start, stack: str, faults: tuple[Fault, ...]) -> None:
    engine = start(config=programs.config_of(stack), secrets=programs.secrets_of(stack))
    double, cloud, share = engine.double, engine.double.cloud, 1 if ALL else SHARES[stack]
    # The next run updates resources whose creation took effect; CI injects no faults into updates.
    each_once = EachOnce(faults, ("create", "update", "delete") if ALL else ("create", "delete"), share)
    # The image is always in the sample: after the fault its tag is in the registry, but not in the state.
    double.plan = First((Once("create", IMAGE, Fault.AFTER), each_once))
    assert len(retry_until_success(engine, "up")) > 1
    double.plan = no_faults
    created = {resource["urn"] for resource in engine.resources}
    failed = {operation.urn for operation in double.journal if operation.fault and operation.action == "create"}
    assert any(f"::{IMAGE}::" in urn or f"${IMAGE}::" in urn for urn in failed)
    assert failed <= created
    assert len(failed) == len(created) if ALL else len(failed) > 4
    assert engine.up("--expect-no-changes").ok().steps == []
    assert engine.refresh("--expect-no-changes").ok().steps == []
    assert account.orphans(engine) == []
    assert account.duplicates(engine) == {}
    retained = engine.retained_on_destroy()

    double.plan = EachOnce(faults, share=share)
    assert len(retry_until_success(engine, "destroy")) > 1
    assert engine.resources == []
    assert account.unexplained_leftovers(cloud, retained) == []
