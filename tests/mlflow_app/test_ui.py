"""The image in front of the fake SageMaker: MLflow serves the UI, the proxy the API."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from local.fake_sagemaker import APP_ARN, TRACKING_SERVER_ARN, FakeSageMaker
from tests.doubles.fixtures import StartFakeSageMaker
from tests.doubles.running_proxy import Tokens
from tests.mlflow_app.app_process import AppProcess

pytestmark = pytest.mark.timeout(300)

ROLE = "arn:aws:iam::000000000000:role/mlflow"
QUERY = {
    "operationName": "MlflowGetExperimentQuery",
    "variables": {"input": {"experimentId": "0"}},
    "query": "query MlflowGetExperimentQuery($input: MlflowGetExperimentInput!) "
    "{ mlflowGetExperiment(input: $input) { experiment { name } } }",
}
StartApp = Callable[..., AbstractAsyncContextManager[AppProcess]]


@pytest.fixture
def start_app(tokens: Tokens, tmp_path: Path) -> StartApp:
    """`async with start_app(fake_sagemaker, **settings) as app`: the image, serving the UI."""

    @asynccontextmanager
    async def start(fake: FakeSageMaker, **settings: str) -> AsyncGenerator[AppProcess]:
        environ: Mapping[str, str] = {
            **fake.environ,
            "MLFLOW_APP_TARGET_ARN": fake.target.arn,
            "MLFLOW_PROXY_TARGET_ENDPOINT": fake.endpoint,
            "MLFLOW_PROXY_TOKENS_FILE": str(tokens.file),
            "MLFLOW_APP_SHUTDOWN_TIMEOUT_SECONDS": "8",
            **settings,
        }
        app = AppProcess(tmp_path, environ)
        try:
            # In a thread: the fake runs on this event loop.
            await asyncio.to_thread(app.wait, lambda: app.messages_with("Serving MLflow's UI"))
            await asyncio.to_thread(app.wait, lambda: app.status("/readyz") == 200)
            yield app
        finally:
            await asyncio.to_thread(app.kill_all)

    return start


class Client:
    """Requests with a token, in a thread."""

    def __init__(self, app: AppProcess, token: str) -> None:
        self._app = app
        self._session = requests.Session()
        self._session.auth = ("any", token)

    async def send(self, method: str, path: str, content: Any = None) -> requests.Response:
        return await asyncio.to_thread(self._session.request, method, self._app.url + path, json=content, timeout=30)

    async def status(self, path: str) -> int:
        return (await self.send("GET", path)).status_code


@pytest.mark.parametrize(
    ("arn", "settings"),
    [
        (TRACKING_SERVER_ARN, {}),
        (TRACKING_SERVER_ARN, {"MLFLOW_PROXY_ASSUME_ROLE_ARN": ROLE}),
        (APP_ARN, {}),
    ],
    ids=["tracking server", "assumed role", "app"],
)
async def test_page_and_graphql_are_served_for_viewers_and_stored_nowhere_else(
    start_fake_sagemaker: StartFakeSageMaker, start_app: StartApp, tokens: Tokens, arn: str, settings: dict[str, str]
) -> None:
    fake = await start_fake_sagemaker(target_arn=arn)
    async with start_app(fake, **settings) as app:
        viewer = Client(app, tokens.viewer)
        page = await viewer.send("GET", "/")
        assert page.status_code == 200
        assert '<div id="root"' in page.text
        answer = (await viewer.send("POST", "/graphql", QUERY)).json()
        assert answer == {"data": {"mlflowGetExperiment": {"experiment": {"name": "Default"}}}, "errors": None}
        info = (await viewer.send("GET", "/ajax-api/3.0/mlflow/server-info")).json()
        assert info["features_enabled"] == {"gateway": False}
        assert (await viewer.send("GET", "/ajax-api/2.0/mlflow/experiments/get?experiment_id=0")).status_code == 200
        # Both the plugin and the proxy have signed for this target.
        assert {request.status for request in fake.recorded_requests} == {200}
        history = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids=none&metric_key=loss&max_results=10"
        assert (await viewer.send("GET", history)).status_code == 200
        server = psutil.Process(app.child("mlflow_app.ui"))
        listening = [c.laddr for c in server.net_connections() if c.status == psutil.CONN_LISTEN]
        assert [address.ip for address in listening] == ["127.0.0.1"]
        assert server.children() == []
        log = "\n".join([*map(json.dumps, app.lines), *app.unparsed])
        for secret in (*tokens.all.values(), "AWS4-HMAC", fake.credentials.current().secret_key):
            assert secret not in log


async def test_log_has_the_proxy_s_form(fake_sagemaker: FakeSageMaker, start_app: StartApp, tokens: Tokens) -> None:
    """The metric filters of the stack match it (components/aws/metrics.py)."""
    async with start_app(fake_sagemaker) as app:
        assert await Client(app, tokens.viewer).status("/") == 200
        app.terminate()
        assert await asyncio.to_thread(app.exit_code) == 0
    assert app.unparsed == []
    assert all({"time", "level", "event"} <= set(line) for line in app.lines)
    [request] = [line for line in app.lines if line["event"] == "request"]
    assert (request["principal"], request["route"], request["status"]) == ("some-viewer", "/", 200)
    assert [line["message"] for line in app.lines if line["event"] == "container"] == [
        "Stopping: the proxy first, then MLflow",
        "Stopped",
    ]


async def test_killed_ui_is_started_again_and_the_api_goes_on(
    fake_sagemaker: FakeSageMaker, start_app: StartApp, tokens: Tokens
) -> None:
    api = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    async with start_app(fake_sagemaker) as app:
        viewer = Client(app, tokens.viewer)
        first = app.child("mlflow_app.ui")
        os.kill(first, signal.SIGKILL)
        page = await viewer.send("GET", "/")
        assert page.status_code == 502
        assert page.json()["message"].startswith("MLflow's UI does not respond; the API is not affected.")
        statuses: list[int] = []
        async with asyncio.timeout(60):
            while await viewer.status("/") != 200:
                statuses += [await viewer.status(api), await viewer.status("/readyz")]
                await asyncio.sleep(0.1)
        assert set(statuses) == {200}
        assert app.child("mlflow_app.ui") != first
        assert app.messages_with("MLflow's UI exited, killed by SIGKILL: it is started again in 1 s")


async def test_container_stops_when_the_proxy_is_killed_or_it_is_terminated_while_the_ui_is_down(
    fake_sagemaker: FakeSageMaker, start_app: StartApp
) -> None:
    async with start_app(fake_sagemaker) as app:
        os.kill(app.child("proxy_app"), signal.SIGKILL)
        assert await asyncio.to_thread(app.exit_code) == 1
        assert app.messages_with("The proxy exited unexpectedly, killed by SIGKILL: the container stops")
    async with start_app(fake_sagemaker) as app:
        os.kill(app.child("mlflow_app.ui"), signal.SIGKILL)
        await asyncio.to_thread(app.wait, lambda: app.messages_with("it is started again"))
        app.terminate()
        assert await asyncio.to_thread(app.exit_code) == 0
