"""Latency of a polite client beside a flood of another one, with the default limits per principal and without them.

The flood (wrk) has a number of connections that send a request as soon as they have a response, and ignores
Retry-After; the polite client sends one request at a time, with pauses.
"""

import http.client
import subprocess
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench import machine, peers
from bench.certificates import make_chain
from bench.load import READ_PATH
from bench.processes import Server, workdir
from bench.text import goal, table

FLOOD = 200
_PAUSE_SECONDS = 0.02
# The limits of the benchmarks' proxy are out of reach; empty values are the defaults.
_DEFAULTS = {f"MLFLOW_PROXY_PRINCIPAL_{name}": "" for name in ("MAX_REQUESTS", "REQUESTS_PER_SECOND")}
_CASES: dict[str, tuple[int, dict[str, str]]] = {
    "alone": (0, _DEFAULTS),
    "flood, limits": (FLOOD, _DEFAULTS),
    "flood, no limits": (FLOOD, {}),
}


@dataclass(frozen=True)
class Latency:
    """Of the polite client, in ms; ``refused``: its responses other than 200."""

    requests: int
    p50_ms: float
    p99_ms: float
    refused: int


def run(rounds: int = 3, seconds: int = 8) -> dict[str, Any]:
    """Measure, print the tables, and return the raw results."""
    measured, rest = machine.cores()
    samples: dict[str, list[Latency]] = {name: [] for name in _CASES}
    with workdir() as folder:
        chain = make_chain(folder)
        with peers.tls_upstream(folder, chain, rest) as upstream:
            setup = peers.ServerSetup(folder, chain, f"https://127.0.0.1:{upstream.port}", measured)
            tokens, greedy = peers.new_token(folder, name="greedy")
            _, polite = peers.new_token(folder, name="polite")
            for _ in range(rounds):
                for name, (flood, limits) in _CASES.items():
                    with (
                        peers.proxy(setup, tokens, extra=limits) as server,
                        machine.pinned(rest),
                        _flood(folder, server, greedy, flood, seconds + 2),
                    ):
                        samples[name].append(_measure(server, polite, seconds))
    rows = [
        [
            name,
            f"{median(each.p50_ms for each in samples[name]):.1f}",
            f"{median(each.p99_ms for each in samples[name]):.1f}",
            f"{min(each.p99_ms for each in samples[name]):.1f}-{max(each.p99_ms for each in samples[name]):.1f}",
            str(sum(each.refused for each in samples[name])),
        ]
        for name in _CASES
    ]
    print(table(["a polite client", "p50 ms", "p99 ms", "min-max", "refused"], rows))
    pairs = zip(samples["flood, no limits"], samples["flood, limits"], strict=True)
    ratios = sorted(without.p99_ms / limited.p99_ms for without, limited in pairs)
    row = ["p99 without / with limits", f"{median(ratios):.1f}", f"{ratios[0]:.1f}-{ratios[-1]:.1f}"]
    print(table(["ratio", "median", "min-max", "goal", ""], [[*row, *goal(median(ratios), least=5)]]))
    return {"fairness": [{"case": name, **asdict(each)} for name, all_ in samples.items() for each in all_]}


@contextmanager
def _flood(folder: Path, server: Server, token: str, connections: int, seconds: int) -> Generator[None]:
    if not connections:
        yield
        return
    command = [machine.need("wrk"), "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    url = f"http://127.0.0.1:{server.port}{READ_PATH}"
    with (folder / "wrk.log").open("wb") as log:
        process = subprocess.Popen([*command, "--header", f"Authorization: Bearer {token}", url], stdout=log)
    try:
        time.sleep(1)
        yield
    finally:
        process.terminate()
        process.wait()


def _measure(server: Server, token: str, seconds: int) -> Latency:
    headers = {"Authorization": f"Bearer {token}"}
    durations: list[float] = []
    refused = 0
    deadline = time.monotonic() + seconds
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        while time.monotonic() < deadline:
            started = time.perf_counter()
            connection.request("GET", READ_PATH, headers=headers)
            response = connection.getresponse()
            response.read()
            durations.append((time.perf_counter() - started) * 1000)
            refused += response.status != 200
            time.sleep(_PAUSE_SECONDS)
    return Latency(len(durations), median(durations), quantiles(durations, n=100)[98], refused)
