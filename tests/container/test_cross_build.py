"""Both images, built for a CPU architecture that this machine does not have, without emulation."""

import re
from pathlib import Path

import pytest

from tests.container.conftest import FOREIGN, MLFLOW_DOCKERFILE, ROOT
from tests.container.engine import Engine, EngineError
from tests.container.files import Entry, files_of
from tests.container.registry import multi_platform
from tests.container.test_image import INSTALLERS

PLATFORM = f"linux/{FOREIGN}"
# The numbers and names of ELF's and the wheels' CPU architectures.
MACHINES = {"amd64": (62, "x86_64"), "arm64": (183, "aarch64")}
# Descriptions of the wheel, names of bundled libraries, the compiler that built numpy.
DEPENDENT = re.compile(r"\.dist-info/|\.libs/|/numpy/(__pycache__/)?__config__\.")
EXTENSION = re.compile(r"\.(cpython-[^/]+|abi3)\.so$")


@pytest.fixture(scope="module", params=["proxy_app", "mlflow_app"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def cross_built(name: str, buildkit: Engine, multi_platform_base: str, context: Path, project: Path) -> str:
    arguments = {"BASE": multi_platform_base}
    if name == "proxy_app":
        return buildkit.build("proxy-test:cross", context, arguments, platform=PLATFORM)
    return buildkit.build("mlflow-test:cross", project, arguments, MLFLOW_DOCKERFILE, platform=PLATFORM)


@pytest.fixture(scope="module")
def files(buildkit: Engine, cross_built: str) -> dict[str, Entry]:
    return files_of(buildkit, cross_built)


@pytest.fixture(scope="module")
def native_files(name: str, engine: Engine, request: pytest.FixtureRequest) -> dict[str, Entry]:
    return files_of(engine, request.getfixturevalue("image" if name == "proxy_app" else "mlflow_image"))


def app_files(files: dict[str, Entry]) -> dict[str, Entry]:
    return {path: entry for path, entry in files.items() if path.startswith("app/")}


@pytest.mark.parametrize("path", ["proxy_app/Dockerfile", MLFLOW_DOCKERFILE])
def test_commands_run_on_the_platform_of_the_builder(path: str) -> None:
    stages = re.split(r"^FROM ", (ROOT / path).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    running = [stage.splitlines()[0] for stage in stages if re.search(r"^RUN\s", stage, re.MULTILINE)]
    assert running != []
    assert [first for first in running if not first.startswith("--platform=${BUILDPLATFORM:-linux} ")] == []


def test_every_binary_is_for_the_platform_of_the_image(
    buildkit: Engine, cross_built: str, files: dict[str, Entry]
) -> None:
    number, _ = MACHINES[FOREIGN]
    assert {path: entry.machine for path, entry in files.items() if entry.machine not in {None, number}} == {}
    assert len([path for path, entry in app_files(files).items() if entry.machine]) > 10
    assert buildkit.inspect(cross_built)["Architecture"] == FOREIGN


def test_extension_modules_are_those_of_the_native_image(
    files: dict[str, Entry], native_files: dict[str, Entry]
) -> None:
    def modules(found: dict[str, Entry]) -> set[str]:
        return {EXTENSION.sub("", path) for path in found if EXTENSION.search(path)}

    assert modules(app_files(files)) == modules(app_files(native_files))


def test_all_other_files_are_those_of_the_native_image(files: dict[str, Entry], native_files: dict[str, Entry]) -> None:
    def independent(found: dict[str, Entry]) -> dict[str, Entry]:
        return {
            path: entry
            for path, entry in app_files(found).items()
            if entry.machine is None and not DEPENDENT.search(path)
        }

    ours, native = independent(files), independent(native_files)
    assert {path for path in ours.keys() | native.keys() if ours.get(path) != native.get(path)} == set()


def test_the_standard_library_is_compiled(files: dict[str, Entry]) -> None:
    library = {path for path in files if re.match(r"usr(/local)?/lib/python3\.\d+/(?!idlelib|lib2to3).*\.py$", path)}
    compiled = {re.sub(r"__pycache__/(.*)\.cpython-\d+\.pyc$", r"\1.py", path) for path in files}
    assert len(library) > 500
    assert library - compiled == set()


def test_image_has_no_installer_or_compiler(files: dict[str, Entry]) -> None:
    assert [path for path in files if INSTALLERS.search(path)] == []


def test_a_base_image_with_another_python_for_the_platform_is_an_error(
    buildkit: Engine, base: str, context: Path, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /usr/bin/python3.1\n")
    other = buildkit.build("proxy-test:other-python", tmp_path, {}, platform=PLATFORM)
    layers = tmp_path / "registry"
    layers.mkdir()
    with (
        multi_platform(buildkit, (base, other), layers) as image,
        pytest.raises(
            EngineError, match=r"BASE has /usr/\S*/python3\.\d+ for the build platform, and not for the target"
        ),
    ):
        buildkit.build("proxy-test:failed", context, {"BASE": image}, platform=PLATFORM)
