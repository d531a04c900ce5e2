"""Presigned transfers: what clients get, whether S3 accepts it, and that it ends within minutes."""

import datetime
import io
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from proxy_app.sigv4 import Credentials, presigned_query
from tests.doubles.fake_upstreams import respond_by, respond_with
from tests.proxy_app.conftest import StartUpstream

from .conftest import Answer, ArtifactProxy, StartArtifactProxy
from .test_boundaries import Mlflow

API = "/api/2.0/mlflow-artifacts"
RUN_UPLOAD = "/api/2.0/mlflow/artifacts/presigned-upload-url"
RUN_DOWNLOAD = "/api/2.0/mlflow/artifacts/presigned-download-url"
SERVER_INFO = "/api/3.0/mlflow/server-info"
PART = 5 * 1024 * 1024
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


async def start(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream, **changes: Any
) -> ArtifactProxy:
    mlflow = Mlflow("")
    upstream = await start_upstream(respond_by(mlflow.respond))
    artifacts = await start_artifact_proxy(upstream.origin, **{"presigned_transfers": True, **changes})
    mlflow.__init__(f"{artifacts.store.root.uri}/1/x/artifacts")
    return artifacts


async def s3(method: str, url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
    """A request of a client to S3, without credentials."""
    body = io.BytesIO(data) if data is not None else None
    skipped = ["Content-Type"]
    async with (
        aiohttp.ClientSession(skip_auto_headers=skipped) as session,
        session.request(method, URL(url, encoded=True), data=body, headers=headers) as response,
    ):
        return Answer(response.status, response.headers, await response.read())


async def post(artifacts: ArtifactProxy, path: str, body: Any, role: str = "editor") -> Answer:
    return await artifacts.send("POST", path, json=body, role=role)


@pytest.mark.parametrize("path", ["model.bin", "/home/me/model.bin", "C:\\Users\\me\\model.bin", "with space+ü.bin"])
async def test_parts_that_a_client_sends_become_the_file(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream, path: str
) -> None:
    artifacts = await start(start_artifact_proxy, start_upstream)
    name = path.replace("\\", "/").rpartition("/")[2]
    contents = [bytes([number]) * PART for number in range(2)] + [b"end"]
    created = await post(artifacts, f"{API}/mpu/create/1/dir", {"path": path, "num_parts": 3})
    assert created.status == 200
    parts: list[dict[str, Any]] = []
    for credential, content in zip(created.json["credentials"], contents, strict=True):
        assert set(credential) == {"url", "part_number", "headers"}
        answer = await s3("PUT", credential["url"], content)
        assert answer.status == 200, answer.body
        parts.append({"part_number": credential["part_number"], "etag": answer.headers["ETag"]})
    sent = {"path": path, "upload_id": created.json["upload_id"], "parts": parts}
    completed = await post(artifacts, f"{API}/mpu/complete/1/dir", sent)
    assert (completed.status, completed.json) == (200, {})
    assert artifacts.store.read(f"1/dir/{name}") == b"".join(contents)


async def test_aborted_upload_leaves_nothing(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream
) -> None:
    artifacts = await start(start_artifact_proxy, start_upstream)
    created = await post(artifacts, f"{API}/mpu/create/1", {"path": "a.bin", "num_parts": 1})
    await s3("PUT", created.json["credentials"][0]["url"], b"x")
    aborted = await post(artifacts, f"{API}/mpu/abort/1", {"path": "a.bin", "upload_id": created.json["upload_id"]})
    assert (aborted.status, aborted.json) == (200, {})
    assert (artifacts.store.paths(), artifacts.store.unfinished_uploads()) == ([], [])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("mpu/create/1", {"path": "a", "num_parts": 10_001}),
        ("mpu/create/1", {"path": "a", "num_parts": 0}),
        ("mpu/create/1", {"path": "a", "num_parts": "many"}),
        ("mpu/create/1", {"num_parts": 1}),
        ("mpu/create/1", {"path": "..", "num_parts": 1}),
        ("mpu/create/1", {"path": "%2e%2e", "num_parts": 1}),
        ("mpu/create/1", {"path": "dir/", "num_parts": 1}),
        ("mpu/create/1", ["path"]),
        ("mpu/create/%252e%252e", {"path": "a", "num_parts": 1}),
        ("mpu/complete/1", {"path": "a", "upload_id": "1", "parts": []}),
        ("mpu/complete/1", {"path": "a", "upload_id": "1", "parts": ["a"]}),
        ("mpu/complete/1", {"path": "a", "upload_id": "1", "parts": [{"part_number": 1, "etag": "</ETag>"}]}),
        ("mpu/complete/1", {"path": "a", "upload_id": 1, "parts": [{"part_number": 1, "etag": "e"}]}),
        ("mpu/abort/1", {"path": "a"}),
    ],
)
async def test_invalid_body_is_refused(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream, path: str, body: Any
) -> None:
    artifacts = await start(start_artifact_proxy, start_upstream)
    answer = await post(artifacts, f"{API}/{path}", body)
    assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


