"""The proxy's artifact API beside that of MLflow's own server, on the same bucket: the same requests to both."""

import contextlib
import dataclasses
import json
import uuid
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from local import s3 as s3_settings
from local import services
from local.processes import Child, child_environ
from proxy_app.artifacts.root import ArtifactRoot
from tests.doubles.fixtures import Server, s3_client
from tests.doubles.object_stores import credentials
from tests.doubles.running_proxy import RunningProxy, Tokens, running_proxy

ROOT = ArtifactRoot(s3_settings.BUCKET, "compared")
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
RUN = "/api/2.0/mlflow/runs"
HEADERS = ("Content-Type", "Content-Disposition", "X-Content-Type-Options", "Content-Range")
FILES = {
    "MLmodel": b"flavors: {}",
    "plot.png": b"png",
    "page.html": b"<script>alert(1)</script>",
    "rows.csv.gz": b"\x1f\x8bgz",
    "with space, 'quotes'.txt": b"text",
    "ünïcode-日本語.json": b"{}",
    "日本語": b"no extension",
    "empty": b"",
    "sub/deep/file.bin": b"0123456789",
}
START_SECONDS = 110.0


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What is compared: the body is parsed if it is JSON."""

    status: int
    body: Any
    headers: dict[str, str | None]


class Api:
    """MLflow's server or the proxy."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str = "") -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def send(self, method: str, target: str, **options: Any) -> Answer:
        url = URL(self._url + target, encoded=True)
        headers = {**self._headers, **options.pop("headers", {})}
        async with self._session.request(method, url, headers=headers, **options) as response:
            body: Any = await response.read()
            kind = response.headers.get("Content-Type", "")
            if kind.startswith("application/json") and "Content-Disposition" not in response.headers:
                # MLflow leaves out the size of an empty file.
                body = json.loads((body or b"null").replace(b',\n      "file_size": 0', b""))
            return Answer(response.status, body, {name: response.headers.get(name) for name in HEADERS})


@dataclasses.dataclass(frozen=True, slots=True)
class Both:
    """MLflow's server and the proxy in front of it, and a run with FILES below its artifacts."""

    mlflow: Api
    proxy: Api
    run_id: str
    path: str

    async def same(self, method: str, target: str, **options: Any) -> Answer:
        """Send the request to both, and check that the responses are the same; returns the proxy's."""
        expected = await self.mlflow.send(method, target, **options)
        answer = await self.proxy.send(method, target, **options)
        assert answer == expected
        return answer

    async def status(self, method: str, target: str, **options: Any) -> tuple[int, int]:
        """(MLflow's status, the proxy's); both are errors."""
        return (
            (await self.mlflow.send(method, target, **options)).status,
            (await self.proxy.send(method, target, **options)).status,
        )


@pytest.fixture(scope="session")
def artifact_server(scratch: Path, s3: Server) -> Generator[Server]:
    """An MLflow server that serves artifacts from ROOT."""
    arguments = ["-m", "local.mlflow_server", "--backend-store-uri", f"sqlite:///{scratch}/compared.db"]
    arguments += ["--default-artifact-root", "mlflow-artifacts:/"]
    environ = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # What `mlflow server --serve-artifacts --artifacts-destination ...` sets.
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": ROOT.uri,
        **s3_settings.client_environ(s3.url),
    }
    child = Child("MLflow", arguments, child_environ(scratch, environ), scratch / "compared.log")
    try:
        url = child.wait_for_url(START_SECONDS)
        services.wait_until_ready(child, url + "/health", START_SECONDS)
        yield Server(url, s3.environ)
    finally:
        child.stop(5)


@pytest_asyncio.fixture
async def both(artifact_server: Server, s3: Server, tokens: Tokens) -> AsyncGenerator[Both]:
    settings: dict[str, Any] = {"artifacts_root": ROOT, "s3_endpoint": s3.url, "upstream_timeout": 60.0}
    async with contextlib.AsyncExitStack() as stack:
        proxy: RunningProxy = await stack.enter_async_context(
            running_proxy(artifact_server.url, tokens, signed=True, source=credentials, **settings)
        )
        session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        mlflow = Api(session, artifact_server.url)
        created = await mlflow.send("POST", f"{RUN}/create", json={"experiment_id": "0"})
        info = created.body["run"]["info"]
        path = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
        client = s3_client(s3.environ)
        for name, content in FILES.items():
            client.put_object(Bucket=ROOT.bucket, Key=f"{ROOT.prefix}/{path}/{name}", Body=content)
        yield Both(mlflow, Api(session, f"http://{proxy.address}", tokens.admin), info["run_id"], path)


def quoted(path: str) -> str:
    return URL.build(path=path).raw_path


pytestmark = pytest.mark.timeout(180)


async def test_lists_are_the_same_but_for_the_size_of_empty_files(both: Both) -> None:
    for path in (both.path, f"{both.path}/", f"{both.path}/sub", f"{both.path}/empty", "none", "", "0"):
        listed = await both.same("GET", f"{ARTIFACTS}?path={path}")
        assert listed.status == 200
    assert (await both.same("GET", ARTIFACTS)).body["files"]


