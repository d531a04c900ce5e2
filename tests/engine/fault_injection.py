"""`make fault-injection`: each create, update and delete fails once, one at a time; the stack has to converge.

python -m tests.engine.fault_injection --help

For each resource of a stack: an `up` in which its creation fails, an `up` that succeeds, a `destroy` in which its
deletion fails, a `destroy` that succeeds. The account may contain only leftovers that the output `retained_on_destroy`
names. Then each update, caused by new tags or labels. Takes hours.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.doubles.provider.cloud import Cloud
from tests.doubles.provider.faults import Action, Fault, Nth, no_faults
from tests.doubles.provider.server import Double
from tests.engine import account, programs
from tests.engine.engine import Engine, Run, make_venv, missing_tool

FAULTS = {"before": (Fault.BEFORE,), "after": (Fault.AFTER,), "both": (Fault.BEFORE, Fault.AFTER)}
# Production without the deletion protection that blocks `destroy`.
SETTINGS: dict[str, dict[str, Any]] = {
    "dev": {},
    "prod": {"deletionProtection": False},
    "gcp-dev": {},
    "gcp-prod": {"deletionProtection": False},
}


@dataclass(slots=True)
class Statistics:
    """The number of resources, injected faults and engine runs, and a line for each fault that did not converge."""

    resources: int = 0
    faults: dict[str, int] = field(default_factory=lambda: {"create": 0, "update": 0, "delete": 0})
    runs: int = 0
    failures: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class FaultInjection:
    """The runs of a stack; each run has its own engine in ``folder``."""

    stack: str
    venv: Path
    folder: Path
    statistics: Statistics

    @contextlib.contextmanager
    def engine(self, name: str) -> Generator[Engine]:
        """Yield an engine with a new stack and a new account."""
        project = self.folder / name / "project"
        double = Double(cloud=Cloud(programs.EXISTING, project))
        account.prepare(double.cloud)
        programs.write(project, self.venv)
        with double.serve() as providers:
            config = programs.config_of(self.stack, SETTINGS[self.stack])
            engine = Engine(project, self.venv, double, providers, config, programs.secrets_of(self.stack))
            engine.init()
            yield engine
            self.statistics.runs += engine.runs

    def fail_and_retry(self, engine: Engine, action: Action, n: int, fault: Fault, command: str) -> str | None:
        """Let the nth operation fail, and run the command again. Return its URN; None if there is no nth operation."""
        plan = Nth(action, n, fault)
        engine.double.plan = plan
        first = _run(engine, command)
        engine.double.plan = no_faults
        if plan.urn is None:
            return None
        self.statistics.faults[action] += 1
        operation = f"{self.stack}: {action} {n} ({fault.name.lower()}) {plan.urn.split('::', 2)[2]}"
        if first.code == 0:
            self.statistics.failures.append(f"{operation}: the engine reported no error")
        if command == "up":
            account.clean_up_manually(engine)
        second = _run(engine, command)
        if second.code:
            self.statistics.failures.append(f"{operation}: the retry failed: {second.errors}")
        return plan.urn

    def creates_and_deletes(self, n: int, fault: Fault) -> bool:
        """Let the nth create and the nth delete fail. Return whether there was an nth of either."""
        with self.engine(f"n{n}-{fault.name}") as engine:
            created = self.fail_and_retry(engine, "create", n, fault, "up")
            self.statistics.resources = max(self.statistics.resources, len(engine.resources))
            drift = engine.refresh("--expect-no-changes")
            if drift.code:
                self.statistics.failures.append(f"{self.stack}: create {n} ({fault.name.lower()}): {drift.errors}")
            retained = engine.retained_on_destroy()
            deleted = self.fail_and_retry(engine, "delete", n, fault, "destroy")
            leftovers = [*engine.resources, *account.unexplained_leftovers(engine.double.cloud, retained)]
            if leftovers:
                self.statistics.failures.append(f"{self.stack}: {n} ({fault.name.lower()}): leftovers {leftovers}")
            return created is not None or deleted is not None

    def updates(self, every: int, first: int, faults: tuple[Fault, ...]) -> None:
        """Let every ``every``-th update fail, starting with the ``first``."""
        base = programs.config_of(self.stack, SETTINGS[self.stack])
        with self.engine("updates") as engine:
            engine.up().ok()
            for fault in faults:
                n = first
                while True:
                    engine.configure(programs.with_settings(base, _label(self.stack, f"{fault.name}-{n}".lower())))
                    if self.fail_and_retry(engine, "update", n, fault, "up") is None:
                        break
                    drift = engine.refresh("--expect-no-changes")
                    if drift.code:
                        failure = f"{self.stack}: update {n} ({fault.name.lower()}): {drift.errors}"
                        self.statistics.failures.append(failure)
                    _log(f"{self.stack}: update {n}, {fault.name.lower()}")
                    n += every
            engine.destroy().ok()


def _label(stack: str, value: str) -> dict[str, Any]:
    return {"labels": {"attempt": value}} if stack.startswith("gcp") else {"tags": {"Attempt": value}}


def _run(engine: Engine, command: str) -> Run:
    return engine.up() if command == "up" else engine.destroy()


def _log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def main() -> int:
    """Run the command. The exit code is 1 if a stack did not converge, 2 if a tool is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stack", choices=[*SETTINGS, "all"], default="all", help="default: all")
    parser.add_argument("--every", type=int, default=1, help="only every nth operation (default: 1)")
    parser.add_argument("--from", type=int, default=1, dest="first", help="number of the first operation (default: 1)")
    parser.add_argument("--fault", choices=list(FAULTS), default="both", help="before or after the operation's effect")
    parser.add_argument("--only", choices=["create-delete", "update"], help="inject faults into these operations only")
    options = parser.parse_args()
    missing = missing_tool()
    if missing is not None:
        print(f"make fault-injection {missing}", file=sys.stderr)
        return 2
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        venv = make_venv(Path(folder) / "venv")
        for stack in SETTINGS if options.stack == "all" else [options.stack]:
            statistics = Statistics()
            start = time.monotonic()
            run = FaultInjection(stack, venv, Path(folder) / stack, statistics)
            for fault in FAULTS[options.fault] if options.only != "update" else ():
                n = options.first
                while run.creates_and_deletes(n, fault):
                    _log(f"{stack}: create and delete {n}, {fault.name.lower()}")
                    n += options.every
            if options.only != "create-delete":
                run.updates(options.every, options.first, FAULTS[options.fault])
            minutes = (time.monotonic() - start) / 60
            count = statistics.faults
            _log(
                f"{stack}: {statistics.resources} resources; injected faults: {count['create']} creates, "
                f"{count['update']} updates, {count['delete']} deletes; {statistics.runs} engine runs "
                f"in {minutes:.0f} minutes; {len(statistics.failures)} did not converge"
            )
            for failure in statistics.failures:
                print(f"  {failure}")
            failures += len(statistics.failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
