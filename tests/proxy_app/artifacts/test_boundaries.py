"""Only what is below the root is reached, whatever a request or MLflow says."""

import io
import json
from collections.abc import Callable
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from proxy_app.artifacts.paths import artifact_path, workspace_path
from proxy_app.errors import ApiError
from tests.doubles.fake_upstreams import FakeUpstream, ReceivedRequest, respond_by
from tests.proxy_app.conftest import StartUpstream

from .conftest import ARTIFACTS, ArtifactProxy, StartArtifactProxy

OUTSIDE = [
    "../x",
    "a/../../x",
    "..",
    "a/..",
    "a/./b",
    "%2e%2e/x",
    "%2E%2E%2Fx",
    "%252e%252e/x",
    "a%2f..%2f..%2fx",
    "..%5cx",
    "a%00b",
    "a%0ab",
    "//x",
    "%2fx",
    "a//b",
    "C:/x",
    "a%23b",
    "%ff",
]


@pytest.mark.parametrize("path", OUTSIDE)
async def test_path_that_could_leave_the_root_is_refused(artifacts: ArtifactProxy, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await artifacts.send(method, f"{ARTIFACTS}/{path}", data=b"x" if method == "PUT" else None)
        assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), method
    listed = await artifacts.list(path)
    assert (listed.status, listed.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("path", OUTSIDE)
def test_path_is_refused_however_it_is_encoded(path: str) -> None:
    for text in (path, quote(path), quote(quote(path))):
        with pytest.raises(ApiError) as error:
            artifact_path(text)
        assert error.value.status == 400


async def test_upload_with_a_query_is_refused(artifacts: ArtifactProxy) -> None:
    answer = await artifacts.put("1/a?b=c", b"x")
    assert (answer.status, "rename the file" in answer.json["message"]) == (400, True)
    assert artifacts.store.paths() == []


@pytest.mark.parametrize(
    ("path", "workspace", "expected"),
    [
        ("1/a", "", "1/a"),
        ("1/a", "default", "1/a"),
        ("1/a", "team", "workspaces/team/1/a"),
        ("", "team", "workspaces/team"),
        ("workspaces/team/1/a", "team", "workspaces/team/1/a"),
        ("workspaces/team/1/a", "other", None),
        ("workspaces/team/1/a", "", None),
        ("workspaces", "team", None),
        ("1/a", "../other", None),
        ("1/a", "a/b", None),
    ],
)
def test_path_belongs_to_the_workspace_of_the_request(path: str, workspace: str, expected: str | None) -> None:
    if expected is not None:
        assert workspace_path(path, workspace) == expected
        return
    with pytest.raises(ApiError) as error:
        workspace_path(path, workspace)
    assert error.value.status == 400


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", ARTIFACTS, "viewer"),
        ("GET", f"{ARTIFACTS}/1/a", "viewer"),
        ("PUT", f"{ARTIFACTS}/1/a", "editor"),
        ("DELETE", f"{ARTIFACTS}/1/a", "admin"),
        ("POST", "/api/2.0/mlflow-artifacts/mpu/create/1", "editor"),
        ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid=r&path=a", "editor"),
        ("GET", "/api/2.0/mlflow-artifacts/presigned/1/a", "viewer"),
        ("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", "editor"),
    ],
)
async def test_roles_of_the_route_table_hold(artifacts: ArtifactProxy, method: str, path: str, role: str) -> None:
    roles = ["viewer", "editor", "admin"]
    for lower in roles[: roles.index(role)]:
        assert (await artifacts.send(method, path, role=lower, data=b"{}")).status == 403, lower
    assert (await artifacts.send(method, path, role=role, data=b"{}")).status not in {401, 403}


# --- Locations that MLflow returns


class Mlflow:
    """Answers with the same location for each run, model, model version and trace."""

    def __init__(self, location: str, **tags: str) -> None:
        self.location = location
        self.tags = {"mlflow.artifactLocation": location, **tags}

    def respond(self, request: ReceivedRequest) -> bytes:
        url = urlsplit(request.line.split()[1])
        info = {"artifact_uri": self.location}
        answers: dict[str, object] = {
            "/api/2.0/mlflow/runs/get": {"run": {"info": {"run_id": parse_qs(url.query).get("run_id"), **info}}},
            "/api/2.0/mlflow/logged-models/m-1": {"model": {"info": info}},
            "/api/2.0/mlflow/model-versions/get-download-uri": info,
            "/api/3.0/mlflow/traces/tr-1": {"trace": {"trace_info": {"tags": self.tags}}},
        }
        found = answers.get(url.path)
        error = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"{url.path} is not found"}
        body = json.dumps(found or error).encode()
        status = b"200 OK" if found else b"404 Not Found"
        head = b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\n"
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


READS = {
    "run": "/get-artifact?run_id=r&path=MLmodel",
    "run by its old parameter": "/get-artifact?run_uuid=r&path=MLmodel",
    "model version": "/model-versions/get-artifact?name=m&version=1&path=MLmodel",
    "model": "/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files?artifact_file_path=MLmodel",
    "trace": "/ajax-api/3.0/mlflow/get-trace-artifact?request_id=tr-1",
    "attachment": "/ajax-api/2.0/mlflow/get-trace-artifact?request_id=tr-1&path=a1",
}
UPLOAD = "/ajax-api/2.0/mlflow/upload-artifact?run_uuid=r&path=dir/plot.png"
FOLDER = "/api/2.0/mlflow/logged-models/m-1/artifacts/directories"

StartBoth = Callable[[Mlflow], FakeUpstream]


