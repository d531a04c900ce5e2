"""The command line in this process: version, health check, and errors at the start. test_server.py runs processes."""

import asyncio
import json
import logging
import socket
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from proxy_app import __version__
from proxy_app.__main__ import main
from tests.doubles import fake_upstreams as fake_upstreams
from tests.doubles.fake_upstreams import OK

from .conftest import StartProxy, StartUpstream


@pytest.fixture(autouse=True)
def restored_logging() -> Generator[None]:
    """The server replaces the handlers of the root logger."""
    root, botocore = logging.getLogger(), logging.getLogger("botocore")
    handlers, level, botocore_level = root.handlers[:], root.level, botocore.level
    yield
    root.handlers[:], root.level = handlers, level
    botocore.setLevel(botocore_level)


def run_main(monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str], **environ: str) -> int:
    monkeypatch.setattr(sys, "argv", ["proxy_app", *arguments])
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return main()


def test_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_main(monkeypatch, ["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"mlflow-proxy {__version__}\n")


def test_unknown_command_is_rejected(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_main(monkeypatch, ["sign"])
    assert ended.value.code == 2
    assert "invalid choice: 'sign'" in capsys.readouterr().err


def test_token_command_returns_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = str(tmp_path / "tokens.json")
    assert run_main(monkeypatch, ["token", "list", "--file", file]) == 1
    assert f"The file {file} does not exist." in capsys.readouterr().err
    assert run_main(monkeypatch, ["token", "new", "--name", "ci", "--role", "viewer", "--file", file]) == 0
    assert capsys.readouterr().out.startswith("mlp_")


async def test_health_check_succeeds_while_the_proxy_runs(
    start_upstream: StartUpstream,
    start_proxy: StartProxy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake.origin)
    port = proxy.address.port
    # The unspecified address is checked at loopback.
    for listen in (f"127.0.0.1:{port}", f"localhost:{port}", f"0.0.0.0:{port}", f":{port}"):
        assert await asyncio.to_thread(run_main, monkeypatch, ["healthcheck"], MLFLOW_PROXY_LISTEN=listen) == 0
    assert capsys.readouterr() == ("", "")
    assert fake.requests == []


async def test_health_check_fails_for_another_status(
    start_upstream: StartUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = await start_upstream(fake_upstreams.respond_with(OK.replace(b"200 OK", b"404 Not Found")))
    listen = f"127.0.0.1:{fake.port}"
    assert await asyncio.to_thread(run_main, monkeypatch, ["healthcheck"], MLFLOW_PROXY_LISTEN=listen) == 1
    assert [received.line for received in fake.requests] == ["GET /healthz HTTP/1.1"]


def test_health_check_fails_without_a_listener(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert run_main(monkeypatch, ["healthcheck"], MLFLOW_PROXY_LISTEN=f"127.0.0.1:{port}") == 1
    assert capsys.readouterr().err.startswith(f"no response from 127.0.0.1:{port}: ")


def test_health_check_rejects_an_invalid_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, ["healthcheck"], MLFLOW_PROXY_LISTEN="nowhere") == 2
    assert capsys.readouterr().err == (
        "MLFLOW_PROXY_LISTEN: got 'nowhere', expected host:port, such as 127.0.0.1:8080.\n"
    )


@pytest.mark.parametrize("arguments", [[], ["serve"]], ids=["no command", "serve"])
@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"MLFLOW_PROXY_LISTN": ":1"}, "MLFLOW_PROXY_LISTN is not a setting; did you mean MLFLOW_PROXY_LISTEN?"),
        ({"MLFLOW_PROXY_TARGET_ARN": "arn:aws:s3:::bucket"}, "MLFLOW_PROXY_TARGET_ARN: got 'arn:aws:s3:::bucket'"),
        ({"MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:1"}, "The file {file} does not exist."),
    ],
    ids=["unknown setting", "invalid target", "missing tokens"],
)
def test_start_fails_with_a_message_for_invalid_settings(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    environ: dict[str, str],
    message: str,
) -> None:
    file = str(tmp_path / "tokens.json")
    anywhere = {"MLFLOW_PROXY_LISTEN": "127.0.0.1:0", "MLFLOW_PROXY_METRICS_LISTEN": "127.0.0.1:0"}
    assert run_main(monkeypatch, arguments, MLFLOW_PROXY_TOKENS_FILE=file, **anywhere, **environ) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("The proxy cannot start.\n")
    assert message.format(file=file) in printed.err


def test_start_fails_if_an_address_is_in_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environ = {"MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:1", "MLFLOW_PROXY_AUTH": "off"}
        assert run_main(monkeypatch, [], MLFLOW_PROXY_LISTEN=address, **environ) == 2
    assert capsys.readouterr().err == (
        f"The proxy cannot start.\nMLFLOW_PROXY_LISTEN: cannot listen on {address}: Address already in use. "
        "Set another address.\n"
    )


def test_log_is_json_with_the_traceback_of_an_exception(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from proxy_app.logs import log_as_json

    log_as_json()
    log = logging.getLogger("some.module")
    log.debug("not written")
    log.info("one of %d", 2, extra={"event": "counted"})
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError:
        log.exception("failed")
    logging.getLogger("botocore.credentials").warning("found AKID")
    first, second = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (first["level"], first["event"], first["message"]) == ("info", "counted", "one of 2")
    assert "exception" not in first
    assert (second["level"], second["event"], second["message"]) == ("error", "some.module", "failed")
    assert "ZeroDivisionError: by zero" in second["exception"]