async def test_url_downloads_the_file_and_browsers_save_it(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream
) -> None:
    artifacts = await start(start_artifact_proxy, start_upstream)
    artifacts.store.write("1/x/artifacts/a b+ü.html", b"<script>", ContentType="text/html")
    target = f"{API}/presigned/1/x/artifacts/a%20b%2B%C3%BC.html"
    found = (await artifacts.send("GET", target, role="viewer")).json
    assert set(found) == {"url", "headers", "file_size"}
    assert found["file_size"] == 8
    answer = await s3("GET", found["url"])
    assert (answer.status, answer.body) == (200, b"<script>")
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    part = await s3("GET", found["url"], headers={"Range": "bytes=1-3"})
    assert (part.status, part.body) == (206, b"scr")
    missing = await artifacts.send("GET", f"{API}/presigned/1/none", role="viewer")
    assert (missing.status, missing.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("owner", [{"run_id": "r"}, {"model_id": "m-1"}])
async def test_url_uploads_to_a_run_or_model_with_its_headers(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream, owner: dict[str, str]
) -> None:
    artifacts = await start(start_artifact_proxy, start_upstream)
    found = (await post(artifacts, RUN_UPLOAD, {**owner, "path": "plots/a b.csv"})).json
    assert found["headers"] == {"Content-Type": "text/plain"}
    answer = await s3("PUT", found["presigned_url"], b"rows", headers=found["headers"])
    assert answer.status == 200, answer.body
    assert artifacts.store.read("1/x/artifacts/plots/a b.csv") == b"rows"
    if owner == {"run_id": "r"}:
        url = (await post(artifacts, RUN_DOWNLOAD, {**owner, "path": "plots/a b.csv"}, "viewer")).json
        assert url["file_size"] == 4
        assert (await s3("GET", url["presigned_url"])).body == b"rows"


@pytest.mark.parametrize(
    ("asked", "seconds"), [(None, 900), (60, 60), ("61", 61), (900, 900), (901, 900), (604800, 900)]
)
async def test_url_ends_within_minutes_whatever_is_asked(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream, asked: Any, seconds: int
) -> None:
    artifacts = await start(start_artifact_proxy, start_upstream)
    artifacts.store.write("1/x/artifacts/a", b"x")
    body = {"run_id": "r", "path": "a", **({"expiration": asked} if asked else {})}
    urls: list[str] = [
        (await post(artifacts, RUN_DOWNLOAD, body, "viewer")).json["presigned_url"],
        (await post(artifacts, RUN_UPLOAD, body)).json["presigned_url"],
    ]
    for url in urls:
        assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == [str(seconds)]
    created = await post(artifacts, f"{API}/mpu/create/1", {"path": "a", "num_parts": 1})
    part: str = created.json["credentials"][0]["url"]
    single: str = (await artifacts.send("GET", f"{API}/presigned/1/x/artifacts/a")).json["url"]
    for url in (part, single):
        assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["900"]


@pytest.mark.parametrize("asked", [0, 604801, "soon", -1])
async def test_invalid_expiration_is_refused(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream, asked: Any
) -> None:
    artifacts = await start(start_artifact_proxy, start_upstream)
    answer = await post(artifacts, RUN_DOWNLOAD, {"run_id": "r", "path": "a", "expiration": asked}, "viewer")
    assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("owners", [{}, {"run_id": "r", "model_id": "m-1"}])
async def test_upload_needs_one_owner(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream, owners: dict[str, str]
) -> None:
    artifacts = await start(start_artifact_proxy, start_upstream)
    answer = await post(artifacts, RUN_UPLOAD, {**owners, "path": "a"})
    assert answer.json["message"] == "Exactly one of run_id and model_id must be provided."


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", f"{API}/mpu/create/1", "Multipart upload is not supported for the current artifact repository"),
        ("POST", f"{API}/mpu/complete/1", "Multipart upload is not supported for the current artifact repository"),
        ("POST", f"{API}/mpu/abort/1", "Multipart upload is not supported for the current artifact repository"),
        ("GET", f"{API}/presigned/1/a", "Multipart download is not supported for the current artifact repository"),
        ("POST", RUN_UPLOAD, "Presigned upload is not supported for the current artifact repository"),
        ("POST", RUN_DOWNLOAD, "Presigned download is not supported for the current artifact repository"),
    ],
)
async def test_without_the_setting_there_are_no_urls(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream, method: str, path: str, message: str
) -> None:
    artifacts = await start(start_artifact_proxy, start_upstream, presigned_transfers=False)
    artifacts.store.write("1/a", b"x")
    body = {"path": "a", "num_parts": 1, "upload_id": "1", "run_id": "r", "parts": [{"part_number": 1, "etag": "e"}]}
    answer = await artifacts.send(method, path, json=body if method == "POST" else None)
    # MLflow's clients look for the start of this message, and then send the file in one request.
    assert (answer.status, answer.json["error_code"]) == (501, "NOT_IMPLEMENTED")
    assert answer.json["message"].startswith(message)
    assert artifacts.store.unfinished_uploads() == []


