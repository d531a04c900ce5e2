"""How `make up` shows the logs of its child processes."""

import json

import pytest

from local.console import Console


def request_line(**changes: object) -> str:
    entry = {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "info",
        "event": "request",
        "principal": "ci",
        "method": "POST",
        "route": "/api/2.0/mlflow/runs/create",
        "status": 200,
        "duration_ms": 12.4,
    }
    return json.dumps({**entry, **changes})


def shown(capsys: pytest.CaptureFixture[str], *lines: str) -> str:
    console = Console()
    for line in lines:
        console.proxy_log(line)
    return capsys.readouterr().out


def test_request_is_shown_as_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = shown(capsys, request_line())
    assert line.split()[1:] == ["ci", "POST", "200", "12", "ms", "/api/2.0/mlflow/runs/create"]
    assert line.count("\n") == 1


def test_unauthenticated_request_without_route_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    line = shown(capsys, request_line(principal=None, route=None, status=404, error="unknown-route"))
    assert line.split()[1:4] == ["-", "POST", "404"]
    assert line.rstrip().endswith("(no such route)  unknown-route")


def test_own_requests_are_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.hidden_requests = 1
    console.proxy_log(request_line(principal="internal"))
    console.proxy_log(request_line(principal="external"))
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["external"]


def test_other_log_lines_are_shown_from_warning_level(capsys: pytest.CaptureFixture[str]) -> None:
    info = json.dumps({"level": "info", "event": "start", "message": "served"})
    warning = json.dumps({"level": "warning", "event": "credentials", "message": "no keys"})
    assert shown(capsys, info, warning, "plain text", "Traceback (most recent call last):").splitlines() == [
        "proxy: no keys",
        "proxy: Traceback (most recent call last):",
    ]


@pytest.mark.parametrize(
    ("line", "is_shown"),
    [
        ("2026/01/02 WARNING mlflow.store: slow", True),
        ("ERROR: it broke", True),
        ("INFO: 127.0.0.1 GET /health 200", False),
        ("StarletteDeprecationWarning: some day", False),
    ],
)
def test_child_output_shows_warnings_only(capsys: pytest.CaptureFixture[str], line: str, is_shown: bool) -> None:
    Console().child_output("MLflow", line)
    assert capsys.readouterr().out == (f"MLflow: {line}\n" if is_shown else "")
