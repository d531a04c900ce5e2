"""Terminal output of `make up`: startup steps, one line per request, and warnings of the child processes."""

import contextlib
import json
import logging
import os
import re
import sys
import threading
import time
from datetime import datetime
from typing import Any, cast

_WARNING = re.compile(r"\b(?:WARNING|ERROR|CRITICAL)\b|^Traceback ")
_RED, _YELLOW, _DIM, _PLAIN = "\033[31m", "\033[33m", "\033[2m", "\033[0m"


class Console:
    """Writes complete lines, from any thread; ignores a closed terminal."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._colors = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.hidden_requests = 0
        """Number of requests still to come that `make up` itself sends; they are not shown."""

    def write(self, text: str = "") -> None:
        """Print the text."""
        with self._lock, contextlib.suppress(OSError):
            print(text, flush=True)

    def step(self, service: str) -> None:
        """Report that a service is ready, with the seconds since the start."""
        self.write(f"  {service:<15} ready  {time.monotonic() - self._began:5.1f} s")

    def child_output(self, name: str, line: str) -> None:
        """Show a line of a child's output if it is a warning or an error."""
        if _WARNING.search(line):
            self.write(self._colored(_YELLOW, f"{name}: {line}"))

    def proxy_log(self, line: str) -> None:
        """Show a line of the proxy's JSON log: requests in columns, warnings and errors as text."""
        try:
            parsed: object = json.loads(line)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            self.child_output("proxy", line)
            return
        entry = cast("dict[str, Any]", parsed)
        if entry.get("event") == "request":
            if self.hidden_requests:
                self.hidden_requests -= 1
            else:
                self.write(self._request_line(entry))
        elif entry.get("level") not in {"info", "debug"}:
            self.write(self._colored(_YELLOW, f"proxy: {entry.get('message', line)}"))

    def _request_line(self, entry: dict[str, Any]) -> str:
        moment = datetime.fromisoformat(str(entry["time"])).astimezone()
        status = int(entry["status"])
        # No route: the path is not one of MLflow's, or the request was rejected before routing.
        route = entry.get("route") or ("(no such route)" if status == 404 else "-")
        line = (
            f"{moment:%H:%M:%S}  {entry.get('principal') or '-':<12} {entry['method']:<7} {status} "
            f"{float(entry['duration_ms']):7.0f} ms  {route}"
        )
        if error := entry.get("error"):
            line += f"  {error}"
        return self._colored(_RED if status >= 500 else _YELLOW if status >= 400 else "", line)

    def _colored(self, color: str, text: str) -> str:
        return f"{color}{text}{_PLAIN}" if color and self._colors else text


class ConsoleLogHandler(logging.Handler):
    """Shows warnings logged in this process, which are those of the fake SageMaker."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Show the message, shortened to 300 characters."""
        text = record.getMessage()
        self._console.child_output("fake SageMaker", f"{record.levelname} {text[:300]}{'...' * (len(text) > 300)}")
