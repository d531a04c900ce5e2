"""SageMaker's throttling: fewer requests at once while it lasts, principals in turn, at the end 429."""

import asyncio
import json
import time
from collections import Counter

import pytest

from proxy_app.limits.concurrency import AdaptiveConcurrency
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK, UpstreamConnection
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import NON_IDEMPOTENT_WRITE, READ, RunningProxy, wait_until

from .conftest import StartProxy, StartUpstream


def aws_response(status: int, kind: str, *headers: str) -> bytes:
    """An error of AWS's JSON protocols: its code is in a header, the message in the body."""
    body = json.dumps({"message": "Rate exceeded"}).encode()
    lines = [f"HTTP/1.1 {status} x", "Content-Type: application/x-amz-json-1.1", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, f"x-amzn-ErrorType: {kind}", *headers]).encode() + b"\r\n\r\n" + body


THROTTLED = aws_response(429, "ThrottlingException")
MLFLOWS_OWN = (
    b"HTTP/1.1 429 x\r\nContent-Type: application/json\r\nContent-Length: 54\r\n\r\n"
    b'{"error_code": "REQUEST_LIMIT_EXCEEDED", "message": 1}'
)


class TokenBucket:
    """AWS's throttling: a bucket of ``burst`` requests, filled at ``rate`` per second; else 429 after ``latency``."""

    def __init__(self, rate: float, burst: float, latency: float = 0.01) -> None:
        self.rate, self.burst, self.latency = rate, burst, latency
        self.tokens, self.filled = burst, time.monotonic()
        self.statuses = Counter[int]()
        self.at_once = self.most_at_once = 0

    async def __call__(self, connection: UpstreamConnection) -> None:
        while True:
            await connection.read_request()
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            await asyncio.sleep(self.latency)
            self.at_once -= 1
            now = time.monotonic()
            self.tokens = min(self.burst, self.tokens + (now - self.filled) * self.rate)
            self.filled = now
            if allowed := self.tokens >= 1:
                self.tokens -= 1
            self.statuses[200 if allowed else 429] += 1
            await connection.send(OK if allowed else THROTTLED)


async def write(proxy: RunningProxy, count: int, token: str) -> list[float]:
    """Send writes one after the other, again after 429 as MLflow's clients do; returns their durations in seconds."""
    durations: list[float] = []
    async with proxy.connect() as client:
        for _ in range(count):
            started, status = time.monotonic(), 429
            for _ in range(8):
                response = await client.round_trip(request("POST", NON_IDEMPOTENT_WRITE, body=b"{}", token=token))
                if (status := response.status) != 429:
                    break
                await asyncio.sleep(int(response.header("retry-after") or 0))
            assert status == 200
            durations.append(time.monotonic() - started)
    return durations


@pytest.mark.parametrize(
    ("response", "retry_after"),
    [
        (THROTTLED, "5"),
        (aws_response(429, "TooManyRequestsException", "Retry-After: 7"), "7"),
        (aws_response(400, "ThrottlingException:http://internal.amazon.com/"), "5"),
        (aws_response(503, "SlowDown"), "5"),
        (MLFLOWS_OWN, "5"),
    ],
    ids=["429", "429 with Retry-After", "400", "503", "MLflow's own"],
)
async def test_throttling_reaches_the_client_as_429_with_retry_after(
    start_upstream: StartUpstream, start_proxy: StartProxy, response: bytes, retry_after: str
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(response))
    proxy = await start_proxy(fake_upstream.origin, signed=True, queue_seconds=0.0)
    received = await proxy.send(request("GET", READ, token=proxy.tokens.viewer))
    assert (received.status, received.json()["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
    assert received.header("retry-after") == retry_after
    await wait_until(lambda: proxy.metric("mlflow_proxy_upstream_concurrency_limit") == 1)


async def test_other_errors_do_not_count_as_throttling(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(aws_response(503, "ServiceUnavailableException")))
    proxy = await start_proxy(fake_upstream.origin, signed=True, max_requests=64)
    assert (await proxy.send(request("GET", READ, token=proxy.tokens.viewer))).status == 503
    assert proxy.metric("mlflow_proxy_upstream_concurrency_limit") == 64


async def test_throttled_write_is_sent_again_within_the_queue_time(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    """AWS carries a throttled request out at no time, so that also a write is safe to send again."""
    fake_upstream = await start_upstream(fake_upstreams.respond_with(THROTTLED, OK))
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    response = await proxy.send(request("POST", NON_IDEMPOTENT_WRITE, body=b"{}", token=proxy.tokens.editor))
    assert response.status == 200
    await wait_until(lambda: bool(proxy.lines))
    assert (proxy.lines[-1]["attempts"], len(fake_upstream.requests)) == (2, 2)


@pytest.mark.timeout(90)
async def test_storm_of_writers_gets_through_a_throttling_upstream_at_its_rate(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    bucket = TokenBucket(rate=50, burst=50)
    fake_upstream = await start_upstream(bucket)
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    started = time.monotonic()
    await asyncio.gather(*(write(proxy, 5, proxy.tokens.editor) for _ in range(100)))
    seconds = time.monotonic() - started
    # 9 seconds at the upstream's rate.
    assert bucket.statuses[200] == 500
    assert seconds < 25
    assert bucket.statuses[429] < 300, "most of what is sent has to be accepted"
    await wait_until(lambda: proxy.metric("mlflow_proxy_upstream_concurrency") == 0, 10)
    assert proxy.in_flight == 0
    assert proxy.budget_free == proxy.settings.body_budget


@pytest.mark.timeout(60)
async def test_flood_does_not_starve_a_polite_client_while_the_upstream_throttles(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    bucket = TokenBucket(rate=20, burst=20)
    fake_upstream = await start_upstream(bucket)
    proxy = await start_proxy(fake_upstream.origin, signed=True)
    flood = [asyncio.create_task(write(proxy, 1000, proxy.tokens.editor)) for _ in range(60)]
    await wait_until(lambda: bucket.statuses[429] > 10)
    durations = await write(proxy, 10, proxy.tokens.admin)
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)
    # In turn with 60 others it would take 3 s each.
    assert sorted(durations)[5] < 1.5
    assert max(durations) < 6


async def test_concurrency_halves_once_for_requests_that_were_sent_together_and_grows_when_used() -> None:
    concurrency = AdaptiveConcurrency(100, 5)
    for _ in range(40):
        await concurrency.acquire("a", 0)
    sent_at = time.monotonic()
    for _ in range(40):
        assert concurrency.throttled("a", sent_at, retry_after=None) == 1
    assert (concurrency.pool.capacity, concurrency.pool.used) == (20, 40)
    await asyncio.sleep(1.1)
    assert concurrency.pool.used == 0
    for _ in range(20):
        await concurrency.acquire("a", 0)
    concurrency.succeeded("a")
    concurrency.succeeded("a")
    assert (concurrency.pool.capacity, concurrency.pool.used) == (21, 18)
    for _ in range(18):
        concurrency.succeeded("a")
    assert (concurrency.pool.capacity, concurrency.pool.used, concurrency.pool.owners) == (21, 0, 0)
