"""Uploads and downloads that fail: nothing half is left, nothing is acknowledged that S3 does not have."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from proxy_app.artifacts.uploads import PART, Uploads
from proxy_app.credentials import Loaded
from proxy_app.sigv4 import Credentials
from tests.doubles.faulty_s3 import Fault, FaultyS3, reset, respond, stall
from tests.doubles.object_stores import ObjectStore, credentials
from tests.doubles.proxy_process import ProxyProcess
from tests.doubles.running_proxy import ARN, Tokens, wait_until

from .conftest import ARTIFACTS, ArtifactProxy, StartArtifactProxy

CONTENT = bytes(range(256)) * (3 * PART // 256) + b"end"


@pytest_asyncio.fixture
async def faulty(store: ObjectStore, running: contextlib.AsyncExitStack) -> FaultyS3:
    return await running.enter_async_context(FaultyS3.running(store.url))


@pytest_asyncio.fixture
async def artifacts(start_artifact_proxy: StartArtifactProxy, faulty: FaultyS3) -> ArtifactProxy:
    return await start_artifact_proxy(s3=faulty.url, upstream_timeout=1.0)


def fail(faulty: FaultyS3, fault: Fault, method: str, text: str, times: int = 1 << 30) -> None:
    """Let requests with this method and this text in their target fail, so many times."""
    left = times

    def choose(request: web.Request, _: bytes) -> Fault | None:
        nonlocal left
        if request.method != method or text not in request.raw_path or left == 0:
            return None
        left -= 1
        return fault

    faulty.fault = choose


async def nothing_is_left(artifacts: ArtifactProxy) -> None:
    """Check that there is no object, no unfinished upload, and that the memory is free again."""
    store = artifacts.store
    await wait_until(lambda: store.unfinished_uploads() == [])
    assert store.paths() == []
    await wait_until(lambda: artifacts.proxy.metric("mlflow_proxy_upload_budget_free_bytes") == 64 * 1024 * 1024)


@pytest.mark.parametrize(
    ("fault", "status", "error_code"),
    [
        (respond(403, "AccessDenied"), 403, "PERMISSION_DENIED"),
        (respond(503, "SlowDown"), 503, "TEMPORARILY_UNAVAILABLE"),
        (respond(500, "InternalError"), 503, "TEMPORARILY_UNAVAILABLE"),
        (reset, 502, "TEMPORARILY_UNAVAILABLE"),
        (stall, 503, "TEMPORARILY_UNAVAILABLE"),
    ],
    ids=["denied", "slow-down", "internal-error", "reset", "stall"],
)
@pytest.mark.parametrize(
    ("method", "request_text"),
    [("POST", "uploads="), ("PUT", "partNumber=1&"), ("PUT", "partNumber=4&"), ("POST", "uploadId=")],
    ids=["create", "first-part", "last-part", "complete"],
)
async def test_upload_that_s3_fails_leaves_nothing_and_is_not_acknowledged(
    artifacts: ArtifactProxy,
    faulty: FaultyS3,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    status: int,
    error_code: str,
    method: str,
    request_text: str,
) -> None:
    monkeypatch.setattr("proxy_app.artifacts.s3._PAUSE", 0.001)
    fail(faulty, fault, method, request_text)
    answer = await artifacts.put("1/model.bin", io.BytesIO(CONTENT))
    assert (answer.status, answer.json["error_code"]) == (status, error_code)
    assert ("Retry-After" in answer.headers) == (status == 503)
    await nothing_is_left(artifacts)


async def test_error_in_a_completed_response_is_an_error(artifacts: ArtifactProxy, faulty: FaultyS3) -> None:
    fail(faulty, respond(200, "InternalError"), "POST", "uploadId=")
    answer = await artifacts.put("1/model.bin", io.BytesIO(CONTENT))
    assert answer.status == 503
    await nothing_is_left(artifacts)


@pytest.mark.parametrize("fault", [respond(503, "SlowDown"), reset], ids=["slow-down", "reset"])
@pytest.mark.parametrize(
    ("method", "text"), [("PUT", "partNumber=2&"), ("POST", "uploads="), ("PUT", "small"), ("GET", "list-type=2")]
)
async def test_temporary_failure_is_repeated(
    artifacts: ArtifactProxy,
    faulty: FaultyS3,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    method: str,
    text: str,
) -> None:
    monkeypatch.setattr("proxy_app.artifacts.s3._PAUSE", 0.001)
    fail(faulty, fault, method, text, times=2)
    answers = [
        await artifacts.put("1/model.bin", io.BytesIO(CONTENT)),
        await artifacts.put("1/small", b"small"),
        await artifacts.list("1"),
    ]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert artifacts.store.read("1/model.bin") == CONTENT


def upload_head(artifacts: ArtifactProxy, framing: str) -> bytes:
    token = artifacts.proxy.tokens.editor
    head = f"PUT {ARTIFACTS}/1/model.bin HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{framing}\r\n\r\n"
    return head.encode()


@pytest.mark.parametrize("sent", [0, 1, PART - 1, PART + 1, 3 * PART + 1])
@pytest.mark.parametrize("chunked", [False, True])
async def test_client_that_disconnects_leaves_nothing(artifacts: ArtifactProxy, sent: int, chunked: bool) -> None:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(CONTENT)}"
    async with artifacts.proxy.connect() as client:
        await client.send(upload_head(artifacts, framing))
        if sent:
            await client.send(b"%x\r\n%b\r\n" % (sent, CONTENT[:sent]) if chunked else CONTENT[:sent])
        await wait_until(lambda: artifacts.proxy.in_flight == 1)
        await asyncio.sleep(0.1)
    await wait_until(lambda: artifacts.proxy.in_flight == 0)
    await nothing_is_left(artifacts)


async def test_client_that_disconnects_while_the_upload_is_created_leaves_nothing(
    artifacts: ArtifactProxy, faulty: FaultyS3
) -> None:
    async def create_slowly(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.5)
        return await faulty.forward(request)

    fail(faulty, create_slowly, "POST", "uploads=")
    async with artifacts.proxy.connect() as client:
        await client.send(upload_head(artifacts, f"Content-Length: {len(CONTENT)}") + CONTENT[: PART + 1])
        await wait_until(lambda: bool(faulty.sent("POST", "uploads=")))
    await wait_until(lambda: artifacts.proxy.in_flight == 0, within=0.4)
    await wait_until(lambda: bool(faulty.sent("DELETE")))
    await nothing_is_left(artifacts)


async def test_client_that_disconnects_while_a_part_is_sent_leaves_nothing(
    artifacts: ArtifactProxy, faulty: FaultyS3
) -> None:
    fail(faulty, stall, "PUT", "partNumber=2&")
    sending = asyncio.create_task(artifacts.put("1/model.bin", io.BytesIO(CONTENT)))
    await wait_until(lambda: bool(faulty.sent("PUT", "partNumber=2&")))
    sending.cancel()
    await wait_until(lambda: artifacts.proxy.in_flight == 0)
    await nothing_is_left(artifacts)


def trickle(count: int) -> AsyncIterator[bytes]:
    """4 KiB each tenth of a second, above the least rate of bodies."""

    async def send() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 4096
            await asyncio.sleep(0.1)

    return send()


async def test_slow_client_loses_its_memory_only_while_others_wait(
    start_artifact_proxy: StartArtifactProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy_app.artifacts.service.Uploads", partial(Uploads, buffer=PART))
    artifacts = await start_artifact_proxy(body_timeout=0.5)
    assert (await artifacts.put("1/slow", trickle(8))).status == 200
    slow = asyncio.create_task(artifacts.put("1/slower", trickle(100)))
    await wait_until(lambda: artifacts.proxy.metric("mlflow_proxy_upload_budget_free_bytes") == 0)
    await asyncio.sleep(0.3)
    assert (await artifacts.put("1/fast", b"x")).status == 200
    with contextlib.suppress(aiohttp.ClientError):  # the client still sends
        assert (await slow).status == 408
    assert artifacts.store.paths() == ["1/fast", "1/slow"]


async def test_upload_that_gets_no_memory_is_a_503(
    start_artifact_proxy: StartArtifactProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy_app.artifacts.service.Uploads", partial(Uploads, buffer=0))
    artifacts = await start_artifact_proxy(body_timeout=0.1)
    answer = await artifacts.put("1/a", b"x")
    assert (answer.status, answer.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert answer.headers["Retry-After"]


async def test_rejected_credentials_are_renewed_once(
    start_artifact_proxy: StartArtifactProxy, faulty: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy_app.credentials._MIN_FORCED_INTERVAL", 0)
    loaded: list[Loaded] = [Loaded(Credentials("AKIDOLD", "old"), None)]
    artifacts = await start_artifact_proxy(s3=faulty.url, source=lambda: loaded[0])

    def reject_old(request: web.Request, _: bytes) -> Fault | None:
        old = "AKIDOLD" in request.headers["Authorization"]
        return respond(400, "ExpiredToken", "The provided token has expired.") if old else None

    faulty.fault = reject_old
    answer = await artifacts.put("1/a", b"x")
    assert (answer.status, len(faulty.exchanges)) == (503, 1)
    assert answer.json["message"] == "S3 rejects the proxy's credentials: The provided token has expired."
    loaded[0] = credentials()
    assert (await artifacts.put("1/a", b"x")).status == 200
    assert [exchange.status for exchange in faulty.exchanges[1:]] == [400, 200]


async def test_sigterm_aborts_uploads(store: ObjectStore, faulty: FaultyS3, tokens: Tokens, tmp_path: Path) -> None:
    async def abort_slowly(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(1)
        return await faulty.forward(request)

    def choose(request: web.Request, _: bytes) -> Fault | None:
        if request.method == "DELETE":
            return abort_slowly
        return stall if "partNumber=2&" in request.raw_path else None

    faulty.fault = choose
    loaded = credentials().credentials
    settings = {
        "MLFLOW_PROXY_TARGET_ARN": ARN,
        "MLFLOW_PROXY_TARGET_ENDPOINT": "https://127.0.0.1:9",
        "MLFLOW_PROXY_ARTIFACTS_URI": store.root.uri,
        "MLFLOW_PROXY_DRAIN_SECONDS": "0",
        "MLFLOW_PROXY_GRACE_SECONDS": "0.2",
        "AWS_ENDPOINT_URL_S3": faulty.url,
        "AWS_ACCESS_KEY_ID": loaded.access_key,
        "AWS_SECRET_ACCESS_KEY": loaded.secret_key,
    }
    async with ProxyProcess.serving(tmp_path, tokens, **settings) as proxy, aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {tokens.editor}"}
        sending = asyncio.create_task(
            session.put(f"{proxy.url}{ARTIFACTS}/1/model.bin", data=io.BytesIO(CONTENT), headers=headers)
        )
        await wait_until(lambda: bool(faulty.sent("PUT", "partNumber=2&")), within=15)
        proxy.signal()
        assert await proxy.ended() == 0
        with pytest.raises(aiohttp.ClientError):
            await sending
    # Answered while the proxy still ran.
    assert [exchange.status for exchange in faulty.sent("DELETE")] == [204]
    assert (store.unfinished_uploads(), store.paths()) == ([], [])


async def test_download_continues_after_the_connection_to_s3_was_lost(
    start_artifact_proxy: StartArtifactProxy, faulty: FaultyS3
) -> None:
    artifacts = await start_artifact_proxy(s3=faulty.url)
    artifacts.store.write("1/model.bin", CONTENT)
    broken = 0

    async def break_in_the_middle(request: web.Request) -> web.StreamResponse:
        nonlocal broken
        broken += 1
        stored = artifacts.store.client.get_object(
            Bucket=artifacts.store.root.bucket,
            Key=artifacts.store.key("1/model.bin"),
            **({"Range": request.headers["Range"]} if "Range" in request.headers else {}),
        )
        response = web.StreamResponse(status=206 if "Range" in request.headers else 200)
        response.content_length = stored["ContentLength"]
        response.headers["ETag"] = stored["ETag"]
        if "ContentRange" in stored:
            response.headers["Content-Range"] = stored["ContentRange"]
        await response.prepare(request)
        await response.write(stored["Body"].read(100_000))
        await asyncio.sleep(0.05)
        return await reset(request)

    fail(faulty, break_in_the_middle, "GET", "model.bin", times=2)
    answer = await artifacts.get("1/model.bin")
    assert (answer.status, answer.body == CONTENT, broken) == (200, True, 2)
    fail(faulty, break_in_the_middle, "GET", "model.bin", times=2)
    part = await artifacts.get("1/model.bin", headers={"Range": "bytes=1000-2000000"})
    assert (part.status, part.body == CONTENT[1000:2000001], broken) == (206, True, 4)


async def test_download_does_not_continue_with_another_object(
    start_artifact_proxy: StartArtifactProxy, faulty: FaultyS3
) -> None:
    artifacts = await start_artifact_proxy(s3=faulty.url)
    artifacts.store.write("1/model.bin", CONTENT)

    async def replace_in_the_middle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"ETag": '"of-another-object"'})
        response.content_length = len(CONTENT)
        await response.prepare(request)
        await response.write(b"old" * 1000)
        await asyncio.sleep(0.05)
        return await reset(request)

    fail(faulty, replace_in_the_middle, "GET", "model.bin", times=1)
    with pytest.raises(aiohttp.ClientError):
        await artifacts.get("1/model.bin")
    assert artifacts.proxy.lines[-1]["error"] == "upstream-read-error"


@pytest.mark.parametrize(
    ("fault", "status", "error_code", "words"),
    [
        (respond(403, "AccessDenied", "no identity-based policy"), 403, "PERMISSION_DENIED", "s3:GetObject"),
        (respond(404, "NoSuchBucket"), 404, "RESOURCE_DOES_NOT_EXIST", "It failed. (mlflow)"),
        (respond(301, "PermanentRedirect"), 501, "NOT_IMPLEMENTED", "MLFLOW_PROXY_ARTIFACTS_URI"),
        (respond(400, "KeyTooLongError"), 400, "INVALID_PARAMETER_VALUE", "It failed."),
    ],
    ids=["denied", "no-bucket", "other-region", "key-too-long"],
)
async def test_error_of_s3_is_translated(
    artifacts: ArtifactProxy, faulty: FaultyS3, fault: Fault, status: int, error_code: str, words: str
) -> None:
    fail(faulty, fault, "GET", "")
    answer = await artifacts.get("1/model.bin")
    assert (answer.status, answer.json["error_code"]) == (status, error_code)
    assert words in answer.json["message"]


async def test_missing_object_is_a_404_for_a_role_that_may_list_below_a_prefix_only(
    artifacts: ArtifactProxy, faulty: FaultyS3
) -> None:
    artifacts.store.write("1/folder/model.bin", b"content")

    def refuse(request: web.Request, _: bytes) -> Fault | None:
        return None if "list-type" in request.query else respond(403, "AccessDenied")

    faulty.fault = refuse
    for path, status, words in (
        ("1/missing.bin", 404, "does not exist"),
        ("1/folder/model", 404, "does not exist"),
        ("1/folder", 400, "directory"),
        ("1/folder/model.bin", 403, "s3:GetObject"),
    ):
        answer = await artifacts.get(path)
        assert answer.status == status, path
        assert words in answer.json["message"], path


async def test_unreachable_s3_is_a_502(start_artifact_proxy: StartArtifactProxy) -> None:
    artifacts = await start_artifact_proxy(s3="http://127.0.0.1:9")
    answer = await artifacts.get("1/model.bin")
    assert (answer.status, answer.json["message"]) == (502, "The proxy cannot connect to S3.")
