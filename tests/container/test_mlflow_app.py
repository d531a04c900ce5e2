"""MLflow's image: what is in it, and the whole of it at work, confined, on a real database."""

import dataclasses
import hashlib
import itertools
import json
import re
import shutil
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from mlflow_app import memory
from tests.container.engine import Engine
from tests.container.files import Entry, files_of
from tests.container.mlflow_container import AppContainer, Told, together
from tests.container.test_image import INSTALLERS
from tests.doubles import gcs, mariadb, secret_manager
from tests.doubles.mariadb import INSTANCE, Database
from tests.doubles.running_proxy import Tokens
from tests.mlflow_app import stories
from tests.mlflow_app.calls import Calls
from tests.mlflow_app.mlflow2 import database_of_mlflow2
from tests.mlflow_app.place import Place

ROOT = Path(__file__).parents[2]
DOCKERFILE = "mlflow_app/Dockerfile"
# Python, MLflow's pages and code, pandas, numpy: 310 MB.
ADDED_MB = 330
DATABASE = Database("ml/flow %", "ml@flow", "p@ss:w/ö?r#d%")
SECRET = "database-password"
MEMORY_MIB = 700
# Artifacts of 800 MiB.
AT_ONCE, LARGE_MIB = 4, 200
# With nothing else to write to.
TMP = ("--tmpfs", "/tmp:mode=1777")
STRAY = (".env", "mlflow_app/.hidden.py", "mlflow_app/notes.txt", "proxy_app/tokens.json", "tests/stray.py", "stray.py")


@pytest.fixture(scope="module")
def whole_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build context, as it was at one moment, and what else may lie in somebody's folder."""
    copy = tmp_path_factory.mktemp("context")
    for name in ("proxy_app", "mlflow_app"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".dockerignore", copy)
    for name in STRAY:
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text("# a secret\n", encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def mlflow_image(engine: Engine, base: str, whole_project: Path) -> str:
    arguments = {"BASE": base, "VERSION": "1.2.3", "REVISION": "0123abc"}
    return engine.build("mlflow-test:legacy", whole_project, arguments, DOCKERFILE)


@pytest.fixture(scope="module")
def files(engine: Engine, mlflow_image: str) -> dict[str, Entry]:
    return files_of(engine, mlflow_image)


def test_it_holds_the_two_folders_and_their_packages_alone(
    engine: Engine, base: str, whole_project: Path, files: dict[str, Entry]
) -> None:
    before = files_of(engine, base)
    added = {path for path in files.keys() - before.keys() if not path.startswith("app/venv/")}
    ours = {path for path in added if files[path].kind != "5" and "__pycache__" not in path}
    kinds = [path for name in ("proxy_app", "mlflow_app") for path in (whole_project / name).rglob("*.[ph][yt]*")]
    expected = {f"app/{path.relative_to(whole_project)}" for path in kinds if not path.name.startswith(".")}
    assert ours == {path for path in expected if path.endswith((".py", ".html"))}
    assert {path for path in files.keys() & before.keys() if files[path] != before[path]} == set()


def test_it_holds_mlflows_pages_and_nothing_that_installs(files: dict[str, Entry]) -> None:
    assert any(path.endswith("mlflow/server/js/build/index.html") for path in files)
    assert [path for path in files if INSTALLERS.search(path)] == []
    left_out = (ROOT / "mlflow_app/left_out.txt").read_text(encoding="utf-8")
    for name in re.findall(r"^[a-z-]+", left_out, re.MULTILINE):
        package = {"scikit-learn": "sklearn"}.get(name, name)
        assert not any(f"/site-packages/{package}/" in path for path in files), name


def test_a_start_compiles_nothing(files: dict[str, Entry]) -> None:
    modules = {path.removesuffix(".py") for path in files if re.match(r"app/(.*_app|venv/lib)/.*\.py$", path)}
    compiled = {re.sub(r"__pycache__/(.*)\.cpython-\d+\.pyc$", r"\1", path) for path in files}
    assert len(modules) > 3000
    assert modules - compiled == set()


def test_a_platform_finds_what_it_is_and_how_to_run_it(engine: Engine, mlflow_image: str) -> None:
    config = engine.inspect(mlflow_image)["Config"]
    assert config["User"] == "10001:10001"
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["python", "-m", "mlflow_app"]
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "mlflow_app", "healthcheck"]
    assert {"MLFLOW_PROXY_LISTEN=0.0.0.0:8080", "MLFLOW_PROXY_METRICS_LISTEN=127.0.0.1:9090"} <= set(config["Env"])
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
    assert labels.keys() == {"title", "description", "licenses", "version", "revision", "base.name"}
    assert (labels["version"], labels["revision"]) == ("1.2.3", "0123abc")


