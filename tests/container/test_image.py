"""The proxy's image: files, metadata, reproducibility."""

import re
import shutil
from pathlib import Path

import pytest

from tests.container.conftest import PrivatelyBuilt
from tests.container.engine import NETWORK, Engine
from tests.container.files import Entry, files_of
from tests.container.private_index import PASSWORD

# botocore's credential chain uses these: an assumed role, AWS SSO, `aws login`.
CREDENTIAL_SERVICES = {"sts", "sso", "sso-oidc", "signin"}
INSTALLERS = re.compile(
    r"/(pip|setuptools|wheel|ensurepip)(-[^/]*|\.py)?(/|$)"
    r"|/s?bin/([a-z0-9_]+-linux-gnu-)?(pip|easy_install|uv|gcc|g\+\+|cc|c\+\+|clang|ld|make|curl|wget|git)[-.0-9]*$"
)
# Files that may be in the folder and must not reach the image.
UNRELATED_FILES = (
    ".env",
    ".aws/credentials",
    ".hidden.py",
    ".venv/lib/unrelated.py",
    "venv/lib/unrelated.py",
    "notes.txt",
    "tokens.json",
    "auth/tokens.json",
    "auth/__pycache__/old.cpython-311.pyc",
)


@pytest.fixture(scope="module")
def files(engine: Engine, image: str) -> dict[str, Entry]:
    return files_of(engine, image)


def sources(context: Path) -> set[str]:
    """The sources of the build context, as paths in the image."""
    kinds = ("*.py", "*.html")
    return {f"app/proxy_app/{path.relative_to(context)}" for kind in kinds for path in context.rglob(kind)}


def test_default_base_is_an_exact_version_of_python_slim(context: Path) -> None:
    default = re.search(r"^ARG BASE=(.*)$", (context / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert default
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", default[1])


def test_image_adds_only_the_proxy_to_its_base(
    engine: Engine, base: str, context: Path, files: dict[str, Entry]
) -> None:
    before = files_of(engine, base)
    added = {path for path in files.keys() - before.keys() if not path.startswith("app/venv/")}
    changed = {path for path in files.keys() & before.keys() if files[path] != before[path]}
    compiled = {path for path in added if "__pycache__" in path}
    folders = {path for path in added if files[path].kind == "5"}

    assert added - compiled - folders == sources(context)
    assert {path for path in folders - compiled if not path.startswith("app/proxy_app")} == {"app", "app/venv"}
    assert changed == set()


def test_image_has_no_installer_or_compiler(engine: Engine, base: str, files: dict[str, Entry]) -> None:
    assert [path for path in files_of(engine, base) if INSTALLERS.search(path)] != []
    assert [path for path in files if INSTALLERS.search(path)] == []


def test_files_are_not_writable_for_the_proxy(engine: Engine, image: str, files: dict[str, Entry]) -> None:
    app_files = {path: entry for path, entry in files.items() if path.split("/")[0] == "app" and entry.kind != "2"}
    assert {entry.owner for entry in app_files.values()} == {(0, 0)}
    assert [path for path, entry in app_files.items() if entry.mode & 0o022] == []
    assert [path for path, entry in app_files.items() if not entry.mode & 0o004] == []
    assert engine.inspect(image)["Config"]["User"] == "10001:10001"


def test_all_modules_are_compiled(files: dict[str, Entry]) -> None:
    modules = {path.removesuffix(".py") for path in files if re.match(r"app/(proxy_app|venv/lib)/.*\.py$", path)}
    compiled = {re.sub(r"__pycache__/(.*)\.cpython-\d+\.pyc$", r"\1", path) for path in files}
    assert len(modules) > 300
    assert modules - compiled == set()


def test_labels(engine: Engine, base: str, image: str) -> None:
    config = engine.inspect(image)["Config"]
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
    assert labels.keys() == {"title", "description", "licenses", "version", "revision", "base.name"}
    assert all(labels.values())
    assert (labels["licenses"], labels["version"], labels["revision"]) == ("Apache-2.0", "1.2.3", "0123abc")
    assert labels["base.name"] == base


def test_port_health_check_signal_and_entrypoint(engine: Engine, image: str) -> None:
    config = engine.inspect(image)["Config"]
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "proxy_app", "healthcheck"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["python", "-m", "proxy_app"]
    # Metrics require no authentication, so by default they are not exposed to the network.
    assert {"MLFLOW_PROXY_LISTEN=0.0.0.0:8080", "MLFLOW_PROXY_METRICS_LISTEN=127.0.0.1:9090"} <= set(config["Env"])


def test_image_has_every_aws_service_that_the_proxy_uses(engine: Engine, image: str, context: Path) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in context.rglob("*.py"))
    called = set(re.findall(r"create_client\(\s*\"([a-z0-9-]+)\"", text))
    assert called
    script = (
        "import sys, botocore.session as b\n"
        "for name in sys.argv[1:]: b.Session().create_client(name, region_name='eu-west-1')"
    )
    services = sorted(called | CREDENTIAL_SERVICES)
    engine.run("run", "--rm", *NETWORK, "--entrypoint", "python", image, "-c", script, *services)


def test_both_builders_create_the_same_files(
    buildkit: Engine, privately_built: PrivatelyBuilt, files: dict[str, Entry]
) -> None:
    assert files_of(buildkit, privately_built.image) == files


def test_private_index_url_does_not_reach_the_image(
    buildkit: Engine, privately_built: PrivatelyBuilt, tmp_path: Path
) -> None:
    image = privately_built.image
    assert "/simple/aiohttp/" in privately_built.requested
    assert PASSWORD not in buildkit.run("history", "--no-trunc", image) + buildkit.run("inspect", image)
    saved = tmp_path / "image.tar"
    buildkit.run("save", "--output", str(saved), image, timeout=120)
    # The image's layers are uncompressed tars.
    assert PASSWORD.encode() not in saved.read_bytes()


def test_unrelated_files_do_not_change_the_image(
    engine: Engine, base: str, context: Path, files: dict[str, Entry], tmp_path: Path
) -> None:
    dirty = tmp_path / "proxy_app"
    shutil.copytree(context, dirty)
    for name in UNRELATED_FILES:
        unrelated = dirty / name
        unrelated.parent.mkdir(parents=True, exist_ok=True)
        unrelated.write_text("# a secret\n", encoding="utf-8")
    for path in dirty.rglob("*"):
        # The modes that a strict umask gives. These two keep theirs, so that the builder's cache applies.
        if path.name not in {"docker_build.sh", "requirements.txt"}:
            path.chmod(0o700 if path.is_dir() else 0o600)
    assert files_of(engine, engine.build("proxy-test:dirty", dirty, {"BASE": base})) == files
