"""Session fixtures: container engines, and the proxy's image built with both builders."""

import os
import platform
import shutil
import socket
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.container.base import BaseImageError, build_base, unpack_base
from tests.container.engine import Engine, find_engine
from tests.container.private_index import default_index, private_index
from tests.container.registry import multi_platform

# Seconds. The base image is built once and cached; both builds of the image take a minute.
TIMEOUT = 600
ROOT = Path(__file__).parents[2]
MLFLOW_DOCKERFILE = "mlflow_app/Dockerfile"
# A CPU architecture that this machine does not have.
FOREIGN = "amd64" if platform.machine() in {"aarch64", "arm64"} else "arm64"
UNRELATED_FILES = (
    ".env",
    "mlflow_app/.hidden.py",
    "mlflow_app/notes.txt",
    "proxy_app/tokens.json",
    "tests/unrelated.py",
    "unrelated.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(TIMEOUT))


def _engine(*, buildkit: bool) -> Engine:
    found = find_engine(buildkit=buildkit)
    if found is None:
        builder = "with BuildKit (docker-buildx)" if buildkit else "(docker.io)"
        pytest.skip(f"needs a container engine {builder}: apt-get install it, then .ci/with-docker make test")
    return found


@pytest.fixture(scope="session")
def engine() -> Engine:
    """An engine with the legacy builder, which every version has."""
    return _engine(buildkit=False)


@pytest.fixture(scope="session")
def buildkit() -> Engine:
    """An engine with BuildKit."""
    return _engine(buildkit=True)


@pytest.fixture(scope="session")
def base(engine: Engine) -> str:
    """The name of the base image."""
    try:
        return build_base(engine)
    except BaseImageError as error:
        pytest.skip(f"needs {error}")


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the build context: the folder may change during the tests."""
    copy = tmp_path_factory.mktemp("context") / "proxy_app"
    shutil.copytree(ROOT / "proxy_app", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="session")
def image(engine: Engine, base: str, context: Path) -> str:
    """The image built by the legacy builder."""
    return engine.build("proxy-test:legacy", context, {"BASE": base, "VERSION": "1.2.3", "REVISION": "0123abc"})


class PrivatelyBuilt(NamedTuple):
    """An image, and the paths that its build requested from the private index."""

    image: str
    requested: list[str]


@pytest.fixture(scope="session")
def privately_built(buildkit: Engine, base: str, context: Path) -> PrivatelyBuilt:
    """The image built by BuildKit, with packages from an index that requires a password."""
    with private_index(default_index(buildkit, base)) as (url, requested):
        return PrivatelyBuilt(
            buildkit.build("proxy-test:buildkit", context, {"BASE": base, "PIP_INDEX_URL": url}), requested
        )


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the build context, and files that do not belong to it."""
    copy = tmp_path_factory.mktemp("context")
    for name in ("proxy_app", "mlflow_app"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".dockerignore", copy)
    for name in UNRELATED_FILES:
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text("# a secret\n", encoding="utf-8")
    return copy


@pytest.fixture(scope="session")
def mlflow_image(engine: Engine, base: str, project: Path) -> str:
    arguments = {"BASE": base, "VERSION": "1.2.3", "REVISION": "0123abc"}
    return engine.build("mlflow-test:legacy", project, arguments, MLFLOW_DOCKERFILE)


@pytest.fixture(scope="session")
def multi_platform_base(buildkit: Engine, base: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The name of a base image for the engine's CPU architecture and for FOREIGN."""
    if "TEST_BASE_IMAGE" in os.environ:
        yield base
        return
    try:
        foreign = unpack_base(buildkit, FOREIGN)
    except BaseImageError as error:
        pytest.skip(f"needs {error}")
    with multi_platform(buildkit, (base, foreign), tmp_path_factory.mktemp("registry")) as name:
        yield name


@pytest.fixture
def port() -> int:
    """A free port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
