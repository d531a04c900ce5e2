"""Ids that clients and MLflow choose stay one segment of the path of the proxy's own requests to MLflow."""

import json
from urllib.parse import quote

import pytest

from proxy_app.artifacts.root import ArtifactRoot
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import response_with_length
from tests.doubles.raw_client import request
from tests.proxy_app.conftest import StartProxy, StartUpstream

IDS = ["..", ".", "../..", "../../../2.0/mlflow/webhooks", "a/b", "/", r"..\..\webhooks", "a\0b", "a\nb"]
ROOT = ArtifactRoot("team-artifacts", "mlflow")


@pytest.mark.parametrize("identifier", IDS, ids=repr)
async def test_trace_id_of_several_segments_is_not_asked_for(
    start_upstream: StartUpstream, start_proxy: StartProxy, identifier: str
) -> None:
    mlflow = await start_upstream(fake_upstreams.respond_with(response_with_length(b"{}")))
    proxy = await start_proxy(mlflow.origin, signed=True, artifacts_root=ROOT)
    target = f"/ajax-api/3.0/mlflow/get-trace-artifact?request_id={quote(identifier, safe='')}"
    response = await proxy.send(request("GET", target, token=proxy.tokens.viewer))
    assert response.error == (400, "INVALID_PARAMETER_VALUE")
    assert mlflow.requests == []


@pytest.mark.parametrize("identifier", [identifier for identifier in IDS if "/" not in identifier], ids=repr)
async def test_model_id_in_the_source_of_a_version_is_one_segment(
    start_upstream: StartUpstream, start_proxy: StartProxy, identifier: str
) -> None:
    source = json.dumps({"artifact_uri": f"models:/{identifier}"}).encode()
    mlflow = await start_upstream(
        fake_upstreams.respond_with(response_with_length(source, b"Content-Type: application/json"))
    )
    proxy = await start_proxy(mlflow.origin, signed=True, artifacts_root=ROOT)
    target = "/model-versions/get-artifact?name=a&version=1&path=model.pkl"
    response = await proxy.send(request("GET", target, token=proxy.tokens.viewer))
    assert response.error == (400, "INVALID_PARAMETER_VALUE")
    assert [received.line.split("?")[0] for received in mlflow.requests] == [
        "GET /api/2.0/mlflow/model-versions/get-download-uri"
    ]