@pytest.mark.parametrize("target", READS.values(), ids=READS)
@pytest.mark.parametrize("form", ["s3", "mlflow-artifacts"])
async def test_artifact_is_read_where_mlflow_says(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream, target: str, form: str
) -> None:
    mlflow = Mlflow("")
    artifacts = await start_artifact_proxy((await start_upstream(respond_by(mlflow.respond))).origin)
    location = f"{artifacts.store.root.uri}/1/x/artifacts"
    mlflow.__init__(location if form == "s3" else artifacts.store.root.to_client(location))
    for name in ("MLmodel", "traces.json", "attachments/a1"):
        artifacts.store.write(f"1/x/artifacts/{name}", b"content")
    answer = await artifacts.send("GET", target, role="viewer")
    assert (answer.status, answer.body) == (200, b"content")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")


async def test_folder_of_a_model_and_upload_to_a_run(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream
) -> None:
    mlflow = Mlflow("")
    artifacts = await start_artifact_proxy((await start_upstream(respond_by(mlflow.respond))).origin)
    mlflow.__init__(f"{artifacts.store.root.uri}/1/x/artifacts")
    uploaded = await artifacts.send("POST", UPLOAD, role="editor", data=b"png")
    assert (uploaded.status, uploaded.body) == (200, b"")
    assert artifacts.store.read("1/x/artifacts/dir/plot.png") == b"png"
    assert (await artifacts.send("GET", FOLDER)).json == {
        "files": [{"path": "dir", "is_dir": True}],
        "root_uri": "mlflow-artifacts:/1/x/artifacts",
    }
    assert (await artifacts.send("GET", f"{FOLDER}?artifact_directory_path=dir")).json["files"] == [
        {"path": "dir/plot.png", "is_dir": False, "file_size": 3}
    ]


@pytest.mark.parametrize("data", [b"", bytes(10 * 1024 * 1024 + 1)], ids=["empty", "large"])
async def test_upload_of_the_page_is_limited(artifacts: ArtifactProxy, data: bytes) -> None:
    answer = await artifacts.send("POST", UPLOAD, data=io.BytesIO(data))
    assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert artifacts.store.paths() == []


@pytest.mark.parametrize(
    "location",
    [
        "s3://other-bucket/team/1",
        "s3://mlflow/other/1",
        "{root}x/1",
        "{root}/../other/1",
        "{root}/%2e%2e/other",
        "{root}//1",
        "mlflow-artifacts:/../other",
        "mlflow-artifacts://host/1",
        "http://169.254.169.254/latest",
        "file:///etc",
        "/etc",
        "",
    ],
)
async def test_location_outside_of_the_root_is_refused(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream, location: str
) -> None:
    mlflow = Mlflow("")
    artifacts = await start_artifact_proxy((await start_upstream(respond_by(mlflow.respond))).origin)
    mlflow.__init__(location.format(root=artifacts.store.root.uri))
    for target in (*READS.values(), UPLOAD, FOLDER):
        method = "POST" if target == UPLOAD else "GET"
        answer = await artifacts.send(method, target, data=b"x" if method == "POST" else None)
        assert (answer.status, answer.json["error_code"]) == (403, "PERMISSION_DENIED"), target
        assert "MLFLOW_PROXY_ARTIFACTS_URI" in answer.json["message"]
    assert artifacts.store.paths() == []


async def test_trace_without_artifacts_is_not_found(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream
) -> None:
    mlflow = Mlflow("")
    mlflow.tags = {"user": "data"}
    artifacts = await start_artifact_proxy((await start_upstream(respond_by(mlflow.respond))).origin)
    answer = await artifacts.send("GET", READS["trace"])
    assert (answer.status, answer.json["message"]) == (404, "Trace tr-1 has no artifacts.")


async def test_trace_of_an_older_mlflow_is_read(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream
) -> None:
    locations: list[str] = []

    def respond(request: ReceivedRequest) -> bytes:
        tags = [{"key": "mlflow.artifactLocation", "value": location} for location in locations]
        old = request.line.split()[1] == "/api/2.0/mlflow/traces/tr-1/info"
        body = json.dumps({"trace_info": {"tags": tags}}).encode() if old else b""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" if old else b"HTTP/1.1 404 Not Found\r\n"
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    artifacts = await start_artifact_proxy((await start_upstream(respond_by(respond))).origin)
    locations.append(f"{artifacts.store.root.uri}/1/tr-1")
    artifacts.store.write("1/tr-1/traces.json", b"{}")
    answer = await artifacts.send("GET", READS["trace"])
    assert (answer.status, answer.body) == (200, b"{}")


async def test_error_of_mlflow_is_passed_on(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream
) -> None:
    upstream = await start_upstream(respond_by(Mlflow("").respond))
    artifacts = await start_artifact_proxy(upstream.origin)
    target = "/ajax-api/2.0/mlflow/logged-models/m-2/artifacts/files?artifact_file_path=a"
    answer = await artifacts.send("GET", target)
    assert (answer.status, answer.json) == (
        404,
        {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "/api/2.0/mlflow/logged-models/m-2 is not found"},
    )


async def test_spans_that_mlflow_stores_itself_come_from_mlflow(
    start_artifact_proxy: StartArtifactProxy, start_upstream: StartUpstream
) -> None:
    mlflow = Mlflow("")
    upstream = await start_upstream(respond_by(mlflow.respond))
    artifacts = await start_artifact_proxy(upstream.origin)
    # Also where such a trace has no artifacts.
    mlflow.tags = {"mlflow.trace.spansLocation": "TRACKING_STORE"}
    await artifacts.send("GET", READS["trace"])
    assert upstream.requests[-1].line.split()[1] == "/api/3.0/mlflow/get-trace-artifact?request_id=tr-1"
