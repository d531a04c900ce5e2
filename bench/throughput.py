"""Requests per second on one core: the proxy and its peers in turn, with the same TLS upstream."""

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench import peers
from bench.certificates import make_chain
from bench.load import Load, Sample
from bench.machine import cores, need
from bench.processes import ROOT, Server, workdir
from bench.text import goal, table

CONNECTIONS = (1, 16, 64)
NAMES = ("proxy", "flask", "aws-sigv4-proxy", "nginx")
# (peer, connections, minimum ratio of requests per second)
GOALS = (
    ("flask", 16, 10.0),
    ("flask", 64, 10.0),
    ("aws-sigv4-proxy", 1, 0.6),
    ("aws-sigv4-proxy", 16, 2.0),
    ("aws-sigv4-proxy", 64, 2.0),
)
Samples = dict[tuple[str, int], list[Sample]]


@dataclass(frozen=True)
class Plan:
    """``seconds``: of one measurement; a round has one per server and number of connections.

    ``baseline``: another checkout of this repository, whose proxy is measured, too, as the server "baseline".
    """

    only: tuple[str, ...] = NAMES
    connections: tuple[int, ...] = CONNECTIONS
    rounds: int = 3
    seconds: float = 5
    mixed: bool = False
    baseline: Path | None = None


@contextmanager
def running_servers(only: Sequence[str], baseline: Path | None = None) -> Generator[tuple[Load, Mapping[str, Server]]]:
    """(load generator, servers by name); the servers stop with the block."""
    measured, rest = cores()
    need("wrk")
    with workdir() as folder, ExitStack() as stack:
        chain = make_chain(folder)
        upstream = stack.enter_context(peers.tls_upstream(folder, chain, rest))
        setup = peers.ServerSetup(folder, chain, f"https://127.0.0.1:{upstream.port}", measured)
        starts: dict[str, peers.Start] = {
            "flask": peers.flask,
            "aws-sigv4-proxy": peers.aws_sigv4_proxy,
            "nginx": peers.nginx,
        }
        servers: dict[str, Server] = {}
        for name in only:
            if name in starts:
                servers[name] = stack.enter_context(starts[name](setup))
                continue
            checkout = baseline if name == "baseline" and baseline else ROOT
            tokens, token = peers.new_token(folder, checkout=checkout)
            server = stack.enter_context(peers.proxy(setup, tokens, checkout=checkout))
            servers[name] = replace(server, token=token)
        yield Load(folder, rest), servers


def measure(plan: Plan) -> Samples:
    """Rounds of A B C D A B C D, so that other load on the machine affects all servers alike."""
    samples: Samples = {}
    with running_servers(plan.only, plan.baseline) as (load, servers):
        for name, server in servers.items():
            load.check(name, server, peers.ANSWER)
            load.run(server, 16, 1)
        load = replace(load, mixed=plan.mixed)
        for number in range(plan.rounds):
            began = time.monotonic()
            for connections in plan.connections:
                for name, server in servers.items():
                    sample = load.run(server, connections, plan.seconds)
                    samples.setdefault((name, connections), []).append(sample)
            print(f"round {number + 1} of {plan.rounds}: {time.monotonic() - began:.0f} s", flush=True)
    return samples


def run(plan: Plan) -> dict[str, Any]:
    """Measure, print the tables, and return the raw results."""
    plan = replace(plan, only=(*peers.installed(plan.only), *(["baseline"] if plan.baseline else [])))
    samples = measure(plan)
    print()
    _print_samples(plan, samples)
    print()
    _print_ratios(plan, samples)
    raw = [
        {"server": name, "connections": connections, **asdict(sample)}
        for (name, connections), each in samples.items()
        for sample in each
    ]
    return {"throughput": raw}


def _print_samples(plan: Plan, samples: Samples) -> None:
    rows: list[list[str]] = []
    for connections in plan.connections:
        for name in plan.only:
            each = samples[name, connections]
            rates = sorted(sample.per_second for sample in each)
            bad = sum(sample.refused + sample.broken for sample in each)
            rows.append(
                [
                    str(connections),
                    name,
                    f"{median(rates):.0f}",
                    f"{rates[0]:.0f}-{rates[-1]:.0f}",
                    f"{median(sample.p50_ms for sample in each):.1f}",
                    f"{median(sample.p99_ms for sample in each):.1f}",
                    f"{median(sample.cpu_us for sample in each):.0f}",
                    f"{100 * median(sample.busy for sample in each):.0f}%",
                    str(bad),
                ]
            )
    head = ["connections", "server", "requests/s", "min-max", "p50 ms", "p99 ms", "cpu us/request", "core", "errors"]
    print(table(head, rows))


def _print_ratios(plan: Plan, samples: Samples) -> None:
    """Print the median of the ratios within each round, in which the machine's load was similar."""
    rows: list[list[str]] = []
    for peer in plan.only:
        for connections in plan.connections:
            if peer == "proxy" or "proxy" not in plan.only:
                continue
            pairs = list(zip(samples["proxy", connections], samples[peer, connections], strict=True))
            ratios = sorted(ours.per_second / theirs.per_second for ours, theirs in pairs)
            least = next((least for name, at, least in GOALS if (name, at) == (peer, connections)), None)
            by_cpu = f"{median(theirs.cpu_us / ours.cpu_us for ours, theirs in pairs):.2f}"
            row = [f"requests/s, proxy / {peer}", str(connections), f"{median(ratios):.2f}"]
            rows.append([*row, f"{ratios[0]:.2f}-{ratios[-1]:.2f}", by_cpu, *goal(median(ratios), least=least)])
            if (peer, connections) == ("aws-sigv4-proxy", 64):
                slower = sorted(ours.p99_ms / theirs.p99_ms for ours, theirs in pairs)
                row = [f"p99, proxy / {peer}", str(connections), f"{median(slower):.2f}"]
                rows.append([*row, f"{slower[0]:.2f}-{slower[-1]:.2f}", "", *goal(median(slower), most=1)])
    if rows:
        print(table(["ratio", "connections", "median", "min-max", "by cpu", "goal", ""], rows))
        print("by cpu: ratio of processor time per request, which depends less on other load.")
