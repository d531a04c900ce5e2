"""`make sweep`: every create, update and delete fails once, one by one, and every time the stack converges.

python -m tests.engine.sweep [--stack STACK] [--every N] [--from N] [--fault before|after|both] [--only ACTION]

For each resource of the stack: a run in which its create fails, one that goes on, one in which its delete fails, one
that goes on; nothing is left in the account that `kept` does not name. Then each update, by changing the tags or labels
of a stack that is up. Hours.
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
from tests.doubles.provider.faults import Action, Fault, Nth, nothing
from tests.doubles.provider.server import Double
from tests.engine import account, programs
from tests.engine.engine import Engine, Run, make_venv, missing

FAULTS = {"before": (Fault.BEFORE,), "after": (Fault.AFTER,), "both": (Fault.BEFORE, Fault.AFTER)}
# Production as it is, but for what would keep it from being destroyed.
SETTINGS: dict[str, dict[str, Any]] = {
    "dev": {},
    "prod": {"deletionProtection": False},
    "gcp-dev": {},
    "gcp-prod": {"deletionProtection": False},
}


@dataclass(slots=True)
class Count:
    """What was done."""

    resources: int = 0
    failed: dict[str, int] = field(default_factory=lambda: {"create": 0, "update": 0, "delete": 0})
    runs: int = 0
    wrong: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Sweep:
    stack: str
    venv: Path
    folder: Path
    count: Count

    @contextlib.contextmanager
    def engine(self, name: str) -> Generator[Engine]:
        """A stack of its own."""
        project = self.folder / name / "project"
        double = Double(cloud=Cloud(programs.GIVEN, project))
        account.prepare(double.cloud)
        programs.write(project, self.venv)
        with double.serve() as providers:
            config = programs.config_of(self.stack, SETTINGS[self.stack])
            engine = Engine(project, self.venv, double, providers, config, programs.secrets_of(self.stack))
            engine.init()
            yield engine
            self.count.runs += engine.runs

    def goes_on(self, engine: Engine, action: Action, n: int, fault: Fault, command: str) -> str | None:
        """Let the nth operation fail, and then go on. The URN that it met; None where there is no nth."""
        plan = Nth(action, n, fault)
        engine.double.plan = plan
        first = _run(engine, command)
        engine.double.plan = nothing
        if plan.hit is None:
            return None
        self.count.failed[action] += 1
        what = f"{self.stack}: {action} {n} ({fault.name.lower()}) {plan.hit.split('::', 2)[2]}"
        if first.code == 0:
            self.count.wrong.append(f"{what}: nobody noticed")
        if command == "up":
            account.by_hand(engine)
        second = _run(engine, command)
        if second.code:
            self.count.wrong.append(f"{what}: it did not go on: {second.errors}")
        return plan.hit

    def creates_and_deletes(self, n: int, fault: Fault) -> bool:
        """Whether there was an nth of either."""
        with self.engine(f"n{n}-{fault.name}") as engine:
            created = self.goes_on(engine, "create", n, fault, "up")
            self.count.resources = max(self.count.resources, len(engine.resources))
            drift = engine.refresh("--expect-no-changes")
            if drift.code:
                self.count.wrong.append(f"{self.stack}: create {n} ({fault.name.lower()}): {drift.errors}")
            kept = engine.kept()
            deleted = self.goes_on(engine, "delete", n, fault, "destroy")
            left = [*engine.resources, *account.unnamed(engine.double.cloud, kept)]
            if left:
                self.count.wrong.append(f"{self.stack}: {n} ({fault.name.lower()}): left {left}")
            return created is not None or deleted is not None

    def updates(self, every: int, first: int, faults: tuple[Fault, ...]) -> None:
        base = programs.config_of(self.stack, SETTINGS[self.stack])
        with self.engine("updates") as engine:
            engine.up().ok()
            for fault in faults:
                n = first
                while True:
                    engine.configure(programs.with_settings(base, _label(self.stack, f"{fault.name}-{n}".lower())))
                    if self.goes_on(engine, "update", n, fault, "up") is None:
                        break
                    drift = engine.refresh("--expect-no-changes")
                    if drift.code:
                        self.count.wrong.append(f"{self.stack}: update {n} ({fault.name.lower()}): {drift.errors}")
                    _say(f"{self.stack}: update {n}, {fault.name.lower()}")
                    n += every
            engine.destroy().ok()


def _label(stack: str, value: str) -> dict[str, Any]:
    return {"labels": {"try": value}} if stack.startswith("gcp") else {"tags": {"Try": value}}


def _run(engine: Engine, command: str) -> Run:
    return engine.up() if command == "up" else engine.destroy()


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stack", choices=[*SETTINGS, "all"], default="all")
    parser.add_argument("--every", type=int, default=1, help="every nth operation only")
    parser.add_argument("--from", type=int, default=1, dest="first", help="begin with this one")
    parser.add_argument("--fault", choices=list(FAULTS), default="both")
    parser.add_argument("--only", choices=["create-delete", "update"])
    asked = parser.parse_args()
    why = missing()
    if why is not None:
        print(f"make sweep {why}", file=sys.stderr)
        return 2
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        venv = make_venv(Path(folder) / "venv")
        for stack in SETTINGS if asked.stack == "all" else [asked.stack]:
            count = Count()
            begin = time.monotonic()
            sweep = Sweep(stack, venv, Path(folder) / stack, count)
            for fault in FAULTS[asked.fault] if asked.only != "update" else ():
                n = asked.first
                while sweep.creates_and_deletes(n, fault):
                    _say(f"{stack}: create and delete {n}, {fault.name.lower()}")
                    n += asked.every
            if asked.only != "create-delete":
                sweep.updates(asked.every, asked.first, FAULTS[asked.fault])
            minutes = (time.monotonic() - begin) / 60
            _say(
                f"{stack}: {count.resources} resources; failed once: {count.failed['create']} creates, "
                f"{count.failed['update']} updates, {count.failed['delete']} deletes; {count.runs} runs of the engine "
                f"in {minutes:.0f} minutes; {len(count.wrong)} did not converge"
            )
            for one in count.wrong:
                print(f"  {one}")
            wrong += len(count.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
