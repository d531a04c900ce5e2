"""What `make up` shows of its children's logs."""

import json

import pytest

from local.screen import Screen


def request_line(**changes: object) -> str:
    entry = {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "info",
        "event": "request",
        "caller": "ci",
        "method": "POST",
        "route": "/api/2.0/mlflow/runs/create",
        "status": 200,
        "ms": 12.4,
    }
    return json.dumps({**entry, **changes})


def shown(capsys: pytest.CaptureFixture[str], *lines: str) -> str:
    screen = Screen()
    for line in lines:
        screen.proxy_line(line)
    return capsys.readouterr().out


def test_a_request_is_one_readable_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = shown(capsys, request_line())
    assert line.split()[1:] == ["ci", "POST", "200", "12", "ms", "/api/2.0/mlflow/runs/create"]
    assert line.count("\n") == 1


def test_a_request_of_nobody_to_nowhere_is_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    line = shown(capsys, request_line(caller=None, route=None, status=404, error="unknown-route"))
    assert line.split()[1:4] == ["-", "POST", "404"]
    assert line.rstrip().endswith("(no such route)  unknown-route")


def test_our_own_requests_are_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.hidden_requests = 1
    screen.proxy_line(request_line(caller="ours"))
    screen.proxy_line(request_line(caller="theirs"))
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["theirs"]


def test_only_warnings_are_shown_of_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = json.dumps({"level": "info", "event": "start", "message": "served"})
    loud = json.dumps({"level": "warning", "event": "credentials", "message": "no keys"})
    assert shown(capsys, quiet, loud, "plain text", "Traceback (most recent call last):").splitlines() == [
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
def test_a_childs_warning_is_shown(capsys: pytest.CaptureFixture[str], line: str, is_shown: bool) -> None:
    Screen().child_line("MLflow", line)
    assert capsys.readouterr().out == (f"MLflow: {line}\n" if is_shown else "")
