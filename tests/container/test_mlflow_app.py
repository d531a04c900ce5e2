"""MLflow's image: its content, and confined containers on a real database."""

import asyncio
import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from local.fake_sagemaker import FakeSageMaker
from mlflow_app import memory
from tests.container.engine import Engine
from tests.container.files import Entry, files_of
from tests.container.mlflow_container import AppContainer, ContainerConfig, started_together
from tests.container.test_image import INSTALLERS
from tests.doubles import cloud_sql, gcs, mysql, secret_manager
from tests.doubles.mysql import Database
from tests.doubles.running_proxy import Tokens
from tests.mlflow_app import scenarios
from tests.mlflow_app.backends import Backends
from tests.mlflow_app.calls import Calls
from tests.mlflow_app.mlflow2 import database_of_mlflow2

ROOT = Path(__file__).parents[2]
DOCKERFILE = "mlflow_app/Dockerfile"
# Python, MLflow's UI and code, pandas, numpy: 310 MB.
MAX_ADDED_MB = 330
DATABASE = Database("ml/flow %", "ml@flow", "p@ss:w/ö?r#d%")
SECRET = "database-password"
MEMORY_MIB = 700
# Artifacts of 800 MiB in total.
UPLOADS, UPLOAD_MIB = 4, 200
# The only writable folder.
TMP = ("--tmpfs", "/tmp:mode=1777")


@pytest.fixture(scope="module")
def files(engine: Engine, mlflow_image: str) -> dict[str, Entry]:
    return files_of(engine, mlflow_image)


def test_image_adds_only_both_folders_and_their_packages(
    engine: Engine, base: str, project: Path, files: dict[str, Entry]
) -> None:
    before = files_of(engine, base)
    added = {path for path in files.keys() - before.keys() if not path.startswith("app/venv/")}
    added_files = {path for path in added if files[path].kind != "5" and "__pycache__" not in path}
    kinds = [path for name in ("proxy_app", "mlflow_app") for path in (project / name).rglob("*.[ph][yt]*")]
    expected = {f"app/{path.relative_to(project)}" for path in kinds if not path.name.startswith(".")}
    assert added_files == {path for path in expected if path.endswith((".py", ".html"))}
    assert {path for path in files.keys() & before.keys() if files[path] != before[path]} == set()


def test_image_has_mlflows_ui_and_no_installer(files: dict[str, Entry]) -> None:
    assert any(path.endswith("mlflow/server/js/build/index.html") for path in files)
    assert [path for path in files if INSTALLERS.search(path)] == []
    excluded = (ROOT / "mlflow_app/excluded_packages.txt").read_text(encoding="utf-8")
    for name in re.findall(r"^[a-z-]+", excluded, re.MULTILINE):
        package = {"scikit-learn": "sklearn"}.get(name, name)
        assert not any(f"/site-packages/{package}/" in path for path in files), name


def test_all_modules_are_compiled(files: dict[str, Entry]) -> None:
    modules = {path.removesuffix(".py") for path in files if re.match(r"app/(.*_app|venv/lib)/.*\.py$", path)}
    compiled = {re.sub(r"__pycache__/(.*)\.cpython-\d+\.pyc$", r"\1", path) for path in files}
    assert len(modules) > 3000
    assert modules - compiled == set()


def test_image_metadata(engine: Engine, mlflow_image: str) -> None:
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


