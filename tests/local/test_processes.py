"""Child processes end with their parent, and their output is logged."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from local.processes import ROOT, Child, ChildError, child_environ

# Starts a child that itself has a child, prints its process id, and waits.
PARENT = """
import sys, time
from pathlib import Path
from local.processes import Child, child_environ
scratch = Path(sys.argv[1])
command = ["-c", "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"]
child = Child("child", command, child_environ(scratch, {}), scratch / "log")
print(child.pid, flush=True)
time.sleep(600)
"""


def test_kill_9_of_parent_ends_children_and_grandchildren(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout
        watchdog = psutil.Process(int(parent.stdout.readline()))
        processes = _with_descendants(watchdog, 2)
        parent.kill()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive


def test_child_ends_with_its_watchdog(tmp_path: Path) -> None:
    command = ["-c", "import time; print('here', flush=True); time.sleep(600)"]
    child = Child("The child", command, child_environ(tmp_path, {}), tmp_path / "log")
    processes = _with_descendants(psutil.Process(child.pid), 1)
    processes[0].kill()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive
    child.stop(1)


def test_unexpected_end_is_reported_with_last_lines(tmp_path: Path) -> None:
    ended: list[Child] = []
    command = ["-c", "import sys; print('first'); sys.exit('the error')"]
    child = Child("The child", command, child_environ(tmp_path, {}), tmp_path / "log", on_end=ended.append)
    with pytest.raises(ChildError, match=r"The child ended with exit code 1.\n  first\n  the error"):
        child.wait_for_url(20)
    child.stop(1)
    assert ended == [child]
    assert (tmp_path / "log").read_text() == "first\nthe error\n"


def test_log_of_previous_start_is_renamed(tmp_path: Path) -> None:
    for number in range(3):
        child = Child("The child", ["-c", f"print({number})"], child_environ(tmp_path, {}), tmp_path / "log")
        with pytest.raises(ChildError):
            child.wait_for_url(20)
        child.stop(1)
    assert {path.name: path.read_text() for path in tmp_path.glob("log*")} == {"log": "2\n", "log.1": "1\n"}


def test_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    ignoring = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ignoring', flush=True)"
    child = Child("The child", ["-c", f"{ignoring}; time.sleep(600)"], child_environ(tmp_path, {}), tmp_path / "log")
    processes = _with_descendants(psutil.Process(child.pid), 1)
    while "ignoring" not in (tmp_path / "log").read_text():
        time.sleep(0.02)
    child.stop(0.2)
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive


def test_child_environment_excludes_parent_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_PROFILE",
        "AWS_SECRET_ACCESS_KEY",
        "MLFLOW_PROXY_AUTH",
        "HTTPS_PROXY",
        "MLFLOW_TRACKING_URI",
        "PYTHONPATH",
    ):
        monkeypatch.setenv(name, "inherited")
    environ = child_environ(tmp_path, {"MLFLOW_PROXY_LISTEN": "127.0.0.1:1"})
    assert "inherited" not in environ.values()
    assert environ["MLFLOW_PROXY_LISTEN"] == "127.0.0.1:1"
    assert Path(environ["HOME"]).is_relative_to(tmp_path)
    assert Path(environ["TMPDIR"]).is_relative_to(tmp_path)


def _with_descendants(watchdog: psutil.Process, count: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 20
    while len(descendants := watchdog.children(recursive=True)) < count:
        assert time.monotonic() < deadline, descendants
        time.sleep(0.02)
    return [watchdog, *descendants]
