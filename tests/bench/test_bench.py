"""The benchmark measures and leaves no process running. Its results are not tested: they depend on the machine."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import fairness, memory, throughput
from bench.bulk import MIB
from bench.machine import find, tree
from bench.processes import ROOT


@pytest.fixture(autouse=True)
def _tools() -> None:
    for program in ("wrk", "nginx"):
        if not find(program):
            pytest.skip(f"needs {program}: apt-get install {program}")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores: one for the measured server, one for the load generator")


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def poll(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_throughput_measures_all_servers_and_stops_them(capsys: pytest.CaptureFixture[str]) -> None:
    before = set(tree(os.getpid()))
    plan = throughput.Plan(only=("proxy", "flask"), connections=(4,), rounds=1, seconds=1)
    figures = {row["server"]: row for row in throughput.run(plan)["throughput"]}
    assert set(figures) == {"proxy", "flask"}
    for row in figures.values():
        assert row["per_second"] > 1
        assert 0 < row["p50_ms"] <= row["p99_ms"] < 1000
        assert 0 < row["cpu_us"] < 1e6
        assert row["refused"] == row["broken"] == 0
    assert "requests/s, proxy / flask" in capsys.readouterr().out
    assert set(tree(os.getpid())) <= before


def test_polite_client_beside_a_flood_is_never_refused() -> None:
    figures = {row["case"]: row for row in fairness.run(rounds=1, seconds=2)["fairness"]}
    assert set(figures) == {"alone", "flood, limits", "flood, no limits"}
    for row in figures.values():
        assert row["requests"] > 1
        assert row["refused"] == 0


def test_baseline_is_the_proxy_of_another_checkout(tmp_path: Path) -> None:
    checkout = tmp_path / "other"
    shutil.copytree(ROOT / "proxy_app", checkout / "proxy_app")
    plan = throughput.Plan(only=("proxy",), connections=(4,), rounds=1, seconds=1, baseline=checkout)
    figures = {row["server"]: row for row in throughput.run(plan)["throughput"]}
    assert set(figures) == {"proxy", "baseline"}
    assert all(row["per_second"] > 1 and row["refused"] == row["broken"] == 0 for row in figures.values())


def test_memory_measures_a_large_download() -> None:
    case = memory.Case("download", 8 * MIB, upload=False, signed=True)
    with memory.start_upstreams(("flask",)) as upstreams, upstreams.server("flask", case) as server:
        result = upstreams.send(server, case)
    assert result.problems == {}
    # The Flask proxy buffers the whole response.
    assert 8 <= result.above < 200
    assert result.idle > 10


def test_ctrl_c_stops_all_processes_and_removes_files() -> None:
    command = [sys.executable, "-m", "bench", "throughput", "--only", "proxy", "flask", "--rounds", "9"]
    bench = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        # The benchmark, two processes each of the upstream and gunicorn, the proxy, and wrk.
        assert poll(lambda: len(tree(bench.pid)) >= 7), "the servers did not start"
        pids = tree(bench.pid)
        folders = {Path(f"/proc/{pid}/cwd").resolve() for pid in pids} - {ROOT}
        assert folders
        bench.send_signal(signal.SIGINT)
        assert bench.wait(20) == 128 + signal.SIGINT
        assert all(poll(lambda pid=pid: gone(pid)) for pid in pids)
        assert not any(folder.exists() for folder in folders)
    finally:
        bench.kill()
        bench.communicate()
