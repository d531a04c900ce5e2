"""Structured log entries for Cloud Logging: one JSON object per line on standard output.

https://cloud.google.com/logging/docs/structured-logging defines the special fields: severity, message, time,
httpRequest.
"""

import json
import logging
import sys
import time
from typing import Any, cast

_SEVERITIES = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR", "critical": "CRITICAL"}


def format_entry(severity: str, message: str, process: str, **fields: Any) -> str:
    """One log entry, a line. ``process`` is its origin: container, proxy or mlflow."""
    return json.dumps({"severity": severity, "time": _now(), "message": message, "process": process, **fields}) + "\n"


def log_as_json(process: str) -> None:
    """Configure ``logging`` so that everything logged in this process is written as such entries."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter(process))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # They log each plugin and each start-up step at INFO.
    for name in ("alembic.runtime.plugins", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)


def convert_proxy_line(line: str, *, is_error: bool) -> str:
    """Convert a line of the proxy's output; its JSON is not specific to a platform."""
    try:
        parsed = json.loads(line)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict) or "level" not in parsed:
        return convert_plain_line(line, "proxy", is_error=is_error)
    fields = cast("dict[str, Any]", parsed)
    severity = _SEVERITIES.get(fields.pop("level"), "DEFAULT")
    converted: dict[str, Any] = {"severity": severity, "process": "proxy"}
    if fields.get("event") == "request":
        converted |= _convert_request(fields)
    elif "exception" in fields:
        # Error Reporting detects stack traces in the message.
        converted["message"] = f"{fields.get('message', '')}\n{fields.pop('exception')}"
    return json.dumps({**fields, **converted}) + "\n"


def _convert_request(fields: dict[str, Any]) -> dict[str, Any]:
    """The message and the HTTP request of an access log line. The URL is omitted: a path may contain a secret."""
    method, status, duration_ms = fields.pop("method"), fields.pop("status"), fields.pop("duration_ms")
    return {
        "message": f"{method} {fields.get('route') or '-'} {status}",
        "httpRequest": {
            "requestMethod": method,
            "status": status,
            "requestSize": str(fields.pop("bytes_in")),
            "responseSize": str(fields.pop("bytes_out")),
            "latency": f"{duration_ms / 1000:.4f}s",
        },
    }


def convert_mlflow_line(line: str, *, is_error: bool) -> str:
    """Convert a line of MLflow's process: its log has this form already, text that libraries print does not."""
    return f"{line}\n" if line.startswith('{"severity": ') else convert_plain_line(line, "mlflow", is_error=is_error)


def convert_plain_line(line: str, process: str, *, is_error: bool) -> str:
    """An entry for a line of text; WARNING if it was written to standard error."""
    return format_entry("WARNING" if is_error else "INFO", line, process)


class _Formatter(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        severity = _SEVERITIES.get(record.levelname.lower(), "DEFAULT")
        return format_entry(severity, message, self._process, logger=record.name, pid=record.process).rstrip("\n")


def _now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds // 1000:06d}Z"
