"""MLflow's image at work, seen from outside, whether it is a process or a container."""

import abc
import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import requests

# Several start at once, on a machine that may be busy; each imports MLflow.
PATIENCE = 150.0


class App(abc.ABC):
    """`lines` are what it wrote, each of them parsed; `strays` what could not be."""

    def __init__(self, url: str, output: subprocess.Popen[str]) -> None:
        """`output` writes what it writes, and ends with it."""
        self.url = url
        self.lines: list[dict[str, Any]] = []
        self.strays: list[str] = []
        self.output = output
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with self.output.stdout or contextlib.nullcontext([]) as lines:
            for line in lines:
                try:
                    self.lines.append(json.loads(line))
                except ValueError:
                    self.strays.append(line)

    @property
    def running(self) -> bool:
        return self.output.poll() is None

    @abc.abstractmethod
    def terminate(self) -> None:
        """SIGTERM."""

    @abc.abstractmethod
    def ended(self, within: float) -> int:
        """Wait for its end; its exit code."""

    def exit_code(self, within: float = 30) -> int:
        """Wait for its end, and for its last line."""
        code = self.ended(within)
        self.heard(within)
        return code

    def heard(self, within: float = 30) -> None:
        """Wait for the last line of what has ended."""
        self.output.wait(within)
        self._reader.join(within)

    @property
    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines]

    def said(self, part: str) -> list[str]:
        """The messages that hold this text."""
        return [message for message in self.messages if part in message]

    def status(self, path: str, **options: Any) -> int:
        """0 when nobody answers."""
        try:
            return requests.get(self.url + path, timeout=30, **options).status_code
        except requests.ConnectionError:
            return 0

    def wait(self, holds: Callable[[], object], within: float = PATIENCE) -> None:
        end = time.monotonic() + within
        while not holds():
            assert self.running, "\n".join([*self.messages, *self.strays])
            assert time.monotonic() < end, "\n".join(self.messages[-20:])
            time.sleep(0.05)

    def wait_ready(self) -> None:
        """Until MLflow is there. /readyz would be up to 5 s late."""
        self.wait(lambda: self.said("MLflow is served by"))
        self.wait(lambda: self.status("/readyz") == 200)
