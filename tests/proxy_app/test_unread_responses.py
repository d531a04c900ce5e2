"""Clients that do not read their responses: what the proxy holds for them is bounded, in its process and the system."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import cast

import psutil
import pytest

from local.fake_sagemaker.tls import Authority
from proxy_app.limits.admission import RESPONSE_BYTES
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import response_with_length
from tests.doubles.proxy_process import ProxyProcess
from tests.doubles.raw_client import RawClient, request
from tests.doubles.running_proxy import ARN, ARTIFACT, READ, Tokens, wait_until, wait_until_stable

from .conftest import StartProxy, StartUpstream
from .test_extension_points import JSON, REWRITING

CLIENTS = 100
# What the first requests make the process load, whatever their number.
ONCE = 8 << 20
LIMITS = {
    "MLFLOW_PROXY_PRINCIPAL_MAX_REQUESTS": str(CLIENTS),
    "MLFLOW_PROXY_PRINCIPAL_REQUESTS_PER_SECOND": "100000",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret-key",
}
BODIES = {
    "endless": fake_upstreams.stream_body(),
    "endless chunked": fake_upstreams.stream_body(chunked=True),
    "just below a write": fake_upstreams.respond_with(response_with_length(b"x" * 60_000)),
}


def stop_reading(client: RawClient) -> None:
    cast("asyncio.Transport", client.writer.transport).pause_reading()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
@pytest.mark.parametrize("body", BODIES)
async def test_clients_that_do_not_read_hold_at_most_their_share_of_the_response_budget(
    start_upstream: StartUpstream, authority: Authority, tokens: Tokens, tmp_path: Path, body: str, signed: bool
) -> None:
    fake_upstream = await start_upstream(BODIES[body], tls=authority.server_context() if signed else None)
    target = (
        {
            "MLFLOW_PROXY_TARGET_ARN": ARN,
            "MLFLOW_PROXY_TARGET_ENDPOINT": fake_upstream.origin,
            "AWS_CA_BUNDLE": str(authority.ca_file),
        }
        if signed
        else {"MLFLOW_PROXY_UPSTREAM_URL": fake_upstream.origin}
    )
    async with (
        ProxyProcess.serving(tmp_path, tokens, **LIMITS, **target) as proxy,
        contextlib.AsyncExitStack() as stack,
    ):
        process = psutil.Process(proxy.pid)
        for _ in range(20):
            await proxy.send(request("GET", "/healthz"))
        before = process.memory_info().rss
        get = request("GET", ARTIFACT, token=tokens.viewer)
        for _ in range(CLIENTS):
            client = await stack.enter_async_context(proxy.connect(buffer=4096))
            stop_reading(client)
            await client.send(get * (1 if body.startswith("endless") else 10))
        await wait_until(lambda: len(fake_upstream.requests) >= CLIENTS, 60)
        await wait_until_stable(lambda: process.memory_info().rss, 0.5)
        held = process.memory_info().rss - before
        assert held <= ONCE + CLIENTS * RESPONSE_BYTES, f"{held / CLIENTS / 1024:.0f} KiB per client"


async def test_system_holds_little_for_a_client_that_stops_reading(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    """Also for one with a large window that has read fast before: by default, Linux would hold megabytes for it."""
    fake_upstream = await start_upstream(fake_upstreams.stream_body())
    proxy = await start_proxy(fake_upstream.origin)
    async with proxy.connect() as client:
        await client.send(request("GET", ARTIFACT, token=proxy.tokens.viewer))
        await client.head()
        for _ in range(300):
            await client.reader.readexactly(65536)
        stop_reading(client)
        await wait_until_stable(lambda: fake_upstream.moved, 0.5)
        (connection,) = proxy.server.connections._open  # pyright: ignore[reportPrivateUsage]
        assert connection._unread_bytes() <= RESPONSE_BYTES  # pyright: ignore[reportPrivateUsage]


async def test_rewritten_response_holds_budget_until_it_is_sent(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    body = json.dumps({"artifact_uri": "s3://bucket/prefix/1/model", "n": "x" * 8_000_000}).encode()
    fake_upstream = await start_upstream(fake_upstreams.respond_with(response_with_length(body, JSON)))
    proxy = await start_proxy(fake_upstream.origin, extensions=REWRITING, principal_max_requests=2)
    budget = proxy.settings.body_budget
    sent = len(body) - len("s3://bucket/prefix/") + len("mlflow-artifacts:/")
    async with contextlib.AsyncExitStack() as stack:
        for number in (1, 2):
            client = await stack.enter_async_context(proxy.connect(buffer=4096))
            stop_reading(client)
            await client.send(request("GET", READ, token=proxy.tokens.viewer))
            await wait_until(lambda number=number: proxy.budget_free == budget - number * sent)
        await asyncio.sleep(0.2)
        assert proxy.budget_free == budget - 2 * sent
    await wait_until(lambda: proxy.budget_free == budget)
