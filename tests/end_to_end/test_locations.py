"""Locations in the responses of a real MLflow, through the proxy and without it."""

import json
import uuid
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from local.fake_sagemaker import FakeSageMaker
from proxy_app.artifacts.root import ArtifactRoot
from tests.doubles.fixtures import Server
from tests.doubles.proxy_process import ProxyProcess
from tests.doubles.running_proxy import Tokens

ROOT = ArtifactRoot("mlflow", "artifacts")
INSIDE = "s3://mlflow/artifacts/user/data"
LOCATION_TAG = "mlflow.artifactLocation"
# Names of fields with locations, and of the objects that hold the data of users.
FIELDS = {"artifact_uri", "artifact_location", "root_uri", "source", "artifactUri", "artifactLocation"}
USER_DATA = {"inputs", "assessments", "params", "spans", "dataset", "trace_metadata"}


def shown(value: Any, name: str = "") -> Any:
    """What a client should see of a value of MLflow: written from MLflow's documentation of its fields."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        if members.get("key") == LOCATION_TAG:
            return {**members, "value": ROOT.to_client(members["value"])}
        if name == "tags":
            return {key: ROOT.to_client(item) if key == LOCATION_TAG else item for key, item in members.items()}
        return {key: item if key in USER_DATA else shown(item, key) for key, item in members.items()}
    if isinstance(value, list):
        return [shown(item) for item in cast("list[Any]", value)]
    return ROOT.to_client(value) if name in FIELDS and isinstance(value, str) else value


class Api:
    """MLflow's REST API at a URL."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str = "") -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def call(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        url = f"{self._url}{path}" if path.startswith("/") else f"{self._url}/api/2.0/mlflow/{path}"
        async with self._session.request(method, url, json=body, params=query, headers=self._headers) as response:
            text = await response.text()
            assert response.status == 200, (path, text)
            return json.loads(text)


async def fill(api: Api, name: str) -> tuple[str, str, str, str]:
    """Create an experiment with runs, models and traces that also hold locations as data of users; returns ids."""
    experiment = (await api.call("POST", "experiments/create", {"name": name}))["experiment_id"]
    runs = [(await api.call("POST", "runs/create", {"experiment_id": experiment}))["run"]["info"] for _ in range(3)]
    run, uri = runs[0]["run_id"], runs[0]["artifact_uri"]
    for key, value in (("artifact_uri", INSIDE), ("history", json.dumps({"artifact_uri": INSIDE}))):
        await api.call("POST", "runs/set-tag", {"run_id": run, "key": key, "value": value})
        await api.call("POST", "runs/log-parameter", {"run_id": run, "key": key, "value": value})
    dataset = {"name": "d", "digest": "1", "source_type": "s3", "source": json.dumps({"uri": INSIDE})}
    await api.call("POST", "runs/log-inputs", {"run_id": run, "datasets": [{"dataset": dataset}]})
    await api.call("POST", "registered-models/create", {"name": name, "tags": [{"key": "source", "value": INSIDE}]})
    for _ in range(2):
        version = {"name": name, "source": f"{uri}/model", "run_id": run}
        await api.call("POST", "model-versions/create", version)
    model = await api.call(
        "POST",
        "logged-models",
        {"experiment_id": experiment, "name": "m", "params": [{"key": "artifact_uri", "value": INSIDE}]},
    )
    trace = "tr-" + uuid.uuid4().hex
    info = {
        "trace_id": trace,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
        "request_time": "2026-01-01T00:00:00Z",
        "state": "OK",
        "tags": {"artifact_uri": INSIDE, "source": INSIDE},
        "trace_metadata": {"source": INSIDE},
    }
    await api.call("POST", "/api/3.0/mlflow/traces", {"trace": {"trace_info": info}})
    assessment = {
        "assessment_name": "a",
        "trace_id": trace,
        "source": {"source_type": "HUMAN", "source_id": INSIDE},
        "feedback": {"value": {"artifact_uri": INSIDE, "tags": {LOCATION_TAG: INSIDE}}},
    }
    await api.call("POST", f"/api/3.0/mlflow/traces/{trace}/assessments", {"assessment": assessment})
    return experiment, run, model["model"]["info"]["model_id"], trace


