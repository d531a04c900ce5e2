"""Presigned URLs of MLflow and SageMaker end within minutes, whatever the client asks for."""

import json
from typing import Any

import pytest

from proxy_app.presigned_expiry import PRESIGNED_ROUTES
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, FakeUpstream
from tests.doubles.raw_client import request

from .conftest import StartProxy, StartUpstream

DOWNLOAD = "/api/2.0/mlflow/artifacts/presigned-download-url"


@pytest.fixture
async def fake_upstream(start_upstream: StartUpstream) -> FakeUpstream:
    return await start_upstream(fake_upstreams.respond_with(OK))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("target", sorted(PRESIGNED_ROUTES))
@pytest.mark.parametrize("asked", [901, 604800, "86400", 6.048e5, 10**30, "9e9", True, None, [], "a"])
async def test_longer_expiration_is_capped_at_15_minutes(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, target: str, signed: bool, asked: Any
) -> None:
    proxy = await start_proxy(fake_upstream.origin, signed=signed)
    body = json.dumps({"run_id": "1", "path": "a", "expiration": asked}).encode()
    if asked == 604800:
        body = json.dumps(body.decode()).encode()  # older clients encode twice
    data = request("POST", target, "Content-Type: application/json", body=body, token=proxy.tokens.editor)
    assert (await proxy.send(data)).status == 200
    [received] = fake_upstream.requests
    sent = json.loads(received.body)
    assert sent == {"run_id": "1", "path": "a", "expiration": True if asked is True else 900}


@pytest.mark.parametrize(
    "body", [b'{"run_id":  "1"}', b'{"expiration":  900}', b'{"expiration":"5"}', b"[]", b"not JSON", b""]
)
async def test_shorter_expiration_and_other_bodies_are_unchanged(
    fake_upstream: FakeUpstream, start_proxy: StartProxy, body: bytes
) -> None:
    proxy = await start_proxy(fake_upstream.origin)
    data = request("POST", DOWNLOAD, "Content-Type: application/json", body=body, token=proxy.tokens.viewer)
    assert (await proxy.send(data)).status == 200
    assert fake_upstream.requests[0].body == body
