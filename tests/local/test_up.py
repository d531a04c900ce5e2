"""`make up` from start to end, in folders of its own."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psutil
import pytest

from local.processes import ROOT
from tests.doubles.fixtures import s3_client

# The first start in a new place compiles MLflow, on a machine that may be busy.
PATIENCE = 110.0
READY = "Ctrl-C ends it."
LOST = "mlp_from-another-time"


class Up:
    """`python -m local` as the Makefile runs it, with what it shows in a file."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        self.user_home = home.with_name("user")
        self.user_home.mkdir(exist_ok=True)
        self._shown = home.with_name(f"shown-{time.monotonic_ns()}")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_PROXY_"))}
        # What a developer may have: none of it may matter, and their home stays untouched.
        environ |= {
            "HOME": str(self.user_home),
            "AWS_PROFILE": "production",
            "MLFLOW_PROXY_AUTH": "off",
            "MLFLOW_TRACKING_URI": "http://192.0.2.1",
            "HTTP_PROXY": "http://192.0.2.1:3128",
        }
        with self._shown.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "local", "--home", str(home), *(options or ("--port", "0"))],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def shown(self) -> str:
        return self._shown.read_text()

    def wait_shown(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert self.process.poll() is None, self.shown
            assert time.monotonic() < deadline, self.shown
            time.sleep(0.05)

    @property
    def exports(self) -> dict[str, str]:
        """The lines to paste, pasted."""
        return dict(re.findall(r"export (\w+)=(\S+)", self.shown))

    @property
    def url(self) -> str:
        return self.exports["MLFLOW_TRACKING_URI"]

    def call(self, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        """(status, JSON) of a request to the proxy."""
        headers = {"Authorization": f"Bearer {token or self.exports['MLFLOW_TRACKING_TOKEN']}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {**headers, "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def processes(self) -> list[psutil.Process]:
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def end(self, number: signal.Signals) -> int:
        """Send the signal, and fail if a process is left; the exit code."""
        processes = self.processes()
        self.process.send_signal(number)
        code = self.process.wait(30)
        _, alive = psutil.wait_procs(processes, timeout=10)
        assert not alive, self.shown
        return code


@contextlib.contextmanager
def started(home: Path) -> Generator[Up]:
    up = Up(home)
    try:
        up.wait_shown(READY)
        yield up
    finally:
        if up.process.poll() is None:
            up.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Generator[Up]:
    """One that all but the last tests share. It starts with a token that the proxy no longer knows."""
    home = tmp_path_factory.mktemp("up") / "local"
    data = home / "data"
    data.mkdir(parents=True)
    (data / "local-token").write_text(LOST + "\n")
    (data / "tokens.json").write_text('{"tokens": []}')
    with started(home) as up:
        yield up


def test_a_token_that_was_revoked_or_has_expired_is_made_anew(up: Up) -> None:
    assert up.exports["MLFLOW_TRACKING_TOKEN"] != LOST
    assert up.call("/api/2.0/mlflow/experiments/search?max_results=1")[0] == 200


def test_the_shown_lines_are_all_that_a_client_needs(up: Up, tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPYCACHEPREFIX": sys.pycache_prefix or ""}
    environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    client = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("plugin_client.py")), "from the shown lines"],
        env=environ | up.exports,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert client.returncode == 0, client.stderr
    assert json.loads(client.stdout.splitlines()[-1])["kept"] == "kept in S3"
    assert re.search(r"local +POST +200 +\d+ ms +/api/2.0/mlflow/runs/log-batch", up.shown), up.shown


def test_verify_passes_with_the_shown_lines(up: Up, tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPYCACHEPREFIX": sys.pycache_prefix or ""}
    verify = subprocess.run(
        [sys.executable, "-m", "verify"],
        env=environ | up.exports,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert verify.returncode == 0, verify.stdout + verify.stderr
    assert re.search(r"PASSED: \d+ ok, in ", verify.stdout), verify.stdout


def test_a_line_is_shown_for_a_refused_request(up: Up) -> None:
    assert up.call("/api/2.0/mlflow/experiments/search?max_results=1", token="wrong")[0] == 401
    up.wait_shown("GET     401")


def test_it_can_be_told_to_fail(up: Up) -> None:
    faults = re.search(r"curl -d '(.*)' (\S+)", up.shown)
    assert faults is not None
    told = json.loads(faults[1])
    with urllib.request.urlopen(faults[2], json.dumps({**told, "times": 1}).encode()) as response:
        assert response.status == 200
    assert up.call("/api/2.0/mlflow/runs/create", {"experiment_id": "0"})[0] == 429
    assert up.call("/api/2.0/mlflow/runs/create", {"experiment_id": "0"})[0] == 200


def test_a_second_one_says_that_it_runs_already(up: Up) -> None:
    second = Up(up.home, "--port", "0")
    assert second.process.wait(30) == 1
    assert second.shown.splitlines() == [
        f"It runs already: {up.url} (end it with Ctrl-C in its terminal, or: kill {up.process.pid})."
    ]


def test_a_port_in_use_is_named_with_a_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = Up(tmp_path / "local", "--port", str(port))
        assert up.process.wait(30) == 1
    assert up.shown.startswith(f"Port {port} cannot be used")
    assert f"Port {port} cannot be used" in up.shown
    assert "make up PORT=" in up.shown
    assert len(up.shown.splitlines()) == 1


def test_only_its_owner_can_read_the_token(up: Up) -> None:
    file = up.home / "data" / "local-token"
    assert file.read_text().strip() == up.exports["MLFLOW_TRACKING_TOKEN"]
    assert file.stat().st_mode & 0o777 == 0o600


# After the others that share this one.
def test_ctrl_c_ends_it_and_leaves_nothing(up: Up) -> None:
    assert up.end(signal.SIGINT) == 0
    assert up.shown.rstrip().endswith("Stopped. The data stays for the next start.")
    assert "Traceback" not in up.shown
    assert "WARNING" not in up.shown, up.shown
    assert list(up.user_home.rglob("*")) == []
    assert {path.name for path in up.home.iterdir()} == {"data", "logs", "up-scratch", "up.lock"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_can_be_ended_in_the_middle_of_its_start(tmp_path: Path, number: signal.Signals) -> None:
    up = Up(tmp_path / "local")
    up.wait_shown("fake SageMaker")
    assert len(up.processes()) > 1
    assert up.end(number) == 0
    assert "Traceback" not in up.shown


def test_kill_9_leaves_no_process_loses_nothing_and_the_next_start_is_quick(tmp_path: Path) -> None:
    create = "/api/2.0/mlflow/experiments/create"
    with started(tmp_path / "local") as up:
        status, answer = up.call(create, {"name": "kept"})
        assert status == 200, answer
        s3_client(up.exports).put_object(Bucket="mlflow", Key="kept", Body=b"kept")
        token = up.exports["MLFLOW_TRACKING_TOKEN"]
        assert up.end(signal.SIGKILL) == -signal.SIGKILL

    with started(tmp_path / "local") as again:
        # A second start takes less than 10 s: by processor time, which other work on the machine disturbs least.
        assert sum(sum(process.cpu_times()[:4]) for process in again.processes()) < 10
        assert again.exports["MLFLOW_TRACKING_TOKEN"] == token
        assert again.call(create, {"name": "kept"})[1]["error_code"] == "RESOURCE_ALREADY_EXISTS"
        assert s3_client(again.exports).get_object(Bucket="mlflow", Key="kept")["Body"].read() == b"kept"

        # And when one part dies, all end, with what that part said last.
        processes = again.processes()
        named = [process for process in processes if "local.s3" in process.cmdline()]
        assert len(named) == 2  # the guard and what it guards
        named[-1].kill()
        assert again.process.wait(30) == 1
        assert "S3 ended with exit code" in again.shown
        _, alive = psutil.wait_procs(processes, timeout=10)
        assert not alive
