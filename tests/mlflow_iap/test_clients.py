"""MLflow clients with the package installed, through a simulated IAP, to a real MLflow server."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests

from mlflow_iap import IapAuth
from tests.doubles.fixtures import Server
from tests.doubles.google.accounts import IAP_CLIENT, JOB, OTHER_CLIENT
from tests.doubles.google.world import OTHER_HOST, URL, World

from .installed import MLFLOW2, ROOT, install

HERE = Path(__file__).parent
CLIENT = ROOT / "tests" / "end_to_end" / "api_client.py"
AUTH = {"MLFLOW_TRACKING_AUTH": "iap"}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def iap(mlflow_server: Server, world: World) -> World:
    """IAP in front of MLflow; the client runs on a machine of Google Cloud."""
    world.iap.upstream = mlflow_server.url
    return world


def run(
    world: World, site: Path, script: Path, *arguments: str, family: str = "3", **extra: str
) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of the client."""
    if family == "2" and not MLFLOW2.exists():
        pytest.skip("needs the packages of requirements/mlflow2.txt: make test installs them")
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(site),
        "PYTHONPYCACHEPREFIX": str(ROOT / ".local" / "cache" / "pyc"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_TRACKING_URI": URL,
        "MLFLOW_IAP_AUDIENCE": IAP_CLIENT,
        **world.on_google(),
        **extra,
    }
    done = subprocess.run(
        [str(MLFLOW2) if family == "2" else sys.executable, str(script), *arguments],
        env=environ,
        cwd=world.folder,
        capture_output=True,
        text=True,
        timeout=200,
    )
    return done.returncode, done.stdout, done.stderr


def run_client(world: World, site: Path, family: str, **extra: str) -> dict[str, Any]:
    code, out, err = run(world, site, CLIENT, f"iap-{uuid.uuid4().hex[:8]}", family=family, **extra)
    assert code == 0, err
    return json.loads(out.splitlines()[-1])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("family", ["3", "2"])
def test_client_logs_run_through_iap(iap: World, site: Path, family: str) -> None:
    result = run_client(iap, site, family, **AUTH)
    assert result["version"].split(".")[0] == family
    assert result["found"]
    assert result["history"] == [0.5, 0.25]
    assert len(iap.iap.passed) > 10
    assert len(set(iap.iap.received_tokens)) == 1


@pytest.mark.timeout(240)
@pytest.mark.parametrize("family", ["3", "2"])
def test_download_from_another_host_sends_no_token(iap: World, site: Path, family: str) -> None:
    url = f"https://{OTHER_HOST}/api/2.0/mlflow-artifacts/artifacts/folder/file.txt"
    code, out, err = run(iap, site, HERE / "other_host.py", url, family=family, **AUTH)
    assert (code, out.strip()) == (0, "a file"), err
    assert iap.iap.received_tokens
    requested = iap.internet.requests_to(OTHER_HOST)
    assert requested
    for request in requested:
        assert not request.headers["Authorization"]
        assert not request.headers["Proxy-Authorization"]


@pytest.mark.timeout(240)
def test_threads_and_forked_processes_use_one_token(iap: World, site: Path) -> None:
    code, out, err = run(iap, site, HERE / "workers.py", **AUTH)
    assert (code, out.splitlines()[-1:]) == (0, ["[0, 0] 22"]), err
    assert len(set(iap.iap.received_tokens)) == 1


@pytest.mark.timeout(240)
def test_mlflow_tracking_token_reaches_server_behind_iap(iap: World, site: Path) -> None:
    run_client(iap, site, "3", MLFLOW_TRACKING_TOKEN="for-mlflow", **AUTH)
    assert {request.headers["Authorization"] for request in iap.iap.passed} == {"Bearer for-mlflow"}


@pytest.mark.timeout(240)
def test_client_shows_reason_for_missing_access(iap: World, site: Path) -> None:
    """Three clients: no credentials, a wrong audience, an account without access."""
    errors: list[str] = []
    for change in ({"NO_GCE_CHECK": "true"}, {"MLFLOW_IAP_AUDIENCE": OTHER_CLIENT}, {}):
        if not change:
            iap.iap.members.clear()
        code, _, err = run(iap, site, CLIENT, "refused", **AUTH, **change)
        assert code != 0
        errors.append(err)
    assert "No credentials for IAP: GOOGLE_APPLICATION_CREDENTIALS is not set" in errors[0]
    assert "JWT audience doesn't match this application" in errors[1]
    assert "You don't have access" in errors[2]


def test_installed_package_is_inactive_without_settings(iap: World, site: Path) -> None:
    code, _, err = run(iap, site, CLIENT, "nothing")
    assert code != 0
    assert "302" in err or "accounts.google.com" in err
    assert iap.iap.received_tokens == []
    iap.internet.unexpected_hosts.clear()  # MLflow follows the redirect to the sign-in page


@pytest.mark.timeout(300)
def test_run_of_three_days_logs_every_half_hour(iap: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client in this process, with a simulated clock."""
    from mlflow import MlflowClient
    from mlflow.tracking.request_auth import registry

    from mlflow_iap import plugin

    for name, value in {**iap.on_google(), "MLFLOW_IAP_AUDIENCE": IAP_CLIENT, "MLFLOW_TRACKING_AUTH": "iap"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URL)
    monkeypatch.setattr(plugin, "_auth", IapAuth(now=iap.clock.now))
    untyped: Any = registry
    monkeypatch.setattr(untyped._request_auth_provider_registry, "_registry", [plugin.AuthProvider()])
    client: Any = MlflowClient(URL)
    run = client.create_run(client.create_experiment(f"days-{uuid.uuid4().hex[:8]}"))
    for step in range(3 * 24 * 2):
        client.log_metric(run.info.run_id, "loss", 1 / (step + 1), step=step)
        iap.clock.forward(minutes=29)
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 144
    assert 60 <= len(set(iap.iap.received_tokens)) <= 80


def test_requests_with_iap_auth_reaches_mlflow(iap: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**iap.on_google(), "MLFLOW_IAP_AUDIENCE": IAP_CLIENT, "MLFLOW_TRACKING_URI": URL}.items():
        monkeypatch.setenv(name, value)
    response = requests.get(f"{URL}/api/2.0/mlflow/experiments/search?max_results=1", auth=IapAuth(), timeout=30)
    assert "experiments" in response.json()
    assert iap.iap.members == {JOB}
