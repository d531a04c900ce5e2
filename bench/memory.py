"""Large bodies: time, and the most memory above idle."""

import sys
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench import machine, peers
from bench.bulk import MIB, Transfer, transfer
from bench.certificates import make_chain
from bench.processes import Server, serving, workdir
from bench.text import goal, table
from local.ports import free_port

BUDGET_MIB = 128  # MLFLOW_PROXY_BODY_BUDGET_MIB's default
ABOVE_MIB = 48
FLOOD = 200
FLOOD_MIB = 16
NAMES = ("proxy", "flask", "aws-sigv4-proxy")


@dataclass(frozen=True)
class Plan:
    """Sizes in MiB. ``rounds`` are for the comparison with the peers."""

    only: tuple[str, ...] = NAMES
    size: int = 1024
    side: int = 256
    rounds: int = 3


@dataclass(frozen=True)
class Case:
    """One kind of large request. Uploads go where MLflow's artifacts or, when signed, its trace parts go."""

    name: str
    size: int
    upload: bool
    signed: bool
    at_once: int = 1
    most_mib: float | None = None

    @property
    def request(self) -> tuple[str, str]:
        if not self.upload:
            return "GET", f"/get-artifact?path=bench-{self.size}&run_uuid=0a1b2c3d4e5f60718293a4b5c6d7e8f9"
        if self.signed:
            return (
                "POST",
                "/ajax-api/2.0/mlflow/upload-artifact?path=body.bin&run_uuid=0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            )
        return "PUT", "/api/2.0/mlflow-artifacts/artifacts/bench/body.bin"


@dataclass(frozen=True)
class Result:
    """Memory in MiB, of the server and its children together."""

    seconds: float
    idle: float
    peak: float
    problems: dict[str, int]

    @property
    def above(self) -> float:
        return self.peak - self.idle


@dataclass(frozen=True)
class Ground:
    """The upstreams of one run, both kinds, and what the proxy's callers need."""

    plain: peers.Place
    tls: peers.Place
    tokens: Path
    token: str
    rest: set[int]

    def server(self, name: str, case: Case) -> AbstractContextManager[Server]:
        """A fresh server, so that an earlier body's memory is not taken for idle."""
        place = self.tls if case.signed else self.plain
        starts: dict[str, peers.Start] = {
            "proxy": lambda place: peers.proxy(place, self.tokens, plain=not case.signed),
            "flask": peers.flask,
            "aws-sigv4-proxy": peers.aws_sigv4_proxy,
        }
        return starts[name](place)

    def send(self, server: Server, case: Case) -> Result:
        """All requests of the case; the peak begins anew before them."""
        method, target = case.request
        small = target.replace(f"bench-{case.size}", "bench-1000")
        with machine.pinned(self.rest):
            for _ in range(5):
                if problem := transfer(server.port, self.token, method, small, 1000).problem:
                    raise machine.Unfit(f"{case.name}: a small one fails already: {problem}")
            pids = server.pids
            machine.reset_peak(pids)
            idle = machine.resident_mib(pids)
            done = self._all(server, case, method, target)
        problems = Counter(each.problem for each in done if each.problem)
        return Result(max(each.seconds for each in done), idle, machine.peak_mib(pids), dict(problems))

    def _all(self, server: Server, case: Case, method: str, target: str) -> list[Transfer]:
        def one(_: int) -> Transfer:
            return transfer(server.port, self.token, method, target, case.size)

        with ThreadPoolExecutor(case.at_once) as pool:
            return list(pool.map(one, range(case.at_once)))


@contextmanager
def ground(only: tuple[str, ...]) -> Generator[Ground]:
    measured, rest = machine.cores()
    with workdir() as folder, ExitStack() as stack:
        chain = make_chain(folder)

        def upstream(name: str, *files: Path) -> str:
            port = free_port()
            command = [sys.executable, "-m", "bench.upstream", str(port), *map(str, files)]
            stack.enter_context(serving(name, command, port=port, folder=folder, on=rest))
            return f"127.0.0.1:{port}"

        plain = peers.Place(folder, chain, f"http://{upstream('plain')}", measured)
        tls = peers.Place(folder, chain, f"https://{upstream('tls', chain.certificate, chain.key)}", measured)
        tokens, token = peers.new_token(folder) if "proxy" in only else (folder, "none")
        yield Ground(plain, tls, tokens, token, rest)


def run(plan: Plan) -> dict[str, Any]:
    """Measure, print, and give the raw figures."""
    plan = replace(plan, only=peers.present(plan.only))
    raw: list[dict[str, Any]] = []
    with ground(plan.only) as here:
        if "proxy" in plan.only:
            raw += _alone(plan, here)
            print()
        raw += _side_by_side(plan, here)
    return {"memory": raw}


def _alone(plan: Plan, here: Ground) -> list[dict[str, Any]]:
    size = plan.size * MIB
    flood = f"{FLOOD} uploads at once, {FLOOD_MIB} MiB each, signed"
    cases = (
        Case(f"upload, {plan.size} MiB, plain upstream", size, upload=True, signed=False, most_mib=ABOVE_MIB),
        Case(f"download, {plan.size} MiB, plain upstream", size, upload=False, signed=False, most_mib=ABOVE_MIB),
        Case(f"download, {plan.size} MiB, signed", size, upload=False, signed=True, most_mib=ABOVE_MIB),
        Case(flood, FLOOD_MIB * MIB, upload=True, signed=True, at_once=FLOOD, most_mib=BUDGET_MIB + ABOVE_MIB),
    )
    rows: list[list[str]] = []
    raw: list[dict[str, Any]] = []
    for case in cases:
        with here.server("proxy", case) as server:
            result = here.send(server, case)
        speed = case.size * case.at_once / MIB / result.seconds
        figures = [f"{result.seconds:.2f}", f"{speed:.0f}", f"{result.idle:.0f}", f"{result.above:.1f}"]
        rows.append([case.name, *figures, *goal(result.above, most=case.most_mib), _problems(result)])
        raw.append({"server": "proxy", "case": case.name, **asdict(result)})
    print(table(["the proxy alone", "s", "MiB/s", "idle MiB", "peak above idle", "goal", "", ""], rows))
    return raw


def _side_by_side(plan: Plan, here: Ground) -> list[dict[str, Any]]:
    """Rounds of A B C A B C. Everyone has the same upstream: TLS for downloads, plain for uploads."""
    cases = (
        Case(f"download, {plan.side} MiB, TLS upstream", plan.side * MIB, upload=False, signed=True),
        Case(f"upload, {plan.side} MiB, plain upstream", plan.side * MIB, upload=True, signed=False),
    )
    rows: list[list[str]] = []
    raw: list[dict[str, Any]] = []
    for case in cases:
        results: dict[str, list[Result]] = {name: [] for name in plan.only}
        for _ in range(plan.rounds):
            for name, each in results.items():
                with here.server(name, case) as server:
                    each.append(here.send(server, case))
                raw.append({"server": name, "case": case.name, **asdict(each[-1])})
        for name, each in results.items():
            row = [case.name, name, f"{median(one.seconds for one in each):.2f}"]
            row.append(f"{median(one.above for one in each):.0f}")
            ratio = ["", "", ""]
            if "proxy" in results and name != "proxy":
                pairs = zip(results["proxy"], each, strict=True)
                value = median(ours.seconds / theirs.seconds for ours, theirs in pairs)
                ratio = [f"{value:.2f}", *goal(value, most=1 if name == "flask" else None)]
            rows.append([*row, *ratio, _problems(*each)])
    print(table(["side by side", "server", "s", "peak above idle", "time of proxy / this", "goal", "", ""], rows))
    return raw


def _problems(*results: Result) -> str:
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.problems)
    return ", ".join(f"{number} x {problem}" for problem, number in total.items())
