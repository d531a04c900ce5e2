"""Lines as Cloud Logging reads them."""

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
    "caller": "ann@example.org",
    "role": "editor",
    "method": "POST",
    "route": "/api/2.0/mlflow/runs/create",
    "status": 502,
    "bytes_in": 100,
    "bytes_out": 20,
    "ms": 12.3,
    "upstream_ms": None,
    "attempts": 1,
    "error": "upstream-unreachable",
}


def of_the_proxy(line: object, *, is_error: bool = False) -> dict[str, object]:
    text = line if isinstance(line, str) else json.dumps(line)
    written = logs.of_the_proxy(text, is_error=is_error)
    assert written.endswith("}\n")
    assert written.count("\n") == 1
    return json.loads(written)


def test_a_request_is_shown_with_its_status_and_latency() -> None:
    assert of_the_proxy(REQUEST) == {
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
        "caller": "ann@example.org",
        "role": "editor",
        "route": "/api/2.0/mlflow/runs/create",
        "upstream_ms": None,
        "attempts": 1,
        "error": "upstream-unreachable",
    }


def test_a_request_without_a_route_has_a_message_too() -> None:
    assert of_the_proxy({**REQUEST, "route": None})["message"] == "POST - 502"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_levels_become_severities(level: str) -> None:
    line = of_the_proxy({"level": level, "event": "ready", "message": "Ready again"})
    assert (line["severity"], line["message"]) == (level.upper(), "Ready again")
    assert "level" not in line


def test_a_stack_trace_stands_in_the_message_where_error_reporting_looks() -> None:
    line = of_the_proxy({"level": "error", "event": "x", "message": "broke", "exception": "Traceback ...\nOops"})
    assert line["message"] == "broke\nTraceback ...\nOops"


@pytest.mark.parametrize("text", ["The proxy cannot start.", '"text"', "[1]", '{"no": "level"}', ""])
def test_what_is_no_line_of_the_proxy_log_is_kept_as_it_is(text: str) -> None:
    assert of_the_proxy(text, is_error=True)["message"] == text
    assert of_the_proxy(text, is_error=True)["severity"] == "WARNING"
    assert of_the_proxy(text)["severity"] == "INFO"


def test_mlflows_own_lines_pass_and_others_are_wrapped() -> None:
    own = logs.entry("ERROR", "broke", "mlflow").rstrip("\n")
    assert logs.of_mlflow(own, is_error=False) == own + "\n"
    wrapped = json.loads(logs.of_mlflow("Segmentation fault", is_error=True))
    assert (wrapped["severity"], wrapped["message"], wrapped["process"]) == ("WARNING", "Segmentation fault", "mlflow")


def test_what_is_logged_is_one_line_with_its_stack_trace(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.log_as_json("mlflow")
        root.handlers[0].setStream(sys.stdout)  # pyright: ignore
        try:
            raise ValueError("a line\nand another")
        except ValueError:
            logging.getLogger("mlflow.store").exception("It broke: %s", "why")
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:], root.level = before, level
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert said["severity"] == "ERROR"
    assert said["message"].startswith("It broke: why\nTraceback (most recent call last):\n")
    assert said["message"].endswith("ValueError: a line\nand another")
    assert said["logger"] == "mlflow.store"
