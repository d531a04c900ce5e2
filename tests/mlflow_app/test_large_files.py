"""Files above App Engine's request limit: real MLflow clients, IAP, the front end, the image, IAM and Cloud Storage."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from mlflow_iap.check import CheckError, check_uploads
from mlflow_iap.jwt import Token
from tests.doubles import app_engine, cloud_storage, iam_credentials
from tests.doubles.app_engine import FrontEnd
from tests.doubles.cloud_storage import CloudStorage
from tests.doubles.google.accounts import IAP_CLIENT, Key
from tests.doubles.google.world import URL, World
from tests.doubles.iam_credentials import IamCredentials
from tests.mlflow_app.app_process import ROOT, AppProcess, started_together
from tests.mlflow_app.backends import Backends
from tests.mlflow_app.fake_hosts import RecordingProxy
from tests.mlflow_iap.installed import MLFLOW2, install

# It imports MLflow, which is slow on a busy machine.
pytestmark = pytest.mark.timeout(600)

MIB = 1 << 20
HERE = Path(__file__).parent
# (name, bytes, MLflow's variables for this file)
File = tuple[str, int, Mapping[str, str]]
NONE: Mapping[str, str] = {}
# App Engine's limit and MLflow's threshold are between them. All four with LARGE_FILES=all: 500 MiB take half a minute.
SIZES = (31, 33, 499, 501) if os.environ.get("LARGE_FILES") == "all" else (31, 33)
# MLflow's major versions.
FAMILIES = ("3", "2")
# A lower limit, and a size above it.
LOWER = {"MLFLOW_IAP_MAX_REQUEST_BYTES": "12000000"}
LARGE = 13 * MIB
ENABLE = "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"
CHUNK = "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE"
THRESHOLD = "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"


@dataclasses.dataclass(slots=True)
class Deployment:
    """The image with Cloud Storage and IAM behind it, App Engine's front end and IAP in front of it."""

    app: AppProcess
    front: FrontEnd
    world: World
    storage: CloudStorage
    iam: IamCredentials
    outgoing_proxy: RecordingProxy
    token: str
    site: Path

    def run(self, *command: str, family: str = "3", **extra: str) -> subprocess.CompletedProcess[str]:
        """A Python process with the client package, on a VM of Google Cloud; `family` is MLflow's major version."""
        if family == "2" and not MLFLOW2.exists():
            pytest.skip("needs the packages of requirements/mlflow2.txt: make test installs them")
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.site),
            "PYTHONPYCACHEPREFIX": str(ROOT / ".local" / "cache" / "pyc"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_TRACKING_URI": URL,
            # The role in the image; IAP's token goes into another header.
            "MLFLOW_TRACKING_TOKEN": self.token,
            "MLFLOW_TRACKING_AUTH": "iap",
            "MLFLOW_IAP_AUDIENCE": IAP_CLIENT,
            **self.world.on_google(),
            **extra,
        }
        return subprocess.run(
            [str(MLFLOW2) if family == "2" else sys.executable, *command],
            env={name: value for name, value in environ.items() if value},
            cwd=self.world.folder,
            capture_output=True,
            text=True,
            timeout=500,
        )

    def upload(self, *files: File, family: str = "3", **extra: str) -> list[dict[str, Any]]:
        """The results of large_client.py for each file."""
        done = self.run(str(HERE / "large_client.py"), json.dumps(files), family=family, **extra)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def upload_without_package(self, *files: File, family: str) -> list[dict[str, Any]]:
        """The same without the client package and without IAP."""
        return self.upload(
            *files, family=family, MLFLOW_TRACKING_URI=self.front.url, MLFLOW_TRACKING_AUTH="", PYTHONPATH=""
        )


