"""The simulated Google services, in a process without the user's own proxies, credentials and settings."""

import datetime
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from local.fake_sagemaker.tls import Authority
from mlflow_iap import IapAuth
from tests.doubles.google.accounts import Key
from tests.doubles.google.world import World

_OTHERS = ("GOOGLE_", "GCE_", "CLOUDSDK_", "MLFLOW_", "REQUESTS_", "CURL_", "SSL_", "NETRC", "HTTP_PROXY", "NO_PROXY")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    return World.certificates(tmp_path_factory.mktemp("google-tls"))


@pytest.fixture(scope="session")
def keys() -> tuple[Key, Key]:
    return Key.new(), Key.new()


@pytest.fixture
def world(
    tmp_path: Path,
    certificates: tuple[Authority, Authority],
    keys: tuple[Key, Key],
    monkeypatch: pytest.MonkeyPatch,
) -> Generator[World]:
    """The simulated services; this process's environment and google-auth's clock are set to them."""
    for name in os.environ:
        if name.upper().startswith((*_OTHERS, "HTTPS_PROXY", "ALL_PROXY")):
            monkeypatch.delenv(name)
    with World(tmp_path, certificates, keys).running() as world:
        for name, value in world.environ.items():
            monkeypatch.setenv(name, value)
        # google-auth reads its variables on import, and has a clock of its own.
        monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", world.metadata_host)
        monkeypatch.setattr("google.auth._helpers.utcnow", lambda: _naive(world.clock.now()))
        yield world
        world.check()


def _naive(now: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(now, datetime.UTC).replace(tzinfo=None)


@pytest.fixture
def auth(world: World) -> IapAuth:
    """Reads the environment at first use; sleeping moves the simulated clock."""
    return IapAuth(now=world.clock.now, sleep=lambda seconds: world.clock.forward(minutes=seconds / 60))
