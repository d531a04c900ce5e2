"""`python -m mlflow_iap`, as a person types it."""

import subprocess
import sys

import pytest

from mlflow_iap import Settings
from mlflow_iap.check import Exit
from tests.doubles.google.accounts import IAP_CLIENT, JOB
from tests.doubles.google.world import URL, World

from .installed import ROOT


def command(world: World, *arguments: str, **extra: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mlflow_iap", *arguments],
        env={**world.on_google(), "PYTHONPYCACHEPREFIX": str(ROOT / ".local" / "cache" / "pyc"), **extra},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_token_prints_a_token_that_iap_takes_and_nothing_else(world: World) -> None:
    code, out, err = command(world, "token", MLFLOW_IAP_AUDIENCE=IAP_CLIENT)
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    assert out.startswith("eyJ")


def test_token_says_on_standard_error_what_is_missing(world: World) -> None:
    assert command(world, "token") == (
        Exit.SETTINGS,
        "",
        "MLFLOW_IAP_AUDIENCE is not set: IAP's OAuth client id (...apps.googleusercontent.com), or https://HOST/* "
        "for tokens that a service account signs itself.\n",
    )
    code, out, err = command(world, "token", MLFLOW_IAP_AUDIENCE=IAP_CLIENT, NO_GCE_CHECK="true")
    assert (code, out) == (Exit.NO_TOKEN, "")
    assert err.startswith("There are no credentials for IAP")


def test_check_needs_no_tracking_uri_and_ends_with_the_problems_code(world: World) -> None:
    code, out, err = command(world, "check", URL + "/", MLFLOW_IAP_AUDIENCE=IAP_CLIENT)
    assert (code, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["ok", "connection"],
        ["ok", "IAP"],
        ["ok", "token"],
        ["ok", "access"],
    ]
    world.iap.members.clear()
    code, out, err = command(world, "check", URL, MLFLOW_IAP_AUDIENCE=IAP_CLIENT)
    assert (code, err) == (Exit.NOT_A_MEMBER, "")
    assert out.splitlines()[-1].startswith(f"WRONG access      IAP knows {JOB} and does not let them in")
    assert command(world, "check", URL, MLFLOW_IAP_HEADER="X")[:2] == (
        Exit.SETTINGS,
        "WRONG settings    MLFLOW_IAP_HEADER: 'X' is not right; it takes Authorization or Proxy-Authorization.\n",
    )
    assert "eyJ" not in out


@pytest.mark.parametrize("arguments", [("--help",), ("check", "--help")])
def test_help_has_every_setting_and_every_exit_code(world: World, arguments: tuple[str, ...]) -> None:
    code, out, _ = command(world, *arguments)
    assert code == 0
    if arguments == ("--help",):
        for name, _ in Settings.table():
            assert name in out
        for meaning in Exit:
            assert f"{meaning.value:>2}  {meaning.meaning}" in out
