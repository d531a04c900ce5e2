"""MLflow's UI and API through a proxy behind Identity-Aware Proxy."""

import re

from local.fake_sagemaker.tls import Authority
from tests.doubles import iap
from tests.doubles.fixtures import Server
from tests.doubles.iap import BOB, JOB, Iap, KeyHost
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import Tokens, running_proxy


async def test_ui_and_api_work_behind_iap(mlflow_server: Server, authority: Authority, tokens: Tokens) -> None:
    iap_double = Iap()
    async with (
        KeyHost.running(iap_double, authority) as host,
        running_proxy(mlflow_server.url, tokens, upstream_timeout=60.0, **iap.settings(host, authority)) as proxy,
    ):

        def by(claims: dict[str, str]) -> str:
            return f"X-Goog-Iap-Jwt-Assertion: {iap_double.assertion(claims)}"

        page = await proxy.send(request("GET", "/", by(BOB), "Accept: text/html"))
        assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
        [script] = re.findall(r'<script[^>]* src="/?(static-files/[^"]+)"', page.body.decode())
        loaded = await proxy.send(request("GET", f"/{script}", by(BOB)))
        assert loaded.status == 200
        assert "javascript" in (loaded.header("content-type") or "")
        # A same-origin request, as browsers send it.
        own = ["Origin: https://proxy", "Sec-Fetch-Site: same-origin", "Content-Type: application/json"]
        search = "/ajax-api/2.0/mlflow/runs/search"
        assert (
            await proxy.send(request("POST", search, by(BOB), *own, body=b'{"experiment_ids": ["0"]}'))
        ).status == 200
        create = "/api/2.0/mlflow/runs/create"
        made = await proxy.send(
            request("POST", create, by(JOB), "Content-Type: application/json", body=b'{"experiment_id": "0"}')
        )
        assert (made.status, made.json()["run"]["info"]["status"]) == (200, "RUNNING")
        assert (await proxy.send(request("POST", create, by(BOB), body=b'{"experiment_id": "0"}'))).status == 403
