"""MLflow's UI and API through a proxy behind Identity-Aware Proxy."""

import re

from local.fake_sagemaker.tls import Authority
from tests.doubles import iap
from tests.doubles.fixtures import Server
from tests.doubles.iap import BOB, JOB, Iap, KeyHost
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import Tokens, running_proxy


async def test_ui_and_api_work_behind_iap(mlflow_server: Server, authority: Authority, tokens: Tokens) -> None:
    fake_iap = Iap()
    async with (
        KeyHost.running(fake_iap, authority) as host,
        running_proxy(mlflow_server.url, tokens, upstream_timeout=60.0, **iap.settings(host, authority)) as proxy,
    ):

        def header_of(claims: dict[str, str]) -> str:
            return f"X-Goog-Iap-Jwt-Assertion: {fake_iap.assertion(claims)}"

        page = await proxy.send(request("GET", "/", header_of(BOB), "Accept: text/html"))
        assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
        [script] = re.findall(r'<script[^>]* src="/?(static-files/[^"]+)"', page.body.decode())
        loaded = await proxy.send(request("GET", f"/{script}", header_of(BOB)))
        assert loaded.status == 200
        assert "javascript" in (loaded.header("content-type") or "")
        # A same-origin request, as browsers send it.
        same_origin = ["Origin: https://proxy", "Sec-Fetch-Site: same-origin", "Content-Type: application/json"]
        search = "/ajax-api/2.0/mlflow/runs/search"
        assert (
            await proxy.send(request("POST", search, header_of(BOB), *same_origin, body=b'{"experiment_ids": ["0"]}'))
        ).status == 200
        create = "/api/2.0/mlflow/runs/create"
        created = await proxy.send(
            request("POST", create, header_of(JOB), "Content-Type: application/json", body=b'{"experiment_id": "0"}')
        )
        assert (created.status, created.json()["run"]["info"]["status"]) == (200, "RUNNING")
        assert (await proxy.send(request("POST", create, header_of(BOB), body=b'{"experiment_id": "0"}'))).status == 403
