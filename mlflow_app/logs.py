"""Structured log entries: one JSON object per line on standard output.

On Google Cloud in the form of Cloud Logging: https://cloud.google.com/logging/docs/structured-logging defines the
special fields severity, message, time and httpRequest. In front of SageMaker in the proxy's own form, which the
metric filters of CloudWatch expect.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from proxy_app.logs import timestamp

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


def _proxy_entry(severity: str, message: str, process: str) -> str:
    """An entry in the proxy's form (proxy_app/logs.py)."""
    return json.dumps({"time": timestamp(), "level": severity.lower(), "event": process, "message": message}) + "\n"


def _keep_json(process: str) -> Callable[..., str]:
    """A conversion of lines of a process that writes the proxy's form; text that libraries print gets it, too."""

    def convert(line: str, *, is_error: bool) -> str:
        if line.startswith('{"time": '):
            return f"{line}\n"
        return _proxy_entry("WARNING" if is_error else "INFO", line, process)

    return convert


@dataclass(frozen=True, slots=True)
class LogFormat:
    """The form of a container's log.

    ``entry``: an entry of the container itself, from severity, message and process. ``proxy_line``, ``mlflow_line``:
    conversions of a line of these processes; ``is_error``: it was written to standard error.
    """

    entry: Callable[[str, str, str], str]
    proxy_line: Callable[..., str]
    mlflow_line: Callable[..., str]


CLOUD_LOGGING = LogFormat(format_entry, convert_proxy_line, convert_mlflow_line)
CLOUDWATCH = LogFormat(_proxy_entry, _keep_json("proxy"), _keep_json("mlflow"))


def log_format(target_arn: str) -> LogFormat:
    """The form for the cloud of the container: AWS with a SageMaker target, else Google Cloud."""
    return CLOUDWATCH if target_arn else CLOUD_LOGGING


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
