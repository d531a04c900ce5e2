"""Starts servers, waits until they listen, and stops them by process id in all cases."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bench.machine import BenchmarkError, pinned, tree

ROOT = Path(__file__).parents[1]
START_TIMEOUT_SECONDS = 30
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Server:
    """A running server: its process, its port at 127.0.0.1, and the bearer token that requests to it carry."""

    pid: int
    port: int
    token: str = "none"

    @property
    def pids(self) -> list[int]:
        """The ids of the process and its descendants."""
        return tree(self.pid)


@contextmanager
def workdir() -> Generator[Path]:
    """A temporary folder in .local for the keys, settings and logs of a run."""
    parent = ROOT / ".local" / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as name:
        yield Path(name)


@contextmanager
def ended_by_signals() -> Generator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP raises SystemExit; further ones are ignored during the cleanup."""

    def end(number: int, _frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {each: signal.signal(each, end) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def environment(home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of servers: no variables of the user, and made-up AWS credentials."""
    return {
        "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        **{name: os.environ[name] for name in ("PYTHONPYCACHEPREFIX",) if name in os.environ},
        "AWS_ACCESS_KEY_ID": "AKIDBENCH",
        "AWS_SECRET_ACCESS_KEY": "a-made-up-secret-for-the-benchmark",
        "AWS_EC2_METADATA_DISABLED": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **extra,
    }


@contextmanager
def serving(
    name: str,
    command: Sequence[str],
    *,
    port: int,
    folder: Path,
    on: set[int],
    env: Mapping[str, str] | None = None,
) -> Generator[Server]:
    """Run a server on the cores `on` until the block ends. BenchmarkError, with its output, if it does not listen."""
    log = folder / f"{name}.log"
    with log.open("wb") as output, pinned(on):
        # In a new session, so that Ctrl-C reaches only this process, which then stops the servers in order.
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=environment(folder, env or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(name, process, port, log)
        yield Server(process.pid, port)
    finally:
        _end(process)


def _wait(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            words = log.read_text(errors="replace")[-2000:].strip()
            raise BenchmarkError(f"{name} does not listen on 127.0.0.1:{port}. Its output:\n{words or '(nothing)'}")
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate the process, then kill it and its descendants."""
    pids = tree(process.pid)
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in pids[1:]:
        # Only processes of the session started here, since ids are reused.
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
