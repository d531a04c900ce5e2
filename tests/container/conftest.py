"""The proxy's image, built for real, once in a test run."""

import shutil
import socket
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.container.base import CannotMakeBase, make_base
from tests.container.engine import Engine, find_engine
from tests.container.private_index import default_index, private_index

# Debian's python3 is made once and kept; the two builds of the image take a minute together.
SLOWEST = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(SLOWEST))


def _engine(*, buildkit: bool) -> Engine:
    found = find_engine(buildkit=buildkit)
    if found is None:
        builder = "with BuildKit (docker-buildx)" if buildkit else "(docker.io)"
        pytest.skip(f"needs a container engine {builder}: apt-get install it, then .ci/with-docker make test")
    return found


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Builds with the legacy builder, which every engine here has."""
    return _engine(buildkit=False)


@pytest.fixture(scope="session")
def buildkit() -> Engine:
    return _engine(buildkit=True)


@pytest.fixture(scope="session")
def base(engine: Engine) -> str:
    try:
        return make_base(engine)
    except CannotMakeBase as error:
        pytest.skip(f"needs {error}")


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build context, as it was at one moment: somebody may be working in the folder."""
    copy = tmp_path_factory.mktemp("context") / "proxy_app"
    shutil.copytree(Path(__file__).parents[2] / "proxy_app", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="session")
def image(engine: Engine, base: str, context: Path) -> str:
    return engine.build("proxy-test:legacy", context, {"BASE": base, "VERSION": "1.2.3", "REVISION": "0123abc"})


class PrivatelyBuilt(NamedTuple):
    """An image, and what its build asked of the private index."""

    image: str
    asked: list[str]


@pytest.fixture(scope="session")
def privately_built(buildkit: Engine, base: str, context: Path) -> PrivatelyBuilt:
    """The image made by BuildKit, with its packages from an index that wants a password."""
    with private_index(default_index(buildkit, base)) as (url, asked):
        return PrivatelyBuilt(
            buildkit.build("proxy-test:buildkit", context, {"BASE": base, "PIP_INDEX_URL": url}), asked
        )


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
