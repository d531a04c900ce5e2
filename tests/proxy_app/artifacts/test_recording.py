"""The access log of requests to S3: what was sent is logged as sent."""

import asyncio
import contextlib
from typing import Any

import pytest

from proxy_app.artifacts.root import ArtifactRoot
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import FakeUpstream, response_with_length
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import ARTIFACT, RunningProxy, wait_until
from tests.proxy_app.conftest import StartProxy, StartUpstream

OK = response_with_length(b"", b'ETag: "e"')


async def start(start_proxy: StartProxy, s3: FakeUpstream) -> RunningProxy:
    settings: dict[str, Any] = {"artifacts_root": ArtifactRoot("team-artifacts", "mlflow"), "s3_endpoint": s3.origin}
    return await start_proxy("http://127.0.0.1:9", signed=True, **settings)


@pytest.mark.parametrize(("method", "body"), [("PUT", b"content"), ("GET", None)])
async def test_transfer_is_one_attempt_with_its_time(
    start_upstream: StartUpstream, start_proxy: StartProxy, method: str, body: bytes | None
) -> None:
    proxy = await start(start_proxy, await start_upstream(fake_upstreams.respond_with(OK)))
    assert (await proxy.send(request(method, ARTIFACT, body=body, token=proxy.tokens.editor))).status == 200
    line = proxy.lines[-1]
    assert line["attempts"] == 1
    assert line["upstream_duration_ms"] > 0


async def test_upload_whose_client_disconnects_is_logged_as_sent(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    s3 = await start_upstream(fake_upstreams.stall())
    proxy = await start(start_proxy, s3)
    async with proxy.connect() as client:
        await client.send(request("PUT", ARTIFACT, body=b"content", token=proxy.tokens.editor))
        await wait_until(lambda: len(s3.requests) == 1)
    await wait_until(lambda: len(proxy.lines) == 1)
    line = proxy.lines[-1]
    assert (line["status"], line["attempts"]) == (499, 1)
    assert line["upstream_duration_ms"] > 0


async def test_upload_that_never_reached_s3_is_no_attempt(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    s3 = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start(start_proxy, s3)
    async with proxy.connect() as client:
        await client.send(request("PUT", ARTIFACT, "Content-Length: 9", token=proxy.tokens.editor) + b"part")
        await wait_until(lambda: proxy.in_flight == 1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.closed()
    await wait_until(lambda: len(proxy.lines) == 1)
    line = proxy.lines[-1]
    assert (line["status"], line["attempts"], line["upstream_duration_ms"]) == (499, 0, None)


async def test_error_of_s3_is_an_attempt(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    error = response_with_length(b"<Error><Code>AccessDenied</Code></Error>", status=b"403 Forbidden")
    proxy = await start(start_proxy, await start_upstream(fake_upstreams.respond_with(error)))
    response = await proxy.send(request("PUT", ARTIFACT, body=b"content", token=proxy.tokens.editor))
    assert response.status >= 400
    assert proxy.lines[-1]["attempts"] == 1