async def test_downloads_are_the_same(both: Both) -> None:
    for name, content in FILES.items():
        answer = await both.same("GET", f"{ARTIFACTS}/{quoted(f'{both.path}/{name}')}")
        assert (answer.status, answer.body) == (200, content)
        path = URL.build(query={"path": name, "run_id": both.run_id}).raw_query_string
        assert (await both.same("GET", f"/get-artifact?{path}")).body == content
    # mlflow-artifacts/artifacts of MLflow 3.17.2 breaks off its response here.
    answers = [
        await api.send("GET", f"/get-artifact?run_id={both.run_id}&path=sub") for api in (both.mlflow, both.proxy)
    ]
    assert [(answer.status, answer.body["error_code"]) for answer in answers] == [(400, "INVALID_PARAMETER_VALUE")] * 2


async def test_uploads_and_deletions_are_the_same(both: Both) -> None:
    for content in (b"", b"content"):
        target = f"{ARTIFACTS}/{both.path}/new/a%20b.txt"
        kind = {"Content-Type": "text/plain"}
        # MLflow 3.17 responds without a body, earlier versions as the proxy does.
        assert (await both.mlflow.send("PUT", target, data=content, headers=kind)).status == 200
        uploaded = await both.proxy.send("PUT", target, data=content, headers=kind)
        assert (uploaded.status, uploaded.body) == (200, {})
        assert (await both.same("GET", target)).body == content
    name = uuid.uuid4().hex
    upload = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={both.run_id}&path=dir/{name}.png"
    image = {"Content-Type": "image/png"}
    assert (await both.same("POST", upload, data=b"png", headers=image)).status == 200
    assert (await both.same("GET", f"{ARTIFACTS}/{both.path}/dir/{name}.png")).body == b"png"
    for api, folder in ((both.mlflow, "new"), (both.proxy, "dir")):
        assert (await api.send("DELETE", f"{ARTIFACTS}/{both.path}/{folder}")).body == {}
        assert (await both.same("GET", f"{ARTIFACTS}?path={both.path}/{folder}")).body == {}
    for target in (f"{ARTIFACTS}/{both.path}/none", f"{ARTIFACTS}/{both.path}/sub"):
        assert (await both.same("DELETE", target)).status == 200


async def test_invalid_requests_have_the_same_status(both: Both) -> None:
    upload = "/ajax-api/2.0/mlflow/upload-artifact"
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", f"{ARTIFACTS}?path=../x", {}),
        ("GET", f"{ARTIFACTS}?path=/etc", {}),
        ("GET", f"{ARTIFACTS}?path=a%23b", {}),
        ("GET", f"{ARTIFACTS}?path=%252e%252e/x", {}),
        ("GET", f"{ARTIFACTS}?path=C:/x", {}),
        ("GET", f"{ARTIFACTS}/%252e%252e/x", {}),
        ("PUT", f"{ARTIFACTS}/a%2523b", {"data": b"x"}),
        ("PUT", f"{ARTIFACTS}/{both.path}/dir/", {"data": b"x"}),
        ("GET", f"/get-artifact?run_id={both.run_id}&path=../x", {}),
        ("GET", f"/get-artifact?run_id={both.run_id}", {}),
        ("GET", "/get-artifact?run_id=none&path=a", {}),
        ("GET", "/model-versions/get-artifact?name=none&version=1&path=a", {}),
        ("GET", "/ajax-api/2.0/mlflow/logged-models/none/artifacts/files?artifact_file_path=a", {}),
        ("GET", "/ajax-api/2.0/mlflow/logged-models/none/artifacts/files", {}),
        ("GET", "/api/2.0/mlflow/logged-models/none/artifacts/directories", {}),
        ("GET", "/ajax-api/3.0/mlflow/get-trace-artifact?request_id=tr-none", {}),
        ("GET", "/ajax-api/3.0/mlflow/get-trace-artifact", {}),
        ("POST", f"{upload}?path=a", {"data": b"x"}),
        ("POST", f"{upload}?run_uuid={both.run_id}", {"data": b"x"}),
        ("POST", f"{upload}?run_uuid={both.run_id}&path=a", {"data": b""}),
        ("POST", f"{upload}?run_uuid=none&path=a", {"data": b"x"}),
        ("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", {"json": {"path": "a"}}),
    ]
    for method, target, options in requests:
        mlflow, proxy = await both.status(method, target, **options)
        assert 400 <= mlflow == proxy < 500, target


async def test_missing_file_is_not_found_where_mlflow_fails(both: Both) -> None:
    # MLflow's server translates S3's error into 500, which its clients repeat for minutes.
    for target in (f"{ARTIFACTS}/{both.path}/none", f"/get-artifact?run_id={both.run_id}&path=none"):
        assert await both.status("GET", target) == (500, 404)