@pytest.fixture(scope="module")
def _deployment(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Generator[Deployment]:
    world_folder = tmp_path_factory.mktemp("world")
    with (
        iam_credentials.running(backends.secrets) as iam,
        cloud_storage.running(iam) as storage,
        RecordingProxy.running() as outgoing_proxy,
        World(world_folder, World.certificates(world_folder), (Key.new(), Key.new())).running() as world,
    ):
        settings = {
            **backends.settings(backends.server.database(), STORAGE_EMULATOR_HOST=""),
            **iam.environ,
            **storage.environ,
            "HTTPS_PROXY": outgoing_proxy.url,
        }
        with (
            started_together(tmp_path_factory.mktemp("app"), [settings]) as (app,),
            app_engine.running(app.url) as front,
        ):
            site = install(tmp_path_factory.mktemp("wheel"))
            world.iap.upstream = front.url
            app.wait(lambda: app.status("/healthz") == 200)
            app.wait_ready()
            yield Deployment(app, front, world, storage, iam, outgoing_proxy, backends.tokens.admin, site)
            world.check()


@pytest.fixture
def deployment(_deployment: Deployment) -> Deployment:
    """Without what earlier tests left."""
    front, storage, iam = _deployment.front, _deployment.storage, _deployment.iam
    for left in (front.refused, front.forwarded, storage.completed, storage.part_sizes, iam.signed):
        left.clear()
    iam.allowed = True
    return _deployment


@pytest.mark.parametrize("family", FAMILIES)
def test_files_go_around_the_limit_in_parts(deployment: Deployment, family: str) -> None:
    results = deployment.upload(
        *((f"{size} MiB", size * MIB, NONE) for size in SIZES), ("small", 1000, NONE), family=family
    )
    assert all(one.get("same") for one in results), results
    assert results[0]["variables"] == {ENABLE: "true", THRESHOLD: "16000000"}
    assert [name.rpartition("/")[2] for name in deployment.storage.completed] == [f"{size} MiB" for size in SIZES]
    assert deployment.front.refused == []
    assert deployment.front.largest_forwarded() < MIB
    assert deployment.storage.uploads == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_client_without_package_needs_two_variables(deployment: Deployment, family: str) -> None:
    variables = {ENABLE: "true", THRESHOLD: "16000000"}
    below, above, in_parts = deployment.upload_without_package(
        ("below", 31 * MIB, NONE), ("above", 33 * MIB, NONE), ("in parts", 33 * MIB, variables), family=family
    )
    assert below["same"]
    assert "error" in above
    assert [length for _, _, length in deployment.front.refused] == [33 * MIB]
    assert in_parts["same"]
    assert len(deployment.storage.completed) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_users_values_win_and_error_names_the_variable_before_a_byte_is_sent(
    deployment: Deployment, family: str
) -> None:
    threshold, enable, chunk = deployment.upload(
        ("threshold", LARGE, {THRESHOLD: "20000000"}),
        ("enable", LARGE, {ENABLE: "false"}),
        ("chunk", LARGE, {CHUNK: "1000000"}),
        family=family,
        **LOWER,
    )
    assert f"Set {THRESHOLD} to 6000000, or remove it: it is 20000000." in threshold["error"]
    assert f"Set {ENABLE}=true, or remove it: it is false." in enable["error"]
    assert f"Set {CHUNK} to 5242880 or more, or remove it: it is 1000000." in chunk["error"]
    assert deployment.front.largest_forwarded() < 10_000
    assert deployment.storage.part_sizes == []


@pytest.mark.parametrize("family", FAMILIES)
def test_missing_role_refuses_parts_and_says_so(deployment: Deployment, family: str) -> None:
    deployment.iam.allowed = False
    large, medium = deployment.upload(("large", LARGE, NONE), ("medium", 7 * MIB, NONE), family=family, **LOWER)
    assert "The server refused to take the file in parts" in large["error"]
    assert "roles/iam.serviceAccountTokenCreator" in large["error"]
    # Below the limit, MLflow's client sends the file in one request.
    assert medium["same"]
    assert deployment.storage.completed == []
    assert deployment.storage.uploads == {}, "an upload that was refused is left"
    line = deployment.app.messages_with("Multipart uploads are refused")[0]
    assert "Permission 'iam.serviceAccounts.signBlob' denied" in line
    assert "needs roles/iam.serviceAccountTokenCreator on itself" in line
    assert "ya29." not in line


@pytest.mark.parametrize("family", FAMILIES)
def test_part_that_fails_is_sent_again_unless_it_fails_permanently(deployment: Deployment, family: str) -> None:
    """And names with reserved characters are kept."""
    names = ("a b+c%20&d.bin", "große #1?.bin", "it's=(1)~!.bin")
    deployment.storage.part_faults[:] = [503, 429]
    results = deployment.upload(*((name, LARGE, NONE) for name in names), family=family, **LOWER)
    assert not any("error" in one for one in results)
    assert results[2]["same"]
    assert [name.rpartition("/model/")[2] for name in deployment.storage.completed] == list(names)
    deployment.storage.part_faults[:] = [403]
    [result] = deployment.upload(("refused", LARGE, NONE), family=family, **LOWER)
    assert "403" in result["error"]
    assert deployment.storage.uploads == {}


def test_check_uploads_a_part_and_leaves_nothing(deployment: Deployment) -> None:
    token = Token(deployment.token, 0, {})
    report = check_uploads(deployment.front.url, token, app_engine.LIMIT)
    assert report == f"large files go to {deployment.storage.url.removeprefix('http://')} in parts"
    assert deployment.storage.part_sizes == [1]
    assert deployment.storage.uploads == {}
    deployment.iam.allowed = False
    with pytest.raises(CheckError, match=r"roles/iam\.serviceAccountTokenCreator on itself"):
        check_uploads(deployment.front.url, token, app_engine.LIMIT)


def create(deployment: Deployment, path: str, num_parts: int) -> requests.Response:
    return requests.post(
        f"{deployment.app.url}/api/2.0/mlflow-artifacts/mpu/create/1/run/artifacts",
        json={"path": path, "num_parts": num_parts},
        headers={"Authorization": f"Bearer {deployment.token}"},
        timeout=100,
    )


def test_windows_path_gives_the_file_name(deployment: Deployment) -> None:
    assert create(deployment, r"C:\models\weights.bin", 1).status_code == 200
    [upload] = deployment.storage.uploads.values()
    assert upload.name == "artifacts/1/run/artifacts/weights.bin"
    deployment.storage.uploads.clear()


def test_each_part_has_its_url_and_all_share_a_token(deployment: Deployment) -> None:
    response = create(deployment, "weights.bin", 1000)
    urls = [part["url"] for part in response.json()["credentials"]]
    assert len(set(urls)) == 1000
    assert len(deployment.iam.signed) == 1000
    # Each of the two workers has one.
    assert len(set(deployment.iam.signed)) <= 2
    for number, url in ((1, urls[0]), (1000, urls[999])):
        assert requests.put(url, data=b"x", timeout=30).status_code == 200
        changed = url.replace(f"partNumber={number}", "partNumber=7")
        assert requests.put(changed, data=b"x", timeout=30).status_code == 403
    [upload] = deployment.storage.uploads.values()
    assert sorted(upload.parts) == [1, 1000]
    deployment.storage.uploads.clear()


def test_url_of_a_part_expires_after_12_hours(deployment: Deployment) -> None:
    url = create(deployment, "weights.bin", 1).json()["credentials"][0]["url"]
    deployment.storage.clock_ahead = 11.9 * 3600
    assert requests.put(url, data=b"x", timeout=30).status_code == 200
    deployment.storage.clock_ahead = 12.1 * 3600
    assert requests.put(url, data=b"x", timeout=30).status_code == 400
    deployment.storage.clock_ahead = 0
    deployment.storage.uploads.clear()


def test_more_parts_than_cloud_storage_takes_are_refused_with_the_chunk_size(deployment: Deployment) -> None:
    response = create(deployment, "weights.bin", 25_000)
    assert response.status_code == 400
    assert "multiply the client's MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE" in response.json()["message"]
    assert "by 3" in response.json()["message"]
    assert deployment.storage.uploads == {}


def test_transient_error_of_iam_is_retried(deployment: Deployment) -> None:
    deployment.iam.faults[:] = [503, 429]
    assert create(deployment, "weights.bin", 2).status_code == 200
    deployment.storage.uploads.clear()


def test_no_other_host_is_contacted(deployment: Deployment) -> None:
    """Except for the locations that google-auth looks up for Cloud Storage's client."""
    assert set(deployment.outgoing_proxy.requested_hosts) <= {"iamcredentials.googleapis.com:443"}
    text = json.dumps(deployment.app.lines)
    assert "X-Goog-Signature" not in text
    assert not any(token in text for token in deployment.iam.metadata.tokens)
