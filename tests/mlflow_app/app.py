"""A running MLflow image, as a process or a container, from outside."""

import abc
import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import requests

# Seconds. Several instances start at once, and each imports MLflow.
START_TIMEOUT = 150.0


class App(abc.ABC):
    """`lines` are the parsed log entries, `unparsed` are lines that are not JSON."""

    def __init__(self, url: str, output: subprocess.Popen[str]) -> None:
        """`output` is the process whose standard output has the log; it exits with the instance."""
        self.url = url
        self.lines: list[dict[str, Any]] = []
        self.unparsed: list[str] = []
        self.output = output
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with self.output.stdout or contextlib.nullcontext([]) as lines:
            for line in lines:
                try:
                    self.lines.append(json.loads(line))
                except ValueError:
                    self.unparsed.append(line)

    @property
    def running(self) -> bool:
        return self.output.poll() is None

    @abc.abstractmethod
    def terminate(self) -> None:
        """Send SIGTERM."""

    @abc.abstractmethod
    def wait_for_exit(self, timeout: float) -> int:
        """Wait for the exit; returns the exit code."""

    def exit_code(self, timeout: float = 30) -> int:
        """Wait for the exit and the last line; returns the exit code."""
        code = self.wait_for_exit(timeout)
        self.read_to_end(timeout)
        return code

    def read_to_end(self, timeout: float = 30) -> None:
        """Read the rest of the log after the exit."""
        self.output.wait(timeout)
        self._reader.join(timeout)

    @property
    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines if "message" in line]

    def messages_with(self, text: str) -> list[str]:
        """The messages that contain the text."""
        return [message for message in self.messages if text in message]

    def status(self, path: str, **options: Any) -> int:
        """The status of a GET request; 0 without a response."""
        try:
            return requests.get(self.url + path, timeout=30, **options).status_code
        except requests.ConnectionError:
            return 0

    def wait(self, condition: Callable[[], object], timeout: float = START_TIMEOUT) -> None:
        end = time.monotonic() + timeout
        while not condition():
            assert self.running, "\n".join([*self.messages, *self.unparsed])
            assert time.monotonic() < end, "\n".join(self.messages[-20:])
            time.sleep(0.05)

    def wait_ready(self) -> None:
        """Wait until MLflow serves. The log is checked first: /readyz alone would be up to 5 s late."""
        self.wait(lambda: self.messages_with("Serving MLflow with"))
        self.wait(lambda: self.status("/readyz") == 200)
