"""Large bodies: time, and peak memory above idle."""

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
    """One kind of large request. Uploads use the route of artifacts or, when signed, that of trace parts."""

    name: str
    size: int
    upload: bool
    signed: bool
    at_once: int = 1
    most_mib: float | None = None

    @property
    def request(self) -> tuple[str, str]:
        """(method, request target)."""
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
    """Memory of the server and its children, in MiB; `problems`: number of failed transfers by reason."""

    seconds: float
    idle: float
    peak: float
    problems: dict[str, int]

    @property
    def above(self) -> float:
        """Peak memory above idle, in MiB."""
        return self.peak - self.idle


@dataclass(frozen=True)
class Upstreams:
    """The upstreams, plain and TLS, and the token for the proxy."""

    plain: peers.ServerSetup
    tls: peers.ServerSetup
    tokens: Path
    token: str
    rest: set[int]

    def server(self, name: str, case: Case) -> AbstractContextManager[Server]:
        """A new server, whose idle memory does not include that of earlier bodies."""
        setup = self.tls if case.signed else self.plain
        starts: dict[str, peers.Start] = {
            "proxy": lambda setup: peers.proxy(setup, self.tokens, plain=not case.signed),
            "flask": peers.flask,
            "aws-sigv4-proxy": peers.aws_sigv4_proxy,
        }
        return starts[name](setup)

    def send(self, server: Server, case: Case) -> Result:
        """Send all requests of the case, after resetting the peak."""
        method, target = case.request
        small = target.replace(f"bench-{case.size}", "bench-1000")
        with machine.pinned(self.rest):
            for _ in range(5):
                if problem := transfer(server.port, self.token, method, small, 1000).problem:
                    raise machine.BenchmarkError(f"{case.name}: a small request fails: {problem}")
            pids = server.pids
            machine.reset_peak(pids)
            idle = machine.resident_mib(pids)
            done = self._all(server, case, method, target)
        problems = Counter(each.problem for each in done if each.problem)
        return Result(max(each.seconds for each in done), idle, machine.peak_mib(pids), dict(problems))

    def _all(self, server: Server, case: Case, method: str, target: str) -> list[Transfer]:
        def send_one(_: int) -> Transfer:
            return transfer(server.port, self.token, method, target, case.size)

        with ThreadPoolExecutor(case.at_once) as pool:
            return list(pool.map(send_one, range(case.at_once)))


@contextmanager
def start_upstreams(only: tuple[str, ...]) -> Generator[Upstreams]:
    """Start the upstreams; they stop with the block."""
    measured, rest = machine.cores()
    with workdir() as folder, ExitStack() as stack:
        chain = make_chain(folder)

        def upstream(name: str, *files: Path) -> str:
            port = free_port()
            command = [sys.executable, "-m", "bench.upstream", str(port), *map(str, files)]
            stack.enter_context(serving(name, command, port=port, folder=folder, on=rest))
            return f"127.0.0.1:{port}"

        plain = peers.ServerSetup(folder, chain, f"http://{upstream('plain')}", measured)
        tls = peers.ServerSetup(folder, chain, f"https://{upstream('tls', chain.certificate, chain.key)}", measured)
        tokens, token = peers.new_token(folder) if "proxy" in only else (folder, "none")
        yield Upstreams(plain, tls, tokens, token, rest)


def run(plan: Plan) -> dict[str, Any]:
    """Measure, print the tables, and return the raw results."""
    plan = replace(plan, only=peers.installed(plan.only))
    raw: list[dict[str, Any]] = []
    with start_upstreams(plan.only) as upstreams:
        if "proxy" in plan.only:
            raw += _alone(plan, upstreams)
            print()
        raw += _side_by_side(plan, upstreams)
    return {"memory": raw}


def _alone(plan: Plan, upstreams: Upstreams) -> list[dict[str, Any]]:
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
        with upstreams.server("proxy", case) as server:
            result = upstreams.send(server, case)
        speed = case.size * case.at_once / MIB / result.seconds
        figures = [f"{result.seconds:.2f}", f"{speed:.0f}", f"{result.idle:.0f}", f"{result.above:.1f}"]
        rows.append([case.name, *figures, *goal(result.above, most=case.most_mib), _problems(result)])
        raw.append({"server": "proxy", "case": case.name, **asdict(result)})
    print(table(["the proxy alone", "s", "MiB/s", "idle MiB", "peak above idle", "goal", "", ""], rows))
    return raw


def _side_by_side(plan: Plan, upstreams: Upstreams) -> list[dict[str, Any]]:
    """Rounds of A B C A B C. All servers have the same upstream: TLS for downloads, plain for uploads."""
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
                with upstreams.server(name, case) as server:
                    each.append(upstreams.send(server, case))
                raw.append({"server": name, "case": case.name, **asdict(each[-1])})
        for name, each in results.items():
            row = [case.name, name, f"{median(result.seconds for result in each):.2f}"]
            row.append(f"{median(result.above for result in each):.0f}")
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
