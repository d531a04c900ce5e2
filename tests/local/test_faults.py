"""Each injected fault has its documented effect, for the requested number of requests."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from local.fake_sagemaker import FakeSageMaker
from tests.doubles.signed_requests import open_response, send, sign
from tests.local.conftest import CHUNK, CHUNKS, Recorder


@pytest_asyncio.fixture
async def fake_sagemaker(start_fake_sagemaker: Any, recorder: Recorder) -> FakeSageMaker:
    return await start_fake_sagemaker(upstream=recorder.url)


async def read(fake_sagemaker: FakeSageMaker, path: str = "/api/2.0/mlflow/runs/get") -> bytes:
    """The complete response body; fails unless the status is 200."""
    async with open_response(fake_sagemaker, sign(fake_sagemaker, path), path) as response:
        assert response.status == 200
        return await response.read()


async def assert_works(fake_sagemaker: FakeSageMaker) -> None:
    assert await read(fake_sagemaker) == CHUNK * CHUNKS


async def test_throttle_affects_given_number_of_requests(fake_sagemaker: FakeSageMaker, recorder: Recorder) -> None:
    fake_sagemaker.faults.add("throttle", times=2, retry_after=7)
    for _ in range(2):
        async with open_response(fake_sagemaker, sign(fake_sagemaker)) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "7")
            assert response.headers["x-amzn-ErrorType"] == "ThrottlingException"
            assert await response.json() == {"message": "Rate exceeded"}
    assert recorder.requests == []
    await assert_works(fake_sagemaker)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_error_has_given_status(fake_sagemaker: FakeSageMaker, recorder: Recorder, status: int) -> None:
    fake_sagemaker.faults.add("error", status=status, retry_after=None)
    async with open_response(fake_sagemaker, sign(fake_sagemaker)) as response:
        assert response.status == status
        assert "Retry-After" not in response.headers
    assert recorder.requests == []
    await assert_works(fake_sagemaker)


async def test_deny_returns_access_denied(fake_sagemaker: FakeSageMaker) -> None:
    fake_sagemaker.faults.add("deny")
    status, result, kind = await send(fake_sagemaker, sign(fake_sagemaker))
    assert (status, kind) == (403, "AccessDeniedException")
    assert "is not authorized to perform" in result["message"]
    await assert_works(fake_sagemaker)


async def test_unlimited_fault_lasts_until_cleared(fake_sagemaker: FakeSageMaker) -> None:
    fake_sagemaker.faults.add("error", times=None)
    for _ in range(3):
        assert (await send(fake_sagemaker, sign(fake_sagemaker)))[0] == 503
    fake_sagemaker.faults.clear()
    await assert_works(fake_sagemaker)


async def test_fault_is_limited_to_its_path(fake_sagemaker: FakeSageMaker) -> None:
    fake_sagemaker.faults.add("error", path="/api/2.0/mlflow/runs/create")
    await assert_works(fake_sagemaker)
    path = "/api/2.0/mlflow/runs/create?x=1"
    assert (await send(fake_sagemaker, sign(fake_sagemaker, path), path))[0] == 503


async def test_slow_delays_status_line(fake_sagemaker: FakeSageMaker) -> None:
    fake_sagemaker.faults.add("slow", delay=0.3)
    began = time.monotonic()
    async with open_response(fake_sagemaker, sign(fake_sagemaker)) as response:
        assert response.status == 200
        assert time.monotonic() - began >= 0.3
    await assert_works(fake_sagemaker)


async def test_slow_delays_each_chunk(fake_sagemaker: FakeSageMaker) -> None:
    fake_sagemaker.faults.add("slow", chunk_delay=0.2)
    async with open_response(fake_sagemaker, sign(fake_sagemaker)) as response:
        # The headers have arrived; the body is delayed.
        began = time.monotonic()
        assert await response.read() == CHUNK * CHUNKS
        assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("after", [1, 70_000])
async def test_reset_truncates_body_at_given_length(fake_sagemaker: FakeSageMaker, after: int) -> None:
    fake_sagemaker.faults.add("reset", after_bytes=after)
    received = bytearray()
    async with open_response(fake_sagemaker, sign(fake_sagemaker)) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):  # noqa: PT012 - chunks arrive before the error
            async for chunk in response.content.iter_any():
                received += chunk
    assert len(received) <= after
    await assert_works(fake_sagemaker)


@pytest.mark.parametrize("forward", [True, False])
async def test_reset_happens_before_or_after_forwarding(
    fake_sagemaker: FakeSageMaker, recorder: Recorder, forward: bool
) -> None:
    fake_sagemaker.faults.add("reset", forward=forward, times=2)
    with pytest.raises(aiohttp.ClientError):
        await read(fake_sagemaker)
    assert [request.status for request in fake_sagemaker.recorded_requests] == [
        0,
        0,
    ]  # aiohttp retries a GET once
    assert len(recorder.requests) == 2 * forward
    await assert_works(fake_sagemaker)


async def test_expired_credentials_are_rejected_until_refreshed(fake_sagemaker: FakeSageMaker) -> None:
    old = fake_sagemaker.credentials.current()
    fake_sagemaker.faults.expire_credentials()
    for _ in range(2):
        status, _, kind = await send(fake_sagemaker, sign(fake_sagemaker, credential=old))
        assert (status, kind) == (403, "ExpiredTokenException")
    async with aiohttp.ClientSession() as session, session.get(fake_sagemaker.credentials_url) as response:
        assert (await response.json())["AccessKeyId"] != old.access_key
    await assert_works(fake_sagemaker)


async def test_faults_apply_to_validly_signed_requests_only(fake_sagemaker: FakeSageMaker) -> None:
    fake_sagemaker.faults.add("error", status=500)
    assert (await send(fake_sagemaker, sign(fake_sagemaker, service="s3")))[0] == 403
    assert (await send(fake_sagemaker, sign(fake_sagemaker)))[0] == 500


async def test_truncated_mlflow_response_resets_connection(start_fake_sagemaker: Any) -> None:
    async def broken(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(broken, "127.0.0.1", 0)
    async with server:
        fake_sagemaker = await start_fake_sagemaker(upstream=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(aiohttp.ClientError):
            await read(fake_sagemaker)


async def test_unreachable_mlflow_returns_503(start_fake_sagemaker: Any, unused_tcp_port: int) -> None:
    fake_sagemaker = await start_fake_sagemaker(upstream=f"http://127.0.0.1:{unused_tcp_port}")
    status, result, kind = await send(fake_sagemaker, sign(fake_sagemaker))
    assert (status, kind) == (503, "ServiceUnavailable"), result


async def test_faults_are_controlled_over_http(fake_sagemaker: FakeSageMaker) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(fake_sagemaker.faults_url, json={"kind": "throttle", "times": 3}) as response:
            assert (response.status, (await response.json())["active"][0]["times"]) == (200, 3)
        assert (await send(fake_sagemaker, sign(fake_sagemaker)))[0] == 429
        async with session.get(fake_sagemaker.faults_url) as response:
            assert (await response.json())["active"][0]["times"] == 2
        async with session.delete(fake_sagemaker.faults_url) as response:
            assert await response.json() == {"active": []}
        old = fake_sagemaker.credentials.current()
        async with session.post(fake_sagemaker.faults_url, json={"kind": "expire"}) as response:
            assert response.status == 200
        assert fake_sagemaker.credentials.current() != old


@pytest.mark.parametrize(
    "invalid",
    [
        "not JSON",
        "[]",
        '{"kind": "explode"}',
        '{"kind": "slow", "delay": -1}',
        '{"kind": "slow", "delay": "long"}',
        '{"kind": "error", "status": 200}',
        '{"kind": "throttle", "often": 1}',
        '{"kind": "throttle", "times": 0}',
    ],
)
async def test_invalid_fault_returns_400_with_message(fake_sagemaker: FakeSageMaker, invalid: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(fake_sagemaker.faults_url, data=invalid) as response:
        assert response.status == 400
        assert (await response.json())["message"]
    assert fake_sagemaker.faults.active == ()
