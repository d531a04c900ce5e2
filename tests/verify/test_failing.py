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
from tests.verify.test_passing import assert_nothing_active, name_of, rows
from tests.verify.toy_proxy import ADMIN, EDITOR, VIEWER, Before, RecordedRequest, ToyProxy, error, page


def text(ended: Completed) -> str:
    """The output with line breaks replaced by spaces."""
    return " ".join(ended.out.split())


def created_nothing(proxy: ToyProxy) -> bool:
    return not any(recorded.route.rpartition("/")[2] in {"create", "log-batch"} for recorded in proxy.requests)


def answering(response: web.Response) -> Before:
    async def before(recorded: RecordedRequest, request: web.Request) -> web.StreamResponse:
        copy = web.Response(status=response.status, body=response.body, content_type=response.content_type)
        copy.headers.update({name: value for name, value in response.headers.items() if name == "Location"})
        return copy

    return before


def test_proxy_without_authentication_fails(mlflow: Mlflow, verify: Verify) -> None:
    with ToyProxy(mlflow.url, auth=False) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    failed = {step for (_, step), status in rows(ended).items() if status == "FAILED"}
    assert failed == {"reject a request without a token", "reject an invalid token"}
    assert "is open to anyone who can reach it" in text(ended)
    assert_nothing_active(mlflow, name_of(ended), made=2)


@pytest.mark.parametrize(("token", "role"), [(VIEWER, "viewer"), (EDITOR, "editor")])
def test_insufficient_role_is_reported_before_creating_objects(
    mlflow: Mlflow, verify: Verify, token: str, role: str
) -> None:
    with ToyProxy(mlflow.url) as proxy:
        ended = verify(URL=proxy.url, TOKEN=token)
    assert ended.code == 1
    assert f"({role}). Expected the role admin" in text(ended)
    assert "Nothing was created." in text(ended)
    assert f"got the role {role}" in text(ended)
    assert created_nothing(proxy)


def test_later_403_shows_required_role_and_server_message(mlflow: Mlflow, verify: Verify) -> None:
    async def before(recorded: RecordedRequest, request: web.Request) -> web.StreamResponse | None:
        return error(403, "PERMISSION_DENIED", "No tags today.") if recorded.route == "runs/set-tag" else None

    with ToyProxy(mlflow.url, before=before) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    assert rows(ended)["HTTP", "set tag"] == rows(ended)["client", "set tag"] == "FAILED"
    # The tag that was not written is missing, and the remaining steps run.
    assert rows(ended)["HTTP", "read the run"] == "FAILED"
    assert rows(ended)["client", "delete experiment"] == "ok"
    assert text(ended).count("not allow this; ") == 2
    assert text(ended).count("No tags today.") == 2
    assert_nothing_active(mlflow, name_of(ended), made=2)


def test_invalid_token_is_reported(mlflow: Mlflow, verify: Verify) -> None:
    with ToyProxy(mlflow.url) as proxy:
        ended = verify(URL=proxy.url, TOKEN="expired")
    assert ended.code == 1
    assert "The token is invalid, expired or revoked." in text(ended)
    assert "expired-" not in text(ended)
    assert created_nothing(proxy)


@pytest.mark.parametrize(
    ("response", "says"),
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
    verify: Verify, response: web.Response, says: str
) -> None:
    with ToyProxy("http://127.0.0.1:9", before=answering(response)) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    assert says in text(ended)
    assert created_nothing(proxy)


def test_redirect_to_https_suggests_the_https_url(verify: Verify) -> None:
    moved = page(301, "Moved", Location="https://localhost/api/2.0/mlflow/experiments/search")
    with ToyProxy("http://127.0.0.1:9", before=answering(moved)) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    assert "Use URL=https://... instead" in text(ended)
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("path", ["/api/2.0/mlflow", "/mlflow"])
def test_wrong_path_prefix_is_reported(verify: Verify, path: str) -> None:
    unknown = error(404, "ENDPOINT_NOT_FOUND", "No such route.")
    with ToyProxy("http://127.0.0.1:9", before=answering(unknown)) as proxy:
        ended = verify(URL=proxy.url + path, TOKEN=ADMIN)
    assert ended.code == 1
    assert f"No MLflow API at the path {path}. Use URL={proxy.url} unless" in text(ended)
    assert len(proxy.requests) == 1


