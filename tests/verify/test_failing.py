"""Faulty deployments fail the verification, with the reason printed once."""

import asyncio
import json
import re
import socket
import time

import pytest
from aiohttp import web

from local.ports import free_port
from tests.verify.conftest import Completed, Mlflow, Verify
from tests.verify.fake_proxy import ADMIN, EDITOR, VIEWER, Before, FakeProxy, RecordedRequest, error, page
from tests.verify.test_passing import assert_nothing_active, name_of, rows


def text(completed: Completed) -> str:
    """The output with line breaks replaced by spaces."""
    return " ".join(completed.out.split())


def created_nothing(proxy: FakeProxy) -> bool:
    return not any(recorded.route.rpartition("/")[2] in {"create", "log-batch"} for recorded in proxy.requests)


def responding_with(response: web.Response) -> Before:
    async def before(recorded: RecordedRequest, request: web.Request) -> web.StreamResponse:
        copy = web.Response(status=response.status, body=response.body, content_type=response.content_type)
        copy.headers.update({name: value for name, value in response.headers.items() if name == "Location"})
        return copy

    return before


def test_proxy_without_authentication_fails(mlflow: Mlflow, verify: Verify) -> None:
    with FakeProxy(mlflow.url, auth=False) as proxy:
        completed = verify(URL=proxy.url, TOKEN=ADMIN)
    assert completed.code == 1
    failed = {step for (_, step), status in rows(completed).items() if status == "FAILED"}
    assert failed == {"reject a request without a token", "reject an invalid token"}
    assert "is open to anyone who can reach it" in text(completed)
    assert_nothing_active(mlflow, name_of(completed), created=2)


@pytest.mark.parametrize(("token", "role"), [(VIEWER, "viewer"), (EDITOR, "editor")])
def test_insufficient_role_is_reported_before_creating_objects(
    mlflow: Mlflow, verify: Verify, token: str, role: str
) -> None:
    with FakeProxy(mlflow.url) as proxy:
        completed = verify(URL=proxy.url, TOKEN=token)
    assert completed.code == 1
    assert f"({role}). Expected the role admin" in text(completed)
    assert "Nothing was created." in text(completed)
    assert f"got the role {role}" in text(completed)
    assert created_nothing(proxy)


def test_later_403_shows_required_role_and_server_message(mlflow: Mlflow, verify: Verify) -> None:
    async def before(recorded: RecordedRequest, request: web.Request) -> web.StreamResponse | None:
        return error(403, "PERMISSION_DENIED", "No tags today.") if recorded.route == "runs/set-tag" else None

    with FakeProxy(mlflow.url, before=before) as proxy:
        completed = verify(URL=proxy.url, TOKEN=ADMIN)
    assert completed.code == 1
    assert rows(completed)["HTTP", "set tag"] == rows(completed)["client", "set tag"] == "FAILED"
    # The tag that was not written is missing, and the remaining steps run.
    assert rows(completed)["HTTP", "read the run"] == "FAILED"
    assert rows(completed)["client", "delete experiment"] == "ok"
    assert text(completed).count("not allow this; ") == 2
    assert text(completed).count("No tags today.") == 2
    assert_nothing_active(mlflow, name_of(completed), created=2)


def test_invalid_token_is_reported(mlflow: Mlflow, verify: Verify) -> None:
    with FakeProxy(mlflow.url) as proxy:
        completed = verify(URL=proxy.url, TOKEN="expired")
    assert completed.code == 1
    assert "The token is invalid, expired or revoked." in text(completed)
    assert "expired-" not in text(completed)
    assert created_nothing(proxy)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (page(200, "Sign in"), "a web page (Sign in). The URL leads to a login page that does not accept tokens"),
        (page(404, "Not Found"), "or is not that of MLflow's API"),
        (page(302, "Moved", Location="https://login.example.com/"), "a redirect to https://login.example.com/"),
        (page(502, "Bad Gateway"), "It has no healthy target"),
        (error(404, "ENDPOINT_NOT_FOUND", "No such route."), "404 ENDPOINT_NOT_FOUND No such route."),
        (error(200, "", "not MLflow"), "expected RESOURCE_DOES_NOT_EXIST from MLflow"),
    ],
)
def test_response_not_from_mlflow_aborts_before_creating_objects(
    verify: Verify, response: web.Response, message: str
) -> None:
    with FakeProxy("http://127.0.0.1:9", before=responding_with(response)) as proxy:
        completed = verify(URL=proxy.url, TOKEN=ADMIN)
    assert completed.code == 1
    assert message in text(completed)
    assert created_nothing(proxy)


def test_redirect_to_https_suggests_the_https_url(verify: Verify) -> None:
    moved = page(301, "Moved", Location="https://localhost/api/2.0/mlflow/experiments/search")
    with FakeProxy("http://127.0.0.1:9", before=responding_with(moved)) as proxy:
        completed = verify(URL=proxy.url, TOKEN=ADMIN)
    assert completed.code == 1
    assert "Use URL=https://... instead" in text(completed)
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("path", ["/api/2.0/mlflow", "/mlflow"])
def test_wrong_path_prefix_is_reported(verify: Verify, path: str) -> None:
    unknown = error(404, "ENDPOINT_NOT_FOUND", "No such route.")
    with FakeProxy("http://127.0.0.1:9", before=responding_with(unknown)) as proxy:
        completed = verify(URL=proxy.url + path, TOKEN=ADMIN)
    assert completed.code == 1
    assert f"No MLflow API at the path {path}. Use URL={proxy.url} unless" in text(completed)
    assert len(proxy.requests) == 1


