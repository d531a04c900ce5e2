"""Two instances on one database, started at once while it was empty: what they do for their callers, come what may."""

import dataclasses
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
from tests.doubles.mariadb import Database
from tests.mlflow_app import stories
from tests.mlflow_app.app_process import AppProcess, together
from tests.mlflow_app.calls import Calls
from tests.mlflow_app.hosts import LanguageModel, ProxyThatTellsTales
from tests.mlflow_app.place import Place

# Each of them imports MLflow, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)

SECRET = "database-password"


@dataclasses.dataclass(slots=True)
class Pair:
    """`first`: over the socket, artifacts proxied. `second`: over TCP, artifacts direct. Both: password by secret."""

    database: Database
    first: AppProcess
    second: AppProcess
    # Whatever the first asks of an https:// host comes by here.
    abroad: ProxyThatTellsTales


@pytest.fixture(scope="module")
def pair(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Generator[Pair]:
    database = place.server.database(password="it's a:p@ss/wörd%20?#")
    place.secrets.secrets[SECRET] = [b"an old one", database.password.encode() + b"\n"]
    settings = {
        **place.settings(database, **place.by_secret(SECRET)),
        # A model on this machine may be asked.
        "MLFLOW_GATEWAY_API_BASE_ALLOWED_SCHEMES": "http",
        "MLFLOW_GATEWAY_API_BASE_ALLOW_PRIVATE_IPS": "true",
    }
    direct = {**settings, **place.by_address(), "MLFLOW_APP_ARTIFACT_ACCESS": "direct"}
    del direct["MLFLOW_APP_DATABASE_SOCKET"]
    with ProxyThatTellsTales.running() as abroad:
        proxied = {**settings, "HTTPS_PROXY": abroad.url, "MLFLOW_PROXY_DRAIN_SECONDS": "3"}
        with together(tmp_path_factory.mktemp("pair"), [proxied, direct]) as (first, second):
            for app in (first, second):
                app.wait(lambda app=app: app.status("/healthz") == 200)
                # It lives, and MLflow has not been imported yet.
                assert app.status("/readyz") == 503
            for app in (first, second):
                app.wait_ready()
            yield Pair(database, first, second, abroad)


@pytest.fixture
def calls(pair: Pair, place: Place) -> Generator[Calls]:
    """To the first."""
    made = Calls(pair.first, place.tokens)
    yield made
    made.close()


@pytest.fixture
def to_second(pair: Pair, place: Place) -> Generator[Calls]:
    made = Calls(pair.second, place.tokens)
    yield made
    made.close()


def test_of_two_that_start_at_once_one_makes_the_schema(pair: Pair, place: Place) -> None:
    stories.one_of_them_works_on_the_schema([pair.first, pair.second], "has been made")
    assert place.server.execute("SELECT name FROM experiments WHERE experiment_id = 0", database=pair.database.name)


def test_a_stock_client_logs_searches_uploads_and_registers_through_the_proxy(
    pair: Pair, place: Place, tmp_path: Path
) -> None:
    # As with a file of 500 MB: the client asks for an upload in parts first.
    large = {"MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "1000000"}
    uri = stories.a_client_works(pair.first, place.tokens.admin, tmp_path, "proxied", **large)
    assert uri.startswith("mlflow-artifacts:/")
    assert pair.first.said("POST /api/2.0/mlflow-artifacts/mpu/create/<path:artifact_path> 501")


def test_direct_artifacts_go_past_the_proxy(pair: Pair, place: Place, tmp_path: Path) -> None:
    uri = stories.a_client_works(pair.second, place.tokens.admin, tmp_path, "direct", **place.bucket)
    assert uri.startswith(f"gs://{BUCKET}/artifacts/")
    assert not pair.second.said("mlflow-artifacts")


def test_an_experiment_that_was_made_with_proxied_artifacts_keeps_them_where_they_are_direct(
    calls: Calls, to_second: Calls
) -> None:
    run = calls.get("runs/get", run_id=calls.new_run()).json()["run"]["info"]
    path = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    url = f"/api/2.0/mlflow-artifacts/artifacts/{path}/note.txt"
    assert calls.session.put(calls.app.url + url, data=b"kept", timeout=60).status_code == 200
    assert to_second.session.get(to_second.app.url + url, timeout=60).content == b"kept"


def test_a_stream_of_events_comes_piece_by_piece(calls: Calls) -> None:
    """MLflow's own: what a language model says, through MLflow's AI gateway."""
    api = f"{calls.app.url}/api/3.0/mlflow/gateway/"

    def made(path: str, **body: object) -> dict[str, str]:
        answer = calls.session.post(api + path, json={"name": uuid.uuid4().hex, **body}, timeout=60)
        assert answer.status_code == 200, answer.text
        return next(iter(answer.json().values()))

    with LanguageModel.running() as model:
        auth = {"secret_value": {"api_key": "sk-x"}, "auth_config": {"api_base": f"{model.url}/v1"}}
        key = made("secrets/create", secret_name=uuid.uuid4().hex, provider="openai", **auth)["secret_id"]
        definition = made("model-definitions/create", secret_id=key, provider="openai", model_name="m")
        used = {"model_definition_id": definition["model_definition_id"], "linkage_type": "PRIMARY", "weight": 1}
        endpoint = made("endpoints/create", model_configs=[used])
        asked = {"messages": [{"role": "user", "content": "?"}], "stream": True}
        url = f"{calls.app.url}/gateway/{endpoint['name']}/mlflow/invocations"
        with calls.session.post(url, json=asked, stream=True, timeout=60) as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            events = (line for line in answer.iter_lines(chunk_size=1) if line)
            assert b"first word" in next(events)
            model.go_on.set()
            assert b"second word" in next(events)


def test_every_line_is_json_in_cloud_loggings_form_and_none_holds_a_secret(pair: Pair, place: Place) -> None:
    for app in (pair.first, pair.second):
        assert app.strays == []
        assert {line["process"] for line in app.lines} >= {"proxy", "mlflow"}
        for line in app.lines:
            assert line["severity"] in {"INFO", "WARNING", "ERROR", "CRITICAL"}
            assert line["message"]
        text = json.dumps(app.lines, ensure_ascii=False)
        for secret in (pair.database.password, *place.tokens.all.values(), *place.secrets.tokens):
            assert secret not in text


def test_mlflow_answers_nobody_but_the_proxy(pair: Pair) -> None:
    """It listens on loopback, and takes its own address alone for its name."""
    url = f"{upstream(pair.first)}/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert url.startswith("http://127.0.0.1:")
    assert requests.get(url, timeout=30).status_code == 200
    assert requests.get(url, headers={"Host": "localhost"}, timeout=30).status_code == 403


def upstream(app: AppProcess) -> str:
    return app.said("MLflow server at ")[0].split()[3]


def test_nothing_is_told_to_mlflows_makers(pair: Pair, calls: Calls) -> None:
    path = "/ajax-api/3.0/mlflow/ui-telemetry"
    assert calls.session.get(calls.app.url + path, timeout=30).status_code == 404
    assert requests.get(upstream(pair.first) + path, timeout=30).json()["disable_ui_telemetry"] is True
    # Nor to anybody else: the database, the bucket and Secret Manager are on this machine.
    assert pair.abroad.asked == []


def test_a_database_that_is_killed_and_comes_back_is_found_again(
    pair: Pair, place: Place, calls: Calls, to_second: Calls
) -> None:
    workers = pair.first.workers()
    stories.the_database_is_killed_and_comes_back([calls, to_second], place.server)
    assert pair.first.workers() == workers


def test_processes_that_start_while_the_database_is_away_let_nobody_wait(
    pair: Pair, place: Place, calls: Calls
) -> None:
    workers = pair.first.workers()
    place.server.kill()
    try:
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
            pair.first.wait(lambda worker=worker: pair.first.said(f"A process that served MLflow, {worker}, ended"))
        began = time.monotonic()
        pair.first.wait(lambda: calls.status() == 503)
        assert time.monotonic() - began < 15
    finally:
        place.server.start()
    pair.first.wait(lambda: calls.status() == 200, within=30)
    assert set(pair.first.workers()).isdisjoint(workers)


def test_a_password_that_changes_needs_no_restart_and_costs_no_request(
    pair: Pair, place: Place, calls: Calls, to_second: Calls
) -> None:
    workers = pair.first.workers()
    versions = place.secrets.secrets[SECRET]
    pair.database = stories.the_password_changes([calls, to_second], place.server, versions, pair.database)
    assert pair.first.workers() == workers


def test_a_secret_that_follows_its_password_late_is_read_when_it_comes(pair: Pair, place: Place, calls: Calls) -> None:
    assert calls.status() == 200
    reads = len(place.secrets.reads)
    pair.database = place.server.change_password(pair.database, "third password")
    place.server.end_connections(pair.database)
    assert calls.status() == 503
    for _ in range(10):
        calls.status()
    # Two processes here, and two of the other instance at most: they do not ask for each connection.
    assert len(place.secrets.reads) - reads <= 4
    place.secrets.secrets[SECRET].append(b"third password")
    pair.first.wait(lambda: calls.status() == 200, within=30)


def test_sigterm_under_load_loses_nothing_that_was_acknowledged(pair: Pair, calls: Calls, to_second: Calls) -> None:
    """It ends the second; the first still knows what was stored."""
    pair.second.wait(lambda: to_second.status() == 200)
    stories.sigterm_under_load_loses_nothing(to_second, calls)


def test_an_idle_container_is_gone_soon_after_sigterm_and_takes_requests_while_it_drains(
    pair: Pair, calls: Calls
) -> None:
    """It ends the first."""
    began = time.monotonic()
    pair.first.terminate()
    pair.first.wait(lambda: pair.first.status("/readyz") == 503)
    # App Engine may still send some.
    assert calls.status() == 200
    assert pair.first.exit_code() == 0
    assert time.monotonic() - began < 12
