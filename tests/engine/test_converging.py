"""Failed operations do no harm: the next `up` or `destroy` continues where the last one stopped.

Google's provider loses a resource whose creation times out: it has to be deleted or imported manually (account.py).
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
# In CI one in so many resources fails, with one of the two faults.
FAULTS = [(one,) for one in BOTH] if ALL else [BOTH]
SHARES = {"dev": 5, "gcp-dev": 12}
# More than the longest chain of dependencies: every try completes at least one more link.
MAX_TRIES = 40


def retry_until_done(engine: Engine, command: str) -> list[Run]:
    """Run a command until it succeeds. Raises AssertionError after MAX_TRIES."""
    runs: list[Run] = []
    for _ in range(MAX_TRIES):
        failed_before = len([one for one in engine.double.journal if one.fault])
        # Independent operations continue after a failure, which needs fewer runs.
        runs.append(engine.up("--continue-on-error") if command == "up" else engine.destroy("--continue-on-error"))
        if runs[-1].code == 0:
            return runs
        if command == "up":
            account.clean_up_manually(engine)
        failed = len([one for one in engine.double.journal if one.fault])
        assert failed > failed_before, f"It failed for another reason:\n{runs[-1].output[-6000:]}"
    raise AssertionError(f"Not done after {MAX_TRIES} tries:\n{runs[-1].output[-6000:]}")


@pytest.mark.parametrize("stack", SHARES)
@pytest.mark.parametrize("faults", FAULTS, ids=lambda faults: "-".join(one.name.lower() for one in faults))
def test_stack_converges_when_every_operation_fails_once(start: Start, stack: str, faults: tuple[Fault, ...]) -> None:
    engine = start(config=programs.config_of(stack), secrets=programs.secrets_of(stack))
    double, cloud, share = engine.double, engine.double.cloud, 1 if ALL else SHARES[stack]
    # Resources whose creation took effect are updated in the next run; failed updates are not part of CI.
    each = EachOnce(faults, ("create", "update", "delete") if ALL else ("create", "delete"), share)
    # The image is always in the sample: its tag is in the registry, but not in the state.
    double.plan = First((Once("create", IMAGE, Fault.AFTER), each))
    assert len(retry_until_done(engine, "up")) > 1
    double.plan = no_faults
    made = {one["urn"] for one in engine.resources}
    failed = {one.urn for one in double.journal if one.fault and one.action == "create"}
    assert any(f"::{IMAGE}::" in urn or f"${IMAGE}::" in urn for urn in failed)
    assert failed <= made
    assert len(failed) == len(made) if ALL else len(failed) > 4
    assert engine.up("--expect-no-changes").ok().steps == []
    assert engine.refresh("--expect-no-changes").ok().steps == []
    assert account.orphans(engine) == []
    assert account.duplicates(engine) == {}
    kept = engine.kept()

    double.plan = EachOnce(faults, share=share)
    assert len(retry_until_done(engine, "destroy")) > 1
    assert engine.resources == []
    assert account.unexplained_leftovers(cloud, kept) == []