def test_control_characters_of_server_are_removed(verify: Verify) -> None:
    with FakeProxy("http://127.0.0.1:9", before=responding_with(error(400, "BAD", "\033[2J\r\nPASSED" * 99))) as proxy:
        completed = verify(URL=proxy.url, TOKEN=ADMIN)
    assert completed.code == 1
    assert "\033" not in completed.out
    assert not re.search(r"^PASSED", completed.out, re.MULTILINE)


def test_refused_connection_is_reported_at_once(verify: Verify) -> None:
    begin = time.monotonic()
    completed = verify(URL=f"http://127.0.0.1:{free_port()}", TOKEN=ADMIN)
    assert completed.code == 1
    assert "Connection refused by 127.0.0.1:" in text(completed)
    assert time.monotonic() - begin < 20
    assert completed.out.count("FAILED") == 2  # the row and the last line


def test_unresolvable_host_is_reported(verify: Verify) -> None:
    completed = verify(URL="http://mlflow.invalid", TOKEN=ADMIN)
    assert completed.code == 1
    assert "Cannot resolve mlflow.invalid" in text(completed)


def test_https_url_of_http_server_is_reported(mlflow: Mlflow, verify: Verify) -> None:
    with FakeProxy(mlflow.url) as proxy:
        completed = verify(URL=proxy.url.replace("http:", "https:"), TOKEN=ADMIN)
    assert completed.code == 1
    assert "does not use TLS on this port" in text(completed)


def test_unresponsive_server_ends_in_timeout(verify: Verify) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        completed = verify("--timeout", "0.5", URL=f"http://127.0.0.1:{silent.getsockname()[1]}", TOKEN=ADMIN)
    assert completed.code == 1
    assert "before the timeout" in text(completed)
    assert "--timeout 180" in text(completed)


def test_changed_value_fails(mlflow: Mlflow, verify: Verify) -> None:
    async def after(recorded: RecordedRequest, body: bytes) -> bytes:
        return body.replace(b"'warm up'", b"&#39;warm up&#39;") if recorded.route == "runs/get" else body

    with FakeProxy(mlflow.url, after=after) as proxy:
        completed = verify(URL=proxy.url, TOKEN=ADMIN)
    assert completed.code == 1
    failed = {key for key, status in rows(completed).items() if status == "FAILED"}
    assert failed == {("HTTP", "read the run"), ("client", "read the run")}
    assert "The parameter 'optimizer': got" in text(completed)


def test_steps_without_their_experiment_are_not_run(mlflow: Mlflow, verify: Verify) -> None:
    async def before(recorded: RecordedRequest, request: web.Request) -> web.StreamResponse | None:
        return error(500, "INTERNAL_ERROR", "The disk is full.") if recorded.route == "experiments/create" else None

    begin = time.monotonic()
    with FakeProxy(mlflow.url, before=before) as proxy:
        completed = verify(URL=proxy.url, TOKEN=ADMIN)
    assert completed.code == 1
    assert rows(completed)["HTTP", "create experiment"] == rows(completed)["client", "create experiment"] == "FAILED"
    assert rows(completed)["HTTP", "log batch"] == rows(completed)["client", "log batch"] == "not run"
    assert text(completed).count("Response: 500") == 2
    assert text(completed).count("The disk is full.") == 1
    # By default, MLflow's client retries a 500 for minutes.
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize("at", ["HTTP", "client"])
def test_server_failure_midway_lists_what_is_not_deleted(mlflow: Mlflow, verify: Verify, at: str) -> None:
    metrics = 0

    async def before(recorded: RecordedRequest, request: web.Request) -> web.StreamResponse | None:
        nonlocal metrics
        metrics += recorded.route == "runs/log-metric"
        if metrics == (1 if at == "HTTP" else 2):
            await proxy.crash()
            await asyncio.sleep(0)
        return None

    with FakeProxy(mlflow.url, before=before) as proxy:
        completed = verify(URL=proxy.url, TOKEN=ADMIN)
    assert completed.code == 1
    assert rows(completed)[at, "log metric"] == "FAILED"
    assert f"Not deleted: the experiment {name_of(completed)}-{at.lower()}." in text(completed)
    [(name, experiment_id)] = mlflow.experiments("ACTIVE_ONLY", name_of(completed)).items()
    assert name == f"{name_of(completed)}-{at.lower()}"
    assert f"mlflow experiments delete --experiment-id {experiment_id}" in text(completed)
    assert json.dumps(text(completed)).count("Connection refused") <= 2


async def test_script_that_is_missing_fails(mlflow: Mlflow, verify: Verify) -> None:
    async def before(recorded: RecordedRequest, request: web.Request) -> web.StreamResponse | None:
        return page(404, "Not found") if request.path.startswith("/static-files/") else None

    with FakeProxy(mlflow.url, before=before) as proxy:
        completed = await asyncio.to_thread(verify, URL=proxy.url, TOKEN=ADMIN)
    assert completed.code == 1
    assert rows(completed)["HTTP", "open the UI"] == "FAILED"
    assert "expected status 200. Response: 404" in text(completed)