def test_control_characters_of_server_are_removed(verify: Verify) -> None:
    with ToyProxy("http://127.0.0.1:9", before=answering(error(400, "BAD", "\033[2J\r\nPASSED" * 99))) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    assert "\033" not in ended.out
    assert not re.search(r"^PASSED", ended.out, re.MULTILINE)


def test_refused_connection_is_reported_at_once(verify: Verify) -> None:
    begin = time.monotonic()
    ended = verify(URL=f"http://127.0.0.1:{free_port()}", TOKEN=ADMIN)
    assert ended.code == 1
    assert "Connection refused by 127.0.0.1:" in text(ended)
    assert time.monotonic() - begin < 20
    assert ended.out.count("FAILED") == 2  # the row and the last line


def test_unresolvable_host_is_reported(verify: Verify) -> None:
    ended = verify(URL="http://mlflow.invalid", TOKEN=ADMIN)
    assert ended.code == 1
    assert "Cannot resolve mlflow.invalid" in text(ended)


def test_https_url_of_http_server_is_reported(mlflow: Mlflow, verify: Verify) -> None:
    with ToyProxy(mlflow.url) as proxy:
        ended = verify(URL=proxy.url.replace("http:", "https:"), TOKEN=ADMIN)
    assert ended.code == 1
    assert "does not use TLS on this port" in text(ended)


def test_unresponsive_server_ends_in_timeout(verify: Verify) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ended = verify("--timeout", "0.5", URL=f"http://127.0.0.1:{silent.getsockname()[1]}", TOKEN=ADMIN)
    assert ended.code == 1
    assert "before the timeout" in text(ended)
    assert "--timeout 180" in text(ended)


def test_changed_value_fails(mlflow: Mlflow, verify: Verify) -> None:
    async def after(recorded: RecordedRequest, body: bytes) -> bytes:
        return body.replace(b"'warm up'", b"&#39;warm up&#39;") if recorded.route == "runs/get" else body

    with ToyProxy(mlflow.url, after=after) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    failed = {key for key, status in rows(ended).items() if status == "FAILED"}
    assert failed == {("HTTP", "read the run"), ("client", "read the run")}
    assert "The parameter 'optimizer': got" in text(ended)


def test_steps_without_their_experiment_are_not_run(mlflow: Mlflow, verify: Verify) -> None:
    async def before(recorded: RecordedRequest, request: web.Request) -> web.StreamResponse | None:
        return error(500, "INTERNAL_ERROR", "The disk is full.") if recorded.route == "experiments/create" else None

    begin = time.monotonic()
    with ToyProxy(mlflow.url, before=before) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    assert rows(ended)["HTTP", "create experiment"] == rows(ended)["client", "create experiment"] == "FAILED"
    assert rows(ended)["HTTP", "log batch"] == rows(ended)["client", "log batch"] == "not run"
    assert text(ended).count("Response: 500") == 2
    assert text(ended).count("The disk is full.") == 1
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

    with ToyProxy(mlflow.url, before=before) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    assert rows(ended)[at, "log metric"] == "FAILED"
    assert f"Not deleted: the experiment {name_of(ended)}-{at.lower()}." in text(ended)
    [(name, experiment_id)] = mlflow.experiments("ACTIVE_ONLY", name_of(ended)).items()
    assert name == f"{name_of(ended)}-{at.lower()}"
    assert f"mlflow experiments delete --experiment-id {experiment_id}" in text(ended)
    assert json.dumps(text(ended)).count("Connection refused") <= 2
