"""Generates small requests with wrk, https://github.com/wg/wrk."""

import contextlib
import http.client
import math
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.machine import BenchmarkError, cpu_seconds, need, pinned
from bench.processes import Server

# wrk calls done() once, at the end. Latencies are in microseconds.
_REPORT = """
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("RESULT %d %d %d %d %d %d\\n",
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        e.status, e.connect + e.read + e.write + e.timeout))
end
"""
RUN = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
READ_PATH = f"/api/2.0/mlflow/runs/get?run_id={RUN}"
_WRITE_BODY = f'{{"run_id":"{RUN}","key":"loss","value":0.25,"timestamp":1767225601000,"step":10}}'
# Requests alternate between reading a run and logging a metric.
_MIXED = f"""
local headers = {{ ["Authorization"] = wrk.headers["Authorization"], ["Content-Type"] = "application/json" }}
local each, turn = {{}}, 0
function init(args)
    each[0] = wrk.format("GET", "{READ_PATH}")
    each[1] = wrk.format("POST", "/api/2.0/mlflow/runs/log-metric", headers, '{_WRITE_BODY}')
end
function request()
    turn = 1 - turn
    return each[turn]
end
"""


@dataclass(frozen=True)
class Sample:
    """A run of wrk. Latencies are in ms; ``cpu_us`` is the server's processor time per request in microseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    busy: float
    refused: int
    broken: int


@dataclass(frozen=True)
class Load:
    """Settings of wrk. ``cores``: where wrk runs."""

    folder: Path
    cores: set[int]
    mixed: bool = False

    def script(self) -> Path:
        """Write wrk's Lua script and return its path."""
        file = self.folder / ("mixed.lua" if self.mixed else "read.lua")
        file.write_text(_REPORT + (_MIXED if self.mixed else ""))
        return file

    def check(self, name: str, server: Server, answer: str) -> None:
        """BenchmarkError when the server does not forward a request and its response."""
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", READ_PATH, headers={"Authorization": f"Bearer {server.token}"})
            got = connection.getresponse()
            body = got.read().decode(errors="replace")
        if got.status != 200 or body != answer:
            raise BenchmarkError(f"{name} does not forward requests: {got.status} {body[:500]}")

    def run(self, server: Server, connections: int, seconds: float) -> Sample:
        """Run wrk with this number of connections for this time (rounded up to whole seconds)."""
        run_seconds = math.ceil(seconds)
        command = [need("wrk"), "--threads", "1", "--connections", str(connections), "--duration", f"{run_seconds}s"]
        options = ["--timeout", "10s", "--header", f"Authorization: Bearer {server.token}"]
        url = f"http://127.0.0.1:{server.port}{READ_PATH}"
        pids = server.pids
        cpu, began = cpu_seconds(pids), time.monotonic()
        with pinned(self.cores):
            done = subprocess.run(
                [*command, *options, "--script", str(self.script()), url],
                capture_output=True,
                text=True,
                check=False,
                timeout=run_seconds + 30,
            )
        cpu, took = cpu_seconds(pids) - cpu, time.monotonic() - began
        found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$", done.stdout, re.MULTILINE)
        if not found:
            raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")
        requests, duration, p50, p99, refused, broken = map(int, found.groups())
        return Sample(
            per_second=requests / (duration / 1e6),
            p50_ms=p50 / 1000,
            p99_ms=p99 / 1000,
            cpu_us=cpu * 1e6 / max(requests, 1),
            busy=cpu / took,
            refused=refused,
            broken=broken,
        )