def reads(name: str, experiment: str, run: str, model: str, trace: str) -> list[tuple[str, str, Any, dict[str, str]]]:
    """(method, path, body, query) of requests that answer with locations."""
    here = {"experiment_ids": [experiment]}
    graphql = (
        "query Q($data: MlflowGetRunInput!) { mlflowGetRun(input: $data) { run { info { artifactUri } "
        "experiment { artifactLocation } modelVersions { source } data { tags { key value } } "
        "inputs { datasetInputs { dataset { source } } } } } }"
    )
    v3 = "/api/3.0/mlflow/traces"
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    return [
        ("GET", "experiments/get", None, {"experiment_id": experiment}),
        ("GET", "experiments/get-by-name", None, {"experiment_name": name}),
        ("POST", "experiments/search", {"max_results": 100, "filter": f"name = '{name}'"}, {}),
        ("GET", "runs/get", None, {"run_id": run}),
        ("POST", "runs/search", here, {}),
        ("GET", "artifacts/list", None, {"run_id": run}),
        ("GET", f"logged-models/{model}", None, {}),
        ("POST", "logged-models/search", here, {}),
        ("GET", "registered-models/get", None, {"name": name}),
        ("GET", "registered-models/search", None, {"filter": f"name = '{name}'"}),
        ("POST", "registered-models/get-latest-versions", {"name": name}, {}),
        ("GET", "model-versions/get", None, {"name": name, "version": "1"}),
        ("GET", "model-versions/get-download-uri", None, {"name": name, "version": "1"}),
        ("GET", "model-versions/search", None, {"filter": f"name = '{name}'"}),
        ("GET", f"traces/{trace}/info", None, {}),
        ("GET", "traces", None, {"experiment_ids": experiment}),
        ("GET", f"{v3}/{trace}", None, {}),
        ("POST", f"{v3}/search", {"locations": [where]}, {}),
        ("POST", f"{v3}/batchGetInfos", {"trace_ids": [trace]}, {}),
        ("POST", "/graphql", {"query": graphql, "variables": {"data": {"runId": run}}}, {}),
    ]


@pytest.mark.timeout(240)
async def test_real_responses_are_mapped_by_field_and_requests_back(
    mlflow_server: Server, s3: Server, fake_sagemaker: FakeSageMaker, tokens: Tokens, tmp_path: Path
) -> None:
    settings = {
        "MLFLOW_PROXY_TARGET_ARN": fake_sagemaker.target.arn,
        "MLFLOW_PROXY_TARGET_ENDPOINT": fake_sagemaker.endpoint,
        "MLFLOW_PROXY_UI_URL": mlflow_server.url,
        "MLFLOW_PROXY_ARTIFACTS_URI": ROOT.uri,
        "AWS_ENDPOINT_URL_S3": s3.url,
        **fake_sagemaker.environ,
    }
    serving = ProxyProcess.serving(tmp_path, tokens, **settings)
    async with serving as proxy, aiohttp.ClientSession() as session:
        direct = Api(session, mlflow_server.url)
        editor, viewer = (Api(session, proxy.url, proxy.tokens.all[role]) for role in ("editor", "viewer"))
        for number, creator in enumerate((direct, editor)):
            name = f"locations-{uuid.uuid4().hex[:8]}"
            ids = await fill(creator, name)
            for method, path, body, query in reads(name, *ids):
                stored = await direct.call(method, path, body, **query)
                assert "s3://mlflow/artifacts/" in json.dumps(stored), (number, path)
                assert await viewer.call(method, path, body, **query) == shown(stored), (number, path)
            await check_pages_and_filters(direct, viewer, name, ids[0])


async def check_pages_and_filters(direct: Api, viewer: Api, name: str, experiment: str) -> None:
    page = {"experiment_ids": [experiment], "max_results": 1}
    found: list[str] = []
    token = ""
    while True:
        answer = await viewer.call("POST", "runs/search", {**page, "page_token": token})
        found += [run["info"]["artifact_uri"] for run in answer["runs"]]
        if not (token := answer.get("next_page_token", "")):
            break
    stored = await direct.call("POST", "runs/search", {"experiment_ids": [experiment]})
    assert found == [ROOT.to_client(run["info"]["artifact_uri"]) for run in stored["runs"]]
    assert len(found) == 3
    by_uri = {"experiment_ids": [experiment], "filter": f"attributes.artifact_uri = '{found[1]}'"}
    answer = await viewer.call("POST", "runs/search", by_uri)
    assert [run["info"]["artifact_uri"] for run in answer["runs"]] == [found[1]]
    versions = await viewer.call("GET", "model-versions/search", filter=f"name = '{name}'")
    source = versions["model_versions"][0]["source"]
    assert source.startswith("mlflow-artifacts:/")
    by_source = f"name = '{name}' AND source_path = '{source}'"
    assert (await viewer.call("GET", "model-versions/search", filter=by_source)) == versions
