"""The author of a run in MLflow is the authenticated principal."""

import json
from typing import Any

import pytest

from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, FakeUpstream
from tests.doubles.raw_client import request

from .conftest import StartProxy, StartUpstream

CREATE, SET_TAG, LOG_BATCH = (f"/api/2.0/mlflow/runs/{path}" for path in ("create", "set-tag", "log-batch"))
FORGED: dict[str, str] = {"key": "mlflow.user", "value": "someone-else"}
OWN: dict[str, str] = {"key": "mlflow.user", "value": "some-editor"}
OTHER: dict[str, str] = {"key": "mlflow.source.name", "value": "train.py"}


@pytest.fixture
async def fake_upstream(start_upstream: StartUpstream) -> FakeUpstream:
    return await start_upstream(fake_upstreams.respond_with(OK))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("target", "sent", "received"),
    [
        (CREATE, {"experiment_id": "1"}, {"experiment_id": "1", "user_id": "some-editor", "tags": [OWN]}),
        (CREATE, {"user_id": "x", "tags": [OTHER, FORGED]}, {"user_id": "some-editor", "tags": [OTHER, OWN]}),
        (CREATE, {"userId": "x", "tags": [FORGED, FORGED]}, {"user_id": "some-editor", "tags": [OWN, OWN]}),
        (CREATE.replace("/api/", "/ajax-api/"), {}, {"user_id": "some-editor", "tags": [OWN]}),
        (SET_TAG, {"run_id": "r", **FORGED}, {"run_id": "r", **OWN}),
        (SET_TAG, {"run_id": "r", **OTHER}, {"run_id": "r", **OTHER}),
        (LOG_BATCH, {"run_id": "r", "tags": [FORGED, OTHER]}, {"run_id": "r", "tags": [OWN, OTHER]}),
        (LOG_BATCH, {"run_id": "r", "tags": [OTHER]}, {"run_id": "r", "tags": [OTHER]}),
    ],
)
async def test_author_is_the_principal(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, target: str, sent: Any, received: Any, signed: bool
) -> None:
    proxy = await start_proxy(fake_upstream.origin, signed=signed, user_tag=True)
    # With escapes, which a comparison of bytes would not find.
    body = json.dumps(sent).replace("mlflow.user", r"mlflow\u002euser").encode()
    data = request("POST", target, "Content-Type: application/json", body=body, token=proxy.tokens.editor)
    assert (await proxy.send(data)).status == 200
    assert json.loads(fake_upstream.requests[0].body) == received


async def test_author_in_twice_encoded_json_of_older_clients_is_the_principal(
    fake_upstream: FakeUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(fake_upstream.origin, user_tag=True)
    body = json.dumps(json.dumps({"tags": [FORGED]})).encode()
    data = request("POST", CREATE, "Content-Type: application/json", body=body, token=proxy.tokens.editor)
    assert (await proxy.send(data)).status == 200
    assert json.loads(fake_upstream.requests[0].body) == {"user_id": "some-editor", "tags": [OWN]}


@pytest.mark.parametrize("body", [b"", b"[]", b"not JSON", b'{"tags": {}}', b'{"tags": [1, null, {}]}'])
async def test_body_that_mlflow_rejects_passes(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, body: bytes
) -> None:
    proxy = await start_proxy(fake_upstream.origin, user_tag=True)
    data = request("POST", CREATE, "Content-Type: application/json", body=body, token=proxy.tokens.editor)
    assert (await proxy.send(data)).status == 200
    assert len(fake_upstream.requests) == 1


async def test_without_the_setting_the_body_is_unchanged(fake_upstream: FakeUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    body = json.dumps({"tags": [FORGED]}).encode()
    data = request("POST", CREATE, "Content-Type: application/json", body=body, token=proxy.tokens.editor)
    assert (await proxy.send(data)).status == 200
    assert fake_upstream.requests[0].body == body
