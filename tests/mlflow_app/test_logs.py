"""Log entries in the format of Cloud Logging."""

import json
import logging
import sys

import pytest

from mlflow_app import logs

REQUEST = {
    "time": "2026-11-22T10:00:00.123Z",
    "level": "error",
    "event": "request",
    "request_id": "ab12",
    "principal": "ann@example.org",
    "role": "editor",
    "method": "POST",
    "route": "/api/2.0/mlflow/runs/create",
    "status": 502,
    "bytes_in": 100,
    "bytes_out": 20,
    "duration_ms": 12.3,
    "upstream_duration_ms": None,
    "attempts": 1,
    "error": "upstream-connect-error",
}


def convert_proxy_line(line: object, *, is_error: bool = False) -> dict[str, object]:
    text = line if isinstance(line, str) else json.dumps(line)
    written = logs.convert_proxy_line(text, is_error=is_error)
    assert written.endswith("}\n")
    assert written.count("\n") == 1
    return json.loads(written)


def test_request_has_status_and_latency() -> None:
    assert convert_proxy_line(REQUEST) == {
        "time": "2026-11-22T10:00:00.123Z",
        "severity": "ERROR",
        "process": "proxy",
        "message": "POST /api/2.0/mlflow/runs/create 502",
        "httpRequest": {
            "requestMethod": "POST",
            "status": 502,
            "requestSize": "100",
            "responseSize": "20",
            "latency": "0.0123s",
        },
        "event": "request",
        "request_id": "ab12",
        "principal": "ann@example.org",
        "role": "editor",
        "route": "/api/2.0/mlflow/runs/create",
        "upstream_duration_ms": None,
        "attempts": 1,
        "error": "upstream-connect-error",
    }


def test_request_without_route_has_message() -> None:
    assert convert_proxy_line({**REQUEST, "route": None})["message"] == "POST - 502"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_levels_are_converted_to_severities(level: str) -> None:
    line = convert_proxy_line({"level": level, "event": "ready", "message": "Ready again"})
    assert (line["severity"], line["message"]) == (level.upper(), "Ready again")
    assert "level" not in line


def test_stack_trace_is_part_of_the_message() -> None:
    line = convert_proxy_line({"level": "error", "event": "x", "message": "failed", "exception": "Traceback ...\nOops"})
    assert line["message"] == "failed\nTraceback ...\nOops"


@pytest.mark.parametrize("text", ["The proxy cannot start.", '"text"', "[1]", '{"no": "level"}', ""])
def test_other_output_of_the_proxy_is_logged_unchanged(text: str) -> None:
    assert convert_proxy_line(text, is_error=True)["message"] == text
    assert convert_proxy_line(text, is_error=True)["severity"] == "WARNING"
    assert convert_proxy_line(text)["severity"] == "INFO"


def test_entries_of_mlflow_pass_and_other_lines_are_converted() -> None:
    own = logs.format_entry("ERROR", "failed", "mlflow").rstrip("\n")
    assert logs.convert_mlflow_line(own, is_error=False) == own + "\n"
    wrapped = json.loads(logs.convert_mlflow_line("Segmentation fault", is_error=True))
    assert (wrapped["severity"], wrapped["message"], wrapped["process"]) == ("WARNING", "Segmentation fault", "mlflow")


def test_logged_exception_is_one_line_with_stack_trace(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.log_as_json("mlflow")
        root.handlers[0].setStream(sys.stdout)  # pyright: ignore
        try:
            raise ValueError("a line\nand another")
        except ValueError:
            # Not MLflow's: its import, by another test of this process, gives its loggers handlers.
            logging.getLogger("any.store").exception("It failed: %s", "why")
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:], root.level = before, level
    (line,) = capsys.readouterr().out.splitlines()
    entry = json.loads(line)
    assert entry["severity"] == "ERROR"
    assert entry["message"].startswith("It failed: why\nTraceback (most recent call last):\n")
    assert entry["message"].endswith("ValueError: a line\nand another")
    assert entry["logger"] == "any.store"
