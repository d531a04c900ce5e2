"""`python -m mlflow_app` as a process, with the environment that the container has."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path

from tests.mlflow_app.app import App

ROOT = Path(__file__).parents[2]


def environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """An environment without this machine's variables and credentials."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(ROOT / ".local/cache/pyc"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "MLFLOW_PROXY_METRICS_LISTEN": "127.0.0.1:0",
        **settings,
    }


class AppProcess(App):
    """An instance that listens on a free port."""

    def __init__(self, folder: Path, settings: Mapping[str, str], *command: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow_app", *command],
            cwd=folder,
            env=environment(folder, {"MLFLOW_PROXY_LISTEN": f"127.0.0.1:{port}", **settings}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        super().__init__(f"http://127.0.0.1:{port}", process)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.output.terminate()

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does."""
        self.output.send_signal(signal.SIGINT)

    def wait_for_exit(self, timeout: float) -> int:
        return self.output.wait(timeout)

    def child(self, module: str) -> int:
        """The process id of the child that runs the module."""
        return next(pid for pid in _children(self.output.pid) if module in _command(pid))

    def workers(self) -> list[int]:
        """The process ids of MLflow's workers."""
        return _children(self.child("mlflow_app.server"))

    def kill_all(self) -> None:
        """Kill the instance and its children."""
        for pid in [*_children(self.output.pid), self.output.pid] if self.running else ():
            with contextlib.suppress(ProcessLookupError):
                (os.kill if pid == self.output.pid else os.killpg)(pid, signal.SIGKILL)
        self.exit_code()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@contextlib.contextmanager
def started_together(folder: Path, several: Iterable[Mapping[str, str]], *command: str) -> Generator[list[AppProcess]]:
    """An instance for each of the settings, all started at once."""
    with contextlib.ExitStack() as stack:
        started: list[AppProcess] = []
        for number, settings in enumerate(several):
            own = folder / str(number)
            own.mkdir(parents=True)
            started.append(AppProcess(own, settings, *command))
            stack.callback(started[-1].kill_all)
        yield started
