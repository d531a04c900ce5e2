"""Child processes: none outlives who started it, and what they say is kept."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from local.processes import ROOT, Child, ChildError, child_environ

# Starts a guarded command that has a child of its own, says its pid, and waits.
OWNER = """
import sys, time
from pathlib import Path
from local.processes import Child, child_environ
scratch = Path(sys.argv[1])
command = ["-c", "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"]
child = Child("child", command, child_environ(scratch, {}), scratch / "log")
print(child.pid, flush=True)
time.sleep(600)
"""


def test_kill_9_of_the_owner_ends_the_children_and_theirs(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout
        guard = psutil.Process(int(owner.stdout.readline()))
        processes = _with_below(guard, 2)
        owner.kill()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive


def test_a_child_ends_with_its_guard(tmp_path: Path) -> None:
    command = ["-c", "import time; print('here', flush=True); time.sleep(600)"]
    child = Child("The child", command, child_environ(tmp_path, {}), tmp_path / "log")
    processes = _with_below(psutil.Process(child.pid), 1)
    processes[0].kill()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive
    child.stop(1)


def test_a_child_that_ends_is_told_of_with_its_last_lines(tmp_path: Path) -> None:
    ended: list[Child] = []
    command = ["-c", "import sys; print('first'); sys.exit('what was wrong')"]
    child = Child("The child", command, child_environ(tmp_path, {}), tmp_path / "log", on_end=ended.append)
    with pytest.raises(ChildError, match=r"The child ended with exit code 1.\n  first\n  what was wrong"):
        child.wait_announced(20)
    child.stop(1)
    assert ended == [child]
    assert (tmp_path / "log").read_text() == "first\nwhat was wrong\n"


def test_the_log_of_the_start_before_is_kept(tmp_path: Path) -> None:
    for number in range(3):
        child = Child("The child", ["-c", f"print({number})"], child_environ(tmp_path, {}), tmp_path / "log")
        with pytest.raises(ChildError):
            child.wait_announced(20)
        child.stop(1)
    assert {path.name: path.read_text() for path in tmp_path.glob("log*")} == {"log": "2\n", "log.1": "1\n"}


def test_a_child_that_does_not_listen_to_sigterm_is_killed(tmp_path: Path) -> None:
    ignoring = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)"
    child = Child("deaf", ["-c", f"{ignoring}; time.sleep(600)"], child_environ(tmp_path, {}), tmp_path / "log")
    processes = _with_below(psutil.Process(child.pid), 1)
    while "deaf" not in (tmp_path / "log").read_text():
        time.sleep(0.02)
    child.stop(0.2)
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive


def test_nothing_of_the_developers_environment_reaches_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_PROFILE",
        "AWS_SECRET_ACCESS_KEY",
        "MLFLOW_PROXY_AUTH",
        "HTTPS_PROXY",
        "MLFLOW_TRACKING_URI",
        "PYTHONPATH",
    ):
        monkeypatch.setenv(name, "theirs")
    environ = child_environ(tmp_path, {"MLFLOW_PROXY_LISTEN": "127.0.0.1:1"})
    assert "theirs" not in environ.values()
    assert environ["MLFLOW_PROXY_LISTEN"] == "127.0.0.1:1"
    assert Path(environ["HOME"]).is_relative_to(tmp_path)
    assert Path(environ["TMPDIR"]).is_relative_to(tmp_path)


def _with_below(guard: psutil.Process, count: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 20
    while len(below := guard.children(recursive=True)) < count:
        assert time.monotonic() < deadline, below
        time.sleep(0.02)
    return [guard, *below]