def test_default_base_image_is_that_of_the_proxy() -> None:
    def base(path: str) -> str:
        found = re.search(r"^ARG BASE=(.+)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
        assert found
        return found[1]

    assert base("mlflow_app/Dockerfile") == base("proxy_app/Dockerfile")


def test_both_builders_create_the_same_files(
    buildkit: Engine, base: str, project: Path, files: dict[str, Entry]
) -> None:
    image = buildkit.build("mlflow-test:buildkit", project, {"BASE": base}, DOCKERFILE)
    assert files_of(buildkit, image) == files


def test_image_size_is_limited(engine: Engine, base: str, mlflow_image: str) -> None:
    added = engine.inspect(mlflow_image)["Size"] - engine.inspect(base)["Size"]
    assert added < MAX_ADDED_MB * 1_000_000, f"{added / 1_000_000:.0f} MB"


def test_installed_packages_are_locked(files: dict[str, Entry]) -> None:
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
def backends(tmp_path_factory: pytest.TempPathFactory) -> Generator[Backends]:
    mysql.require_mysql()
    folder = tmp_path_factory.mktemp("tokens")
    tokens = Tokens(folder)
    folder.chmod(0o755)
    tokens.file.chmod(0o644)
    with (
        mysql.running() as server,
        gcs.running() as bucket,
        secret_manager.running() as secrets,
        cloud_sql.running(server, secrets) as instance,
    ):
        yield Backends(server, instance, bucket, secrets, tokens)


def container_config(backends: Backends, settings: dict[str, str], *flags: str) -> ContainerConfig:
    """The settings and mounts of a container for the backends."""
    paths = {"MLFLOW_PROXY_TOKENS_FILE": "/tokens/tokens.json"}
    return ContainerConfig({**settings, **paths}, (*flags, "--volume", f"{backends.tokens.file.parent}:/tokens:ro"))


async def test_image_serves_the_ui_in_front_of_sagemaker(
    engine: Engine, mlflow_image: str, fake_sagemaker: FakeSageMaker, tokens: Tokens, tmp_path: Path
) -> None:
    """Read-only and with little memory; GraphQL shows that AWS's plugin works with the image's packages."""
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    for file in (tokens.file, fake_sagemaker.ca_file):
        (shared / file.name).write_bytes(file.read_bytes())
    settings = {
        **fake_sagemaker.environ,
        "AWS_CA_BUNDLE": f"/shared/{fake_sagemaker.ca_file.name}",
        "MLFLOW_APP_TARGET_ARN": fake_sagemaker.target.arn,
        "MLFLOW_PROXY_TARGET_ENDPOINT": fake_sagemaker.endpoint,
        "MLFLOW_PROXY_TOKENS_FILE": f"/shared/{tokens.file.name}",
    }
    flags = (*TMP, "--read-only", "--memory", "400m", "--volume", f"{shared}:/shared:ro")
    query = {
        "operationName": "Q",
        "query": 'query Q { mlflowGetExperiment(input: {experimentId: "0"}) { experiment { name } } }',
    }
    with started_together(engine, mlflow_image, [ContainerConfig(settings, flags)]) as [app]:
        # In threads: the fake runs on this event loop.
        await asyncio.to_thread(app.wait, lambda: app.messages_with("Serving MLflow's UI"))
        await asyncio.to_thread(app.wait, lambda: app.status("/readyz") == 200)
        for path in ("/", "/api/2.0/mlflow/experiments/get?experiment_id=0"):
            assert await asyncio.to_thread(app.status, path, auth=("any", tokens.viewer)) == 200
        answer = await asyncio.to_thread(
            requests.post, f"{app.url}/graphql", json=query, auth=("any", tokens.viewer), timeout=30
        )
        assert answer.json()["data"] == {"mlflowGetExperiment": {"experiment": {"name": "Default"}}}
        app.terminate()
        assert await asyncio.to_thread(app.exit_code) == 0


@pytest.fixture(scope="module")
def four(
    engine: Engine, mlflow_image: str, backends: Backends, tmp_path_factory: pytest.TempPathFactory
) -> Generator[list[AppContainer]]:
    """Four containers started at once on an empty database: two use Cloud SQL, two an address, one direct artifacts."""
    database = backends.server.database(**dataclasses.asdict(DATABASE))
    backends.secrets.secrets[SECRET] = [DATABASE.password.encode()]
    by_secret, by_address = backends.password_from_secret(SECRET), backends.by_address()
    disk = tmp_path_factory.mktemp("disk")
    disk.chmod(0o1777)
    several = [
        # With a disk, as on App Engine. The number of workers depends on the memory.
        container_config(
            backends,
            backends.settings(database, **by_secret, MLFLOW_APP_WORKERS=""),
            *("--volume", f"{disk}:/tmp", "--memory", f"{MEMORY_MIB}m"),
        ),
        container_config(backends, backends.settings(database, **by_secret, **by_address), *TMP),
        container_config(backends, backends.settings(database, **by_secret, MLFLOW_APP_ARTIFACT_ACCESS="direct"), *TMP),
        container_config(backends, backends.settings(database, **by_secret, **by_address), *TMP),
    ]
    with started_together(engine, mlflow_image, several) as apps:
        for app in apps:
            app.wait(lambda app=app: app.status("/healthz") == 200)
        for app in apps:
            app.wait_ready()
        yield apps


@pytest.fixture
def calls(four: list[AppContainer], backends: Backends) -> Generator[list[Calls]]:
    """Requests to the first container (Cloud SQL) and the second (address)."""
    several = [Calls(app, backends.tokens) for app in four[:2]]
    yield several
    for each in several:
        each.close()


def test_one_of_four_containers_creates_the_schema(four: list[AppContainer]) -> None:
    scenarios.check_one_changed_schema(four, "Created the schema")


def test_worker_count_fits_the_containers_memory(four: list[AppContainer]) -> None:
    assert memory.worker_count(MEMORY_MIB, 64) == 2
    assert four[0].messages_with("Serving MLflow with 2 workers")


@pytest.mark.parametrize(("number", "root"), [(1, "mlflow-artifacts:/"), (2, f"gs://{gcs.BUCKET}/")])
def test_client_works_with_proxied_and_direct_artifacts(
    four: list[AppContainer], backends: Backends, tmp_path: Path, number: int, root: str
) -> None:
    uri = scenarios.check_client(four[number], backends.tokens.admin, tmp_path, f"client {number}", **backends.bucket)
    assert uri.startswith(root)


def test_concurrent_uploads_may_exceed_the_memory(calls: list[Calls]) -> None:
    first, _ = calls
    run = first.get("runs/get", run_id=first.new_run()).json()["run"]["info"]
    url = f"{first.app.url}/api/2.0/mlflow-artifacts/artifacts/{run['artifact_uri'].removeprefix('mlflow-artifacts:/')}"
    megabyte = bytes(range(256)) * 4096
    headers = {"Authorization": f"Bearer {first.tokens.admin}"}

    def send(number: int) -> int:
        body = itertools.repeat(megabyte, UPLOAD_MIB)
        return requests.put(f"{url}/{number}", data=body, headers=headers, timeout=300).status_code

    with ThreadPoolExecutor(UPLOADS) as pool:
        assert list(pool.map(send, range(UPLOADS))) == [200] * UPLOADS
    sent, got = hashlib.sha256(), hashlib.sha256()
    for _ in range(UPLOAD_MIB):
        sent.update(megabyte)
    with requests.get(f"{url}/0", headers=headers, stream=True, timeout=300) as response:
        for chunk in response.iter_content(len(megabyte)):
            got.update(chunk)
    assert got.digest() == sent.digest()
    assert not first.app.messages_with("it is replaced")


def test_container_runs_without_root_and_is_healthy(four: list[AppContainer]) -> None:
    text = four[0].run("python", "-c", "print(open('/proc/1/status').read())")
    of_first_process = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert of_first_process["Uid"].split() == ["10001"] * 4
    assert int(of_first_process["CapEff"], 16) == 0
    four[0].run("python", "-m", "mlflow_app", "healthcheck")


def test_requests_succeed_again_after_database_restart(calls: list[Calls], backends: Backends) -> None:
    scenarios.restart_database(calls, backends.server)


def test_password_rotation_needs_no_restart_and_fails_no_request(calls: list[Calls], backends: Backends) -> None:
    scenarios.rotate_password(calls, backends.server, backends.secrets.secrets[SECRET], DATABASE)


def test_sigterm_under_load_loses_no_acknowledged_metric(calls: list[Calls], backends: Backends) -> None:
    first, second = calls
    scenarios.stop_under_load(second, first)
    assert second.app.unparsed == []
    text = json.dumps(second.app.lines, ensure_ascii=False)
    secrets = (DATABASE.password, "second password", *backends.tokens.all.values(), *backends.secrets.tokens)
    assert not any(secret in text for secret in secrets)


@pytest.mark.parametrize(
    ("number", "module", "name"), [(2, "proxy_app", "The proxy"), (3, "mlflow_app.server", "MLflow")]
)
def test_container_stops_when_either_process_is_killed(
    four: list[AppContainer], number: int, module: str, name: str
) -> None:
    four[number].kill(module)
    assert four[number].exit_code() == 1
    assert four[number].messages_with(f"{name} exited unexpectedly, killed by SIGKILL: the container stops")


def test_one_of_four_containers_upgrades_an_old_schema(engine: Engine, mlflow_image: str, backends: Backends) -> None:
    database = database_of_mlflow2(backends.server)
    several = [backends.settings(database), backends.settings(database, **backends.by_address())] * 2
    with started_together(
        engine, mlflow_image, [container_config(backends, settings, *TMP) for settings in several]
    ) as apps:
        for app in apps:
            app.wait_ready()
        scenarios.check_one_changed_schema(apps, "Upgraded the schema")
        calls = Calls(apps[0], backends.tokens)
        scenarios.check_old_runs(calls)
        calls.close()


def test_invalid_settings_are_logged_one_per_line(engine: Engine, mlflow_image: str) -> None:
    with engine.container(mlflow_image, *TMP, "--env", "MLFLOW_APP_ARTIFACTS_DESTINATION=s3://bucket") as container:
        assert container.exit_code() == 2
        assert "MLFLOW_APP_ARTIFACTS_DESTINATION: got 's3://bucket', expected gs:" in container.log
        assert "Set either MLFLOW_APP_DATABASE_INSTANCE" in container.log