def test_the_default_base_is_the_proxy() -> None:
    def base(path: str) -> str:
        found = re.search(r"^ARG BASE=(.+)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
        assert found
        return found[1]

    assert base("mlflow_app/Dockerfile") == base("proxy_app/Dockerfile")


def test_both_builders_make_the_same_files(
    buildkit: Engine, base: str, whole_project: Path, files: dict[str, Entry]
) -> None:
    image = buildkit.build("mlflow-test:buildkit", whole_project, {"BASE": base}, DOCKERFILE)
    assert files_of(buildkit, image) == files


def test_it_adds_no_more_to_its_base_than_it_did(engine: Engine, base: str, mlflow_image: str) -> None:
    added = engine.inspect(mlflow_image)["Size"] - engine.inspect(base)["Size"]
    assert added < ADDED_MB * 1_000_000, f"{added / 1_000_000:.0f} MB"


def test_the_packages_are_the_locked_ones(files: dict[str, Entry]) -> None:
    text = (ROOT / "mlflow_app/requirements.txt").read_text(encoding="utf-8")
    locked = {
        f"{name.replace('-', '_')}-{version}" for name, version in re.findall(r"^(\S+)==(\S+)", text, re.MULTILINE)
    }
    installed = {
        path.split("/")[-1].removesuffix(".dist-info").lower() for path in files if path.endswith(".dist-info")
    }
    assert len(installed) > 50
    assert installed - locked == set()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Generator[Place]:
    mariadb.require_mariadb()
    folder = tmp_path_factory.mktemp("tokens")
    tokens = Tokens(folder)
    folder.chmod(0o755)
    tokens.file.chmod(0o644)
    with mariadb.running() as server, gcs.running() as bucket, secret_manager.running() as secrets:
        yield Place(server, bucket, secrets, tokens)


def told(place: Place, settings: dict[str, str], *flags: str) -> Told:
    """What a container can see of the place."""
    seen = {"MLFLOW_PROXY_TOKENS_FILE": "/tokens/tokens.json"}
    if "MLFLOW_APP_DATABASE_SOCKET" in settings:
        seen["MLFLOW_APP_DATABASE_SOCKET"] = f"/cloudsql/{INSTANCE}"
        flags = (*flags, "--volume", f"{place.server.socket.parent}:/cloudsql")
    return Told({**settings, **seen}, (*flags, "--volume", f"{place.tokens.file.parent}:/tokens:ro"))


@pytest.fixture(scope="module")
def four(
    engine: Engine, mlflow_image: str, place: Place, tmp_path_factory: pytest.TempPathFactory
) -> Generator[list[AppContainer]]:
    """Started at once on an empty database: two over the socket, two over TCP, the third with direct artifacts."""
    database = place.server.database(**dataclasses.asdict(DATABASE))
    place.secrets.secrets[SECRET] = [DATABASE.password.encode()]
    by_secret, by_address = place.by_secret(SECRET), place.by_address()
    disk = tmp_path_factory.mktemp("disk")
    disk.chmod(0o1777)
    several = [
        # As App Engine gives it one: a disk. How many processes serve is for the memory to say.
        told(
            place,
            place.settings(database, **by_secret, MLFLOW_APP_WORKERS=""),
            *("--volume", f"{disk}:/tmp", "--memory", f"{MEMORY_MIB}m"),
        ),
        told(place, place.settings(database, **by_secret, **by_address), *TMP),
        told(place, place.settings(database, **by_secret, MLFLOW_APP_ARTIFACT_ACCESS="direct"), *TMP),
        told(place, place.settings(database, **by_secret, **by_address), *TMP),
    ]
    with together(engine, mlflow_image, several) as apps:
        for app in apps:
            app.wait(lambda app=app: app.status("/healthz") == 200)
        for app in apps:
            app.wait_ready()
        yield apps


@pytest.fixture
def calls(four: list[AppContainer], place: Place) -> Generator[list[Calls]]:
    """To the first, over the socket, and the second, over TCP."""
    several = [Calls(app, place.tokens) for app in four[:2]]
    yield several
    for each in several:
        each.close()


def test_of_four_on_an_empty_database_one_makes_the_schema(four: list[AppContainer]) -> None:
    stories.one_of_them_works_on_the_schema(four, "has been made")


def test_as_many_processes_serve_as_the_containers_memory_bears(four: list[AppContainer]) -> None:
    assert memory.workers(MEMORY_MIB, 64) == 2
    assert four[0].said("MLflow is served by 2 processes")


@pytest.mark.parametrize(("number", "root"), [(1, "mlflow-artifacts:/"), (2, f"gs://{gcs.BUCKET}/")])
def test_a_stock_client_works_with_artifacts_proxied_and_direct(
    four: list[AppContainer], place: Place, tmp_path: Path, number: int, root: str
) -> None:
    uri = stories.a_client_works(four[number], place.tokens.admin, tmp_path, f"client {number}", **place.bucket)
    assert uri.startswith(root)


def test_artifacts_pass_that_together_are_larger_than_the_memory(calls: list[Calls]) -> None:
    first, _ = calls
    run = first.get("runs/get", run_id=first.new_run()).json()["run"]["info"]
    url = f"{first.app.url}/api/2.0/mlflow-artifacts/artifacts/{run['artifact_uri'].removeprefix('mlflow-artifacts:/')}"
    megabyte = bytes(range(256)) * 4096
    headers = {"Authorization": f"Bearer {first.tokens.admin}"}

    def send(number: int) -> int:
        body = itertools.repeat(megabyte, LARGE_MIB)
        return requests.put(f"{url}/{number}", data=body, headers=headers, timeout=300).status_code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert list(pool.map(send, range(AT_ONCE))) == [200] * AT_ONCE
    sent, got = hashlib.sha256(), hashlib.sha256()
    for _ in range(LARGE_MIB):
        sent.update(megabyte)
    with requests.get(f"{url}/0", headers=headers, stream=True, timeout=300) as answer:
        for piece in answer.iter_content(len(megabyte)):
            got.update(piece)
    assert got.digest() == sent.digest()
    assert not first.app.said("another takes its place")


def test_it_runs_as_nobody_in_particular_and_is_healthy(four: list[AppContainer]) -> None:
    text = four[0].run("python", "-c", "print(open('/proc/1/status').read())")
    of_first_process = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert of_first_process["Uid"].split() == ["10001"] * 4
    assert int(of_first_process["CapEff"], 16) == 0
    four[0].run("python", "-m", "mlflow_app", "healthcheck")


def test_a_database_that_is_killed_and_comes_back_is_found_again(calls: list[Calls], place: Place) -> None:
    stories.the_database_is_killed_and_comes_back(calls, place.server)


def test_a_password_that_changes_needs_no_restart_and_costs_no_request(calls: list[Calls], place: Place) -> None:
    stories.the_password_changes(calls, place.server, place.secrets.secrets[SECRET], DATABASE)


def test_sigterm_under_load_loses_nothing_that_was_acknowledged(calls: list[Calls], place: Place) -> None:
    first, second = calls
    stories.sigterm_under_load_loses_nothing(second, first)
    assert second.app.strays == []
    text = json.dumps(second.app.lines, ensure_ascii=False)
    secrets = (DATABASE.password, "second password", *place.tokens.all.values(), *place.secrets.tokens)
    assert not any(secret in text for secret in secrets)


@pytest.mark.parametrize(
    ("number", "module", "name"), [(2, "proxy_app", "The proxy"), (3, "mlflow_app.server", "MLflow")]
)
def test_when_either_process_dies_the_container_says_so_and_stops(
    four: list[AppContainer], number: int, module: str, name: str
) -> None:
    four[number].kill(module)
    assert four[number].exit_code() == 1
    assert four[number].said(f"{name} has ended by itself, killed by SIGKILL: the container stops")


def test_of_four_on_an_old_schema_one_upgrades_it(engine: Engine, mlflow_image: str, place: Place) -> None:
    database = database_of_mlflow2(place.server)
    several = [place.settings(database), place.settings(database, **place.by_address())] * 2
    with together(engine, mlflow_image, [told(place, settings, *TMP) for settings in several]) as apps:
        for app in apps:
            app.wait_ready()
        stories.one_of_them_works_on_the_schema(apps, "has been upgraded")
        calls = Calls(apps[0], place.tokens)
        stories.old_runs_are_read_and_gone_on_with(calls)
        calls.close()


def test_wrong_settings_end_it_with_a_line_for_each(engine: Engine, mlflow_image: str) -> None:
    with engine.container(mlflow_image, *TMP, "--env", "MLFLOW_APP_ARTIFACTS_DESTINATION=s3://bucket") as container:
        assert container.exit_code() == 2
        assert "MLFLOW_APP_ARTIFACTS_DESTINATION: 's3://bucket' is not right" in container.log
        assert "Set one of MLFLOW_APP_DATABASE_SOCKET" in container.log
