"""The image behind Identity-Aware Proxy: a browser gets MLflow's pages, and roles are enforced."""

import asyncio
import re
from pathlib import Path

import pytest
import requests

from local.fake_sagemaker import Authority
from tests.doubles.iap import ANN, AUDIENCE, BOB, Iap, KeyHost
from tests.doubles.mysql import Database
from tests.mlflow_app.app_process import AppProcess, started_together
from tests.mlflow_app.backends import Backends

# It imports MLflow, which is slow on a busy machine.
pytestmark = pytest.mark.timeout(300)

HOST = "mlflow-dot-team-ml.ew.r.appspot.com"


async def test_pages_and_roles_behind_iap(
    backends: Backends, current: Database, authority: Authority, tmp_path: Path
) -> None:
    iap = Iap()
    async with KeyHost.running(iap, authority) as host:
        settings = backends.settings(
            backends.server.copy(current),
            MLFLOW_PROXY_TOKENS_FILE="",
            MLFLOW_PROXY_IAP_AUDIENCE=AUDIENCE,
            MLFLOW_PROXY_IAP_KEYS_URL=host.url,
            MLFLOW_PROXY_ALLOWED_HOSTS=f"{HOST}, *-dot-{HOST}",
            MLFLOW_PROXY_ROLE_RULES=f"email:{ANN['email']}=editor, domain:example.org=viewer",
            AWS_CA_BUNDLE=str(authority.ca_file),
        )
        with started_together(tmp_path, [settings]) as (app,):
            # In a thread: the key host runs in this event loop.
            await asyncio.to_thread(use_browser, app, iap)


def use_browser(app: AppProcess, iap: Iap) -> None:
    app.wait(lambda: app.status("/healthz") == 200)
    app.wait_ready()

    def send(
        method: str, path: str, user: dict[str, str] | None, host: str = HOST, **options: object
    ) -> requests.Response:
        headers = {"x-goog-iap-jwt-assertion": iap.assertion(user)} if user else {}
        # The headers of a browser on MLflow's own page.
        headers |= {"Host": host, "Origin": f"https://{host}"}
        return requests.request(method, app.url + path, headers=headers, timeout=60, json=options or None)

    assert send("GET", "/", None).status_code == 401
    health = send("GET", "/health", None)
    assert (health.status_code, health.text) == (200, "OK")
    assert send("GET", "/", BOB, f"v1-dot-{HOST}").status_code == 200
    assert send("GET", "/", BOB, "evil.example").status_code == 403
    page = send("GET", "/", BOB)
    assert page.status_code == 200
    assert "<title>MLflow</title>" in page.text
    script = re.search(r'src="(static-files/[^"]+\.js)"', page.text)
    assert script
    assert send("GET", f"/{script[1]}", BOB).status_code == 200

    created = send("POST", "/ajax-api/2.0/mlflow/experiments/create", ANN, name="created by a browser")
    assert created.status_code == 200
    experiment = created.json()["experiment_id"]
    assert send("GET", f"/ajax-api/2.0/mlflow/experiments/get?experiment_id={experiment}", BOB).status_code == 200
    denied = send("POST", "/ajax-api/2.0/mlflow/experiments/delete", BOB, experiment_id=experiment)
    assert denied.status_code == 403
    assert "requires admin" in denied.text

    def principals() -> set[str | None]:
        return {line["principal"] for line in app.lines if line.get("event") == "request"}

    # The lines arrive a moment after the responses.
    app.wait(lambda: principals() == {None, ANN["email"], BOB["email"]}, timeout=10)
