"""Two instances on one database, started at once while it was empty: requests, failures, shutdown."""

import dataclasses
import datetime
import json
import os
import signal
import time
import uuid
from collections.abc import Generator
from pathlib import Path

import pytest
import requests

from tests.doubles.gcs import BUCKET
from tests.doubles.mysql import Database
from tests.mlflow_app import scenarios
from tests.mlflow_app.app_process import AppProcess, started_together
from tests.mlflow_app.backends import Backends
from tests.mlflow_app.calls import Calls
from tests.mlflow_app.fake_hosts import LanguageModel, RecordingProxy

# Each instance imports MLflow, which is slow on a busy machine.
pytestmark = pytest.mark.timeout(300)

SECRET = "database-password"


@dataclasses.dataclass(slots=True)
class Pair:
    """`first`: Cloud SQL, proxied artifacts. `second`: a server's address, direct artifacts.

    Both read the password from the secret.
    """

    database: Database
    first: AppProcess
    second: AppProcess
    # The outgoing proxy of the first instance.
    outgoing_proxy: RecordingProxy


@pytest.fixture(scope="module")
def pair(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Generator[Pair]:
    database = backends.server.database(password="it's a:p@ss/wörd%20?#")
    backends.secrets.secrets[SECRET] = [b"an old one", database.password.encode() + b"\n"]
    settings = {
        **backends.settings(database, **backends.password_from_secret(SECRET)),
        # Allow a language model on this machine.
        "MLFLOW_GATEWAY_API_BASE_ALLOWED_SCHEMES": "http",
        "MLFLOW_GATEWAY_API_BASE_ALLOW_PRIVATE_IPS": "true",
    }
    direct = {**settings, **backends.by_address(), "MLFLOW_APP_ARTIFACT_ACCESS": "direct"}
    del direct["MLFLOW_APP_DATABASE_INSTANCE"]
    # Seconds: each new connection needs a new certificate.
    backends.instance.lifetime = 2
    backends.instance.used.clear()
    with RecordingProxy.running() as outgoing_proxy:
        proxied = {**settings, "HTTPS_PROXY": outgoing_proxy.url, "MLFLOW_PROXY_DRAIN_SECONDS": "3"}
        with started_together(tmp_path_factory.mktemp("pair"), [proxied, direct]) as (first, second):
            for app in (first, second):
                app.wait(lambda app=app: app.status("/healthz") == 200)
                # Live, but not ready: MLflow is not imported yet.
                assert app.status("/readyz") == 503
            for app in (first, second):
                app.wait_ready()
            yield Pair(database, first, second, outgoing_proxy)
    backends.instance.lifetime = 3600


@pytest.fixture
def calls(pair: Pair, backends: Backends) -> Generator[Calls]:
    """Requests to the first instance."""
    calls = Calls(pair.first, backends.tokens)
    yield calls
    calls.close()


@pytest.fixture
def to_second(pair: Pair, backends: Backends) -> Generator[Calls]:
    """Requests to the second instance."""
    calls = Calls(pair.second, backends.tokens)
    yield calls
    calls.close()


def test_one_of_two_instances_creates_the_schema(pair: Pair, backends: Backends) -> None:
    scenarios.check_one_changed_schema([pair.first, pair.second], "Created the schema")
    assert backends.server.execute("SELECT name FROM experiments WHERE experiment_id = 0", database=pair.database.name)


def test_client_works_with_proxied_artifacts(pair: Pair, backends: Backends, tmp_path: Path) -> None:
    uri = scenarios.check_client(pair.first, backends.tokens.admin, tmp_path, "proxied")
    assert uri.startswith("mlflow-artifacts:/")


def test_client_works_with_direct_artifacts(pair: Pair, backends: Backends, tmp_path: Path) -> None:
    uri = scenarios.check_client(pair.second, backends.tokens.admin, tmp_path, "direct", **backends.bucket)
    assert uri.startswith(f"gs://{BUCKET}/artifacts/")
    assert not pair.second.messages_with("mlflow-artifacts")


def test_experiment_keeps_proxied_artifacts_on_instance_with_direct_access(calls: Calls, to_second: Calls) -> None:
    run = calls.get("runs/get", run_id=calls.new_run()).json()["run"]["info"]
    path = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    url = f"/api/2.0/mlflow-artifacts/artifacts/{path}/note.txt"
    assert calls.session.put(calls.app.url + url, data=b"stored", timeout=60).status_code == 200
    assert to_second.session.get(to_second.app.url + url, timeout=60).content == b"stored"


def test_event_stream_is_not_buffered(calls: Calls) -> None:
    """The response of a language model through MLflow's AI gateway."""
    api = f"{calls.app.url}/api/3.0/mlflow/gateway/"

    def create(path: str, **body: object) -> dict[str, str]:
        response = calls.session.post(api + path, json={"name": uuid.uuid4().hex, **body}, timeout=60)
        assert response.status_code == 200, response.text
        return next(iter(response.json().values()))

    with LanguageModel.running() as model:
        auth = {"secret_value": {"api_key": "sk-x"}, "auth_config": {"api_base": f"{model.url}/v1"}}
        key = create("secrets/create", secret_name=uuid.uuid4().hex, provider="openai", **auth)["secret_id"]
        definition = create("model-definitions/create", secret_id=key, provider="openai", model_name="m")
        used = {"model_definition_id": definition["model_definition_id"], "linkage_type": "PRIMARY", "weight": 1}
        endpoint = create("endpoints/create", model_configs=[used])
        body = {"messages": [{"role": "user", "content": "?"}], "stream": True}
        url = f"{calls.app.url}/gateway/{endpoint['name']}/mlflow/invocations"
        with calls.session.post(url, json=body, stream=True, timeout=60) as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            events = (line for line in response.iter_lines(chunk_size=1) if line)
            assert b"first word" in next(events)
            model.go_on.set()
            assert b"second word" in next(events)


def test_log_entries_are_json_without_secrets(pair: Pair, backends: Backends) -> None:
    for app in (pair.first, pair.second):
        assert app.unparsed == []
        assert {line["process"] for line in app.lines} >= {"proxy", "mlflow"}
        for line in app.lines:
            assert line["severity"] in {"INFO", "WARNING", "ERROR", "CRITICAL"}
            assert line["message"]
        text = json.dumps(app.lines, ensure_ascii=False)
        for secret in (pair.database.password, *backends.tokens.all.values(), *backends.secrets.tokens):
            assert secret not in text


def test_mlflow_accepts_its_own_loopback_address_only(pair: Pair) -> None:
    """It listens on the loopback interface and rejects other Host headers."""
    url = f"{upstream(pair.first)}/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert url.startswith("http://127.0.0.1:")
    assert requests.get(url, timeout=30).status_code == 200
    assert requests.get(url, headers={"Host": "localhost"}, timeout=30).status_code == 403


def upstream(app: AppProcess) -> str:
    return app.messages_with("MLflow server at ")[0].split()[4]


def test_no_telemetry_is_sent(pair: Pair, calls: Calls) -> None:
    path = "/ajax-api/3.0/mlflow/ui-telemetry"
    assert calls.session.get(calls.app.url + path, timeout=30).json()["disable_ui_telemetry"] is True
    assert requests.get(upstream(pair.first) + path, timeout=30).json()["disable_ui_telemetry"] is True
    # No other host is contacted either: the database, the bucket and Secret Manager are on this machine.
    assert pair.outgoing_proxy.requested_hosts == []


def test_requests_succeed_again_after_database_restart(
    pair: Pair, backends: Backends, calls: Calls, to_second: Calls
) -> None:
    workers = pair.first.workers()
    scenarios.restart_database([calls, to_second], backends.server)
    assert pair.first.workers() == workers


def test_certificates_are_replaced_while_mlflow_runs(pair: Pair, backends: Backends, calls: Calls) -> None:
    run = calls.new_run()
    before = list(backends.instance.used)
    last = max(backends.instance.issued[serial].expires for serial in before)
    pair.first.wait(lambda: datetime.datetime.now(datetime.UTC) > last)
    backends.server.end_connections(pair.database)
    assert [calls.log(run, str(number)) for number in range(20)] == [True] * 20
    after = backends.instance.used[len(before) :]
    assert after
    assert set(before).isdisjoint(after)


def test_new_workers_return_503_while_database_is_down(pair: Pair, backends: Backends, calls: Calls) -> None:
    workers = pair.first.workers()
    backends.server.kill()
    try:
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
            pair.first.wait(lambda worker=worker: pair.first.messages_with(f"MLflow's worker {worker} exited"))
        began = time.monotonic()
        pair.first.wait(lambda: calls.status() == 503)
        assert time.monotonic() - began < 15
    finally:
        backends.server.start()
    pair.first.wait(lambda: calls.status() == 200, timeout=30)
    assert set(pair.first.workers()).isdisjoint(workers)


def test_password_rotation_needs_no_restart_and_fails_no_request(
    pair: Pair, backends: Backends, calls: Calls, to_second: Calls
) -> None:
    workers = pair.first.workers()
    versions = backends.secrets.secrets[SECRET]
    pair.database = scenarios.rotate_password([calls, to_second], backends.server, versions, pair.database)
    assert pair.first.workers() == workers


def test_secret_version_added_after_password_change_is_read(pair: Pair, backends: Backends, calls: Calls) -> None:
    assert calls.status() == 200
    reads = len(backends.secrets.reads)
    pair.database = backends.server.change_password(pair.database, "third password")
    backends.server.end_connections(pair.database)
    assert calls.status() == 503
    for _ in range(10):
        calls.status()
    # At most one read by each of the four workers, not one per connection.
    assert len(backends.secrets.reads) - reads <= 4
    backends.secrets.secrets[SECRET].append(b"third password")
    pair.first.wait(lambda: calls.status() == 200, timeout=30)


def test_sigterm_under_load_loses_no_acknowledged_metric(pair: Pair, calls: Calls, to_second: Calls) -> None:
    """Stops the second instance."""
    pair.second.wait(lambda: to_second.status() == 200)
    scenarios.stop_under_load(to_second, calls)


def test_draining_container_accepts_requests_and_stops_soon(pair: Pair, calls: Calls) -> None:
    """Stops the first instance."""
    began = time.monotonic()
    pair.first.terminate()
    pair.first.wait(lambda: pair.first.status("/readyz") == 503)
    # App Engine may still route requests to it.
    assert calls.status() == 200
    assert pair.first.exit_code() == 0
    assert time.monotonic() - began < 12