@pytest.mark.parametrize("enabled", [True, False])
async def test_server_info_says_whether_clients_transfer_parts(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream, enabled: bool
) -> None:
    body = b'{"store_type": "SqlStore", "multipart_uploads_enabled": true, "multipart_downloads_enabled": false}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    upstream = await start_upstream(respond_with(head + body))
    artifacts = await start_artifact_proxy(upstream.origin, presigned_transfers=enabled)
    answer = await artifacts.send("GET", SERVER_INFO, role="viewer")
    assert answer.json == {
        "store_type": "SqlStore",
        "multipart_uploads_enabled": enabled,
        "multipart_downloads_enabled": enabled,
    }


@pytest.mark.parametrize(("enabled", "status"), [(True, 200), (False, 404)])
async def test_server_info_of_an_mlflow_without_it(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream, enabled: bool, status: int
) -> None:
    upstream = await start_upstream(respond_with(NOT_FOUND))
    artifacts = await start_artifact_proxy(upstream.origin, presigned_transfers=enabled)
    answer = await artifacts.send("GET", SERVER_INFO, role="viewer")
    assert answer.status == status
    assert answer.json.get("multipart_uploads_enabled", False) is enabled


@given(
    key=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20),
    token=st.sampled_from(["", "session/token+=="]),
    seconds=st.integers(1, 900),
)
def test_query_is_the_one_of_botocore(key: str, token: str, seconds: int) -> None:
    now = datetime.datetime(2026, 7, 1, 12, 30, 15, tzinfo=datetime.UTC)
    path = "/" + quote(key, safe="/-_.~")
    query = f"partNumber=7&uploadId={quote(key, safe='-_.~')}"
    request = AWSRequest("PUT", f"https://b.s3.eu-west-1.amazonaws.com{path}?{query}", headers={"content-type": "a/b"})
    with mock.patch("botocore.auth.get_current_datetime", return_value=now):
        S3SigV4QueryAuth(Keys("AKID", "secret", token or None), "s3", "eu-west-1", expires=seconds).add_auth(request)
    signed = presigned_query(
        "PUT",
        path,
        query,
        [("host", "b.s3.eu-west-1.amazonaws.com"), ("content-type", "a/b")],
        credentials=Credentials("AKID", "secret", token),
        region="eu-west-1",
        service="s3",
        now=now.timestamp(),
        seconds=seconds,
    )
    expected = urlsplit(str(request.url)).query
    assert sorted(signed.split("&")) == sorted(expected.split("&"))
