"""What `make up` shows: its steps, what to paste, a line a request, and other processes' warnings."""

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


class Screen:
    """Writes whole lines, from any thread; goes on in silence when the terminal has gone."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.hidden_requests = 0
        """How many of the next requests are our own, and are not shown."""

    def say(self, text: str = "") -> None:
        with self._lock, contextlib.suppress(OSError):
            print(text, flush=True)

    def step(self, what: str, how: str = "ready") -> None:
        self.say(f"  {what:<22} {how:<8} {time.monotonic() - self._began:5.1f} s")

    def child_line(self, name: str, line: str) -> None:
        """Show a line of another process if it is a warning."""
        if _WARNING.search(line):
            self.say(self._coloured(_YELLOW, f"{name}: {line}"))

    def proxy_line(self, line: str) -> None:
        """Show a line of the proxy's log as a person reads it."""
        try:
            parsed: object = json.loads(line)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            self.child_line("proxy", line)
            return
        entry = cast("dict[str, Any]", parsed)
        if entry.get("event") == "request":
            if self.hidden_requests:
                self.hidden_requests -= 1
            else:
                self.say(self._request(entry))
        elif entry.get("level") not in {"info", "debug"}:
            self.say(self._coloured(_YELLOW, f"proxy: {entry.get('message', line)}"))

    def _request(self, entry: dict[str, Any]) -> str:
        moment = datetime.fromisoformat(str(entry["time"])).astimezone()
        status = int(entry["status"])
        # Without a route: it is not MLflow's, or the proxy did not go so far as to look.
        route = entry.get("route") or ("(no such route)" if status == 404 else "-")
        line = (
            f"{moment:%H:%M:%S}  {entry.get('caller') or '-':<12} {entry['method']:<7} {status} "
            f"{float(entry['ms']):7.0f} ms  {route}"
        )
        if error := entry.get("error"):
            line += f"  {error}"
        return self._coloured(_RED if status >= 500 else _YELLOW if status >= 400 else "", line)

    def _coloured(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if colour and self._colours else text


class ScreenHandler(logging.Handler):
    """Shows this process's own warnings: the fake SageMaker's."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self._screen.child_line("fake SageMaker", f"{record.levelname} {text[:300]}{'...' * (len(text) > 300)}")
