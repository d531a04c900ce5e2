"""The command line, `python -m mlflow_iap`."""

import subprocess
import sys

import pytest

from mlflow_iap import Settings
from mlflow_iap.check import ExitCode
from tests.doubles.google.accounts import IAP_CLIENT, JOB
from tests.doubles.google.world import URL, World

from .installed import ROOT


def run_command(world: World, *arguments: str, **extra: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mlflow_iap", *arguments],
        env={**world.on_google(), "PYTHONPYCACHEPREFIX": str(ROOT / ".local" / "cache" / "pyc"), **extra},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_token_prints_only_the_token(world: World) -> None:
    code, out, err = run_command(world, "token", MLFLOW_IAP_AUDIENCE=IAP_CLIENT)
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    assert out.startswith("eyJ")


def test_token_writes_errors_to_stderr(world: World) -> None:
    assert run_command(world, "token") == (
        ExitCode.SETTINGS,
        "",
        "MLFLOW_IAP_AUDIENCE is not set: set it to IAP's OAuth client id (...apps.googleusercontent.com), or to "
        "https://HOST/* for tokens that a service account signs itself.\n",
    )
    code, out, err = run_command(world, "token", MLFLOW_IAP_AUDIENCE=IAP_CLIENT, NO_GCE_CHECK="true")
    assert (code, out) == (ExitCode.NO_TOKEN, "")
    assert err.startswith("No credentials for IAP")


def test_check_works_without_tracking_uri_and_returns_exit_code(world: World) -> None:
    code, out, err = run_command(world, "check", URL + "/", MLFLOW_IAP_AUDIENCE=IAP_CLIENT)
    assert (code, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["ok", "connection"],
        ["ok", "IAP"],
        ["ok", "token"],
        ["ok", "access"],
        ["ok", "uploads"],
    ]
    world.iap.members.clear()
    code, out, err = run_command(world, "check", URL, MLFLOW_IAP_AUDIENCE=IAP_CLIENT)
    assert (code, err) == (ExitCode.NOT_A_MEMBER, "")
    assert out.splitlines()[-1].startswith(f"FAIL  access      IAP authenticates {JOB} and denies access")
    assert run_command(world, "check", URL, MLFLOW_IAP_HEADER="X")[:2] == (
        ExitCode.SETTINGS,
        "FAIL  settings    MLFLOW_IAP_HEADER: got 'X', expected Authorization or Proxy-Authorization.\n",
    )
    assert "eyJ" not in out


@pytest.mark.parametrize("arguments", [("--help",), ("check", "--help")])
def test_help_lists_every_setting_and_exit_code(world: World, arguments: tuple[str, ...]) -> None:
    code, out, _ = run_command(world, *arguments)
    assert code == 0
    if arguments == ("--help",):
        for name, _ in Settings.table():
            assert name in out
        for meaning in ExitCode:
            assert f"{meaning.value:>2}  {meaning.meaning}" in out
