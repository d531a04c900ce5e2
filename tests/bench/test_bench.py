"""The benchmark measures, and leaves nothing running. Its figures are nobody's test: they depend on the machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import memory, throughput
from bench.bulk import MIB
from bench.machine import find, tree
from bench.processes import ROOT


@pytest.fixture(autouse=True)
def _tools() -> None:
    for program in ("wrk", "nginx"):
        if not find(program):
            pytest.skip(f"needs {program}: apt-get install {program}")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores: one for what is measured, one for the load")


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def poll(what: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_the_proxy_and_the_flask_design_are_measured_and_then_gone(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_large_body_arrives_whole_and_its_memory_is_seen() -> None:
    case = memory.Case("download", 8 * MIB, upload=False, signed=True)
    with memory.ground(("flask",)) as here, here.server("flask", case) as server:
        result = here.send(server, case)
    assert result.problems == {}
    # The design holds an answer whole.
    assert 8 <= result.above < 200
    assert result.idle > 10


def test_ctrl_c_ends_every_process_and_removes_what_was_written() -> None:
    command = [sys.executable, "-m", "bench", "throughput", "--only", "proxy", "flask", "--rounds", "9"]
    bench = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        # Itself, the upstream's and gunicorn's two processes each, the proxy, and wrk.
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
