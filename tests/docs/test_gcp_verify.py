"""docs/gcp.md: `make verify` through Identity-Aware Proxy with a token from `python -m mlflow_iap token`."""

import os
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.doubles.fixtures import Server
from tests.doubles.google.accounts import ANN, DESKTOP_CLIENT, IAP_CLIENT, Key
from tests.doubles.google.world import URL, World

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gcp.md").read_text()
COMMAND = re.compile(r'^\$ URL="\$MLFLOW_TRACKING_URI" TOKEN="\$\(\S+ -m (\w+) token\)" make verify$', re.MULTILINE)


@pytest.fixture
def world(tmp_path: Path) -> Generator[World]:
    with World(tmp_path, World.certificates(tmp_path / "tls"), (Key.new(), Key.new())).running() as world:
        yield world
        world.check()


def run(world: World, module: str, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a module without the environment variables of the test run."""
    caches = {"PYTHONPYCACHEPREFIX": str(ROOT / ".local" / "cache" / "pyc")}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={"PATH": os.environ["PATH"], **caches, **world.environ, **extra},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.timeout(240)
def test_user_token_passes_every_step(world: World, mlflow_server: Server) -> None:
    (named,) = COMMAND.findall(PAGE)
    world.iap.upstream = mlflow_server.url
    world.iap.members.add(ANN)
    world.accounts.refresh_tokens["1//ann"] = (ANN, DESKTOP_CLIENT)
    world.file(
        ".config/gcloud/application_default_credentials.json",
        {
            "type": "authorized_user",
            "client_id": DESKTOP_CLIENT,
            "client_secret": world.accounts.client_secrets[DESKTOP_CLIENT],
            "refresh_token": "1//ann",
        },
    )
    token = run(world, named, "token", MLFLOW_IAP_AUDIENCE=IAP_CLIENT, MLFLOW_TRACKING_URI=URL)
    assert token.returncode == 0, token.stderr
    done = run(world, "verify", URL=URL, TOKEN=token.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reject a request without a token" in done.stdout
    assert "PASSED" in done.stdout
