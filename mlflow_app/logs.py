"""What is logged, as Cloud Logging reads it from a container's output: one JSON object a line.

https://cloud.google.com/logging/docs/structured-logging names the fields that it knows: severity, message, time,
httpRequest.
"""

import json
import logging
import sys
import time
from typing import Any, cast

_SEVERITIES = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR", "critical": "CRITICAL"}


def entry(severity: str, message: str, process: str, **more: Any) -> str:
    """One line. ``process`` says who speaks: container, proxy or mlflow."""
    return json.dumps({"severity": severity, "time": _now(), "message": message, "process": process, **more}) + "\n"


def log_as_json(process: str) -> None:
    """Everything that is logged in this process becomes such a line on standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter(process))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # They tell of each of their parts.
    for name in ("alembic.runtime.plugins", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)


def of_the_proxy(line: str, *, is_error: bool) -> str:
    """A line of the proxy's, whose own JSON is made for any platform."""
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    if not isinstance(said, dict) or "level" not in said:
        return plain(line, "proxy", is_error=is_error)
    fields = cast("dict[str, Any]", said)
    severity = _SEVERITIES.get(fields.pop("level"), "DEFAULT")
    head: dict[str, Any] = {"severity": severity, "process": "proxy"}
    if fields.get("event") == "request":
        head |= _request(fields)
    elif "exception" in fields:
        # Error Reporting looks for a stack trace in the message.
        head["message"] = f"{fields.get('message', '')}\n{fields.pop('exception')}"
    return json.dumps({**fields, **head}) + "\n"


def _request(fields: dict[str, Any]) -> dict[str, Any]:
    """The line in the console's list, and what it shows beside it. There is no URL: a path may hold a secret."""
    method, status, took = fields.pop("method"), fields.pop("status"), fields.pop("ms")
    return {
        "message": f"{method} {fields.get('route') or '-'} {status}",
        "httpRequest": {
            "requestMethod": method,
            "status": status,
            "requestSize": str(fields.pop("bytes_in")),
            "responseSize": str(fields.pop("bytes_out")),
            "latency": f"{took / 1000:.4f}s",
        },
    }


def of_mlflow(line: str, *, is_error: bool) -> str:
    """A line of MLflow's process: its own log is in this form already, but not what a library prints."""
    return f"{line}\n" if line.startswith('{"severity": ') else plain(line, "mlflow", is_error=is_error)


def plain(line: str, process: str, *, is_error: bool) -> str:
    return entry("WARNING" if is_error else "INFO", line, process)


class _Formatter(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        severity = _SEVERITIES.get(record.levelname.lower(), "DEFAULT")
        return entry(severity, message, self._process, logger=record.name, pid=record.process).rstrip("\n")


def _now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds // 1000:06d}Z"
