"""A deployment that is wrong fails, and the reason is said once, in words."""

import asyncio
import json
import re
import socket
import time

import pytest
from aiohttp import web

from local.ports import free_port
from tests.verify.conftest import Ended, Mlflow, Verify
from tests.verify.test_passing import assert_nothing_active, name_of, rows
from tests.verify.toy_proxy import ADMIN, EDITOR, VIEWER, Before, Seen, ToyProxy, error, page


def text(ended: Ended) -> str:
    """What was printed, without the line breaks that wrapping made."""
    return " ".join(ended.out.split())


def made_nothing(proxy: ToyProxy) -> bool:
    return not any(seen.route.rpartition("/")[2] in {"create", "log-batch"} for seen in proxy.seen)


def answering(response: web.Response) -> Before:
    async def before(seen: Seen, request: web.Request) -> web.StreamResponse:
        copy = web.Response(status=response.status, body=response.body, content_type=response.content_type)
        copy.headers.update({name: value for name, value in response.headers.items() if name == "Location"})
        return copy

    return before


def test_a_proxy_that_lets_anyone_in_fails(mlflow: Mlflow, verify: Verify) -> None:
    with ToyProxy(mlflow.url, auth=False) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    failed = {step for (_, step), status in rows(ended).items() if status == "FAILED"}
    assert failed == {"refuse a caller with no token", "refuse a caller with a wrong token"}
    assert "was let in" in text(ended)
    assert_nothing_active(mlflow, name_of(ended), made=2)


@pytest.mark.parametrize(("token", "role"), [(VIEWER, "viewer"), (EDITOR, "editor")])
def test_a_role_too_weak_is_named_before_anything_is_made(
    mlflow: Mlflow, verify: Verify, token: str, role: str
) -> None:
    with ToyProxy(mlflow.url) as proxy:
        ended = verify(URL=proxy.url, TOKEN=token)
    assert ended.code == 1
    assert f"as {'an' if role == 'editor' else 'a'} {role}'s: its role is too weak" in text(ended)
    assert "It must be admin" in text(ended)
    assert f"yours is {role}" in text(ended)
    assert made_nothing(proxy)


def test_a_refusal_further_on_says_the_role_and_the_servers_words(mlflow: Mlflow, verify: Verify) -> None:
    async def before(seen: Seen, request: web.Request) -> web.StreamResponse | None:
        return error(403, "PERMISSION_DENIED", "No tags today.") if seen.route == "runs/set-tag" else None

    with ToyProxy(mlflow.url, before=before) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    assert rows(ended)["HTTP", "set tag"] == rows(ended)["client", "set tag"] == "FAILED"
    # What was not written is missed too, and the rest went on.
    assert rows(ended)["HTTP", "read the run back"] == "FAILED"
    assert rows(ended)["client", "delete experiment"] == "ok"
    assert text(ended).count("role is too weak for this") == 2
    assert text(ended).count("No tags today.") == 2
    assert_nothing_active(mlflow, name_of(ended), made=2)


def test_a_wrong_token_is_said_to_be_wrong(mlflow: Mlflow, verify: Verify) -> None:
    with ToyProxy(mlflow.url) as proxy:
        ended = verify(URL=proxy.url, TOKEN="expired")
    assert ended.code == 1
    assert "The token is not accepted: wrong, expired or revoked." in text(ended)
    assert "expired-" not in text(ended)
    assert made_nothing(proxy)


@pytest.mark.parametrize(
    ("response", "says"),
    [
        (page(200, "Sign in"), "a web page (Sign in): a login page that knows no tokens"),
        (page(404, "Not Found"), "not the address of MLflow's API"),
        (page(302, "Moved", Location="https://login.example.com/"), "on its way to https://login.example.com/"),
        (page(502, "Bad Gateway"), "nothing healthy seems to be behind it"),
        (error(404, "ENDPOINT_NOT_FOUND", "No such route."), "404 ENDPOINT_NOT_FOUND No such route."),
        (error(200, "", "not MLflow"), "should be answered so by MLflow"),
    ],
)
def test_an_answer_that_is_not_mlflows_ends_it_before_anything_is_made(
    verify: Verify, response: web.Response, says: str
) -> None:
    with ToyProxy("http://127.0.0.1:9", before=answering(response)) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    assert says in text(ended)
    assert made_nothing(proxy)


def test_a_redirect_to_https_names_the_url_to_use(verify: Verify) -> None:
    moved = page(301, "Moved", Location="https://localhost/api/2.0/mlflow/experiments/search")
    with ToyProxy("http://127.0.0.1:9", before=answering(moved)) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    assert "use URL=https://... instead" in text(ended)
    assert len(proxy.seen) == 1


@pytest.mark.parametrize("path", ["/api/2.0/mlflow", "/mlflow"])
def test_a_path_under_which_nothing_answers_is_named(verify: Verify, path: str) -> None:
    unknown = error(404, "ENDPOINT_NOT_FOUND", "No such route.")
    with ToyProxy("http://127.0.0.1:9", before=answering(unknown)) as proxy:
        ended = verify(URL=proxy.url + path, TOKEN=ADMIN)
    assert ended.code == 1
    assert f"No MLflow answers under the path {path}: leave it out, URL={proxy.url}, unless" in text(ended)
    assert len(proxy.seen) == 1


def test_a_servers_words_cannot_steer_the_terminal(verify: Verify) -> None:
    with ToyProxy("http://127.0.0.1:9", before=answering(error(400, "BAD", "\033[2J\r\nPASSED" * 99))) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    assert "\033" not in ended.out
    assert not re.search(r"^PASSED", ended.out, re.MULTILINE)


def test_nothing_listening_is_said_at_once(verify: Verify) -> None:
    begin = time.monotonic()
    ended = verify(URL=f"http://127.0.0.1:{free_port()}", TOKEN=ADMIN)
    assert ended.code == 1
    assert "Nothing listens at 127.0.0.1:" in text(ended)
    assert time.monotonic() - begin < 20
    assert ended.out.count("FAILED") == 2  # the row and the last line


def test_a_name_that_does_not_exist_is_said_to(verify: Verify) -> None:
    ended = verify(URL="http://mlflow.invalid", TOKEN=ADMIN)
    assert ended.code == 1
    assert "The name mlflow.invalid is not known here" in text(ended)


def test_plain_http_on_a_tls_url_is_named(mlflow: Mlflow, verify: Verify) -> None:
    with ToyProxy(mlflow.url) as proxy:
        ended = verify(URL=proxy.url.replace("http:", "https:"), TOKEN=ADMIN)
    assert ended.code == 1
    assert "does not speak TLS on this port" in text(ended)


def test_a_server_that_never_answers_ends_in_a_timeout(verify: Verify) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ended = verify("--timeout", "0.5", URL=f"http://127.0.0.1:{silent.getsockname()[1]}", TOKEN=ADMIN)
    assert ended.code == 1
    assert "in time" in text(ended)
    assert "--timeout 180" in text(ended)


def test_a_value_that_changes_on_its_way_fails(mlflow: Mlflow, verify: Verify) -> None:
    async def after(seen: Seen, body: bytes) -> bytes:
        return body.replace(b"'warm up'", b"&#39;warm up&#39;") if seen.route == "runs/get" else body

    with ToyProxy(mlflow.url, after=after) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    failed = {key for key, status in rows(ended).items() if status == "FAILED"}
    assert failed == {("HTTP", "read the run back"), ("client", "read the run back")}
    assert "The parameter 'optimizer' was written as" in text(ended)


def test_an_experiment_that_cannot_be_made_leaves_the_rest_untried(mlflow: Mlflow, verify: Verify) -> None:
    async def before(seen: Seen, request: web.Request) -> web.StreamResponse | None:
        return error(500, "INTERNAL_ERROR", "The disk is full.") if seen.route == "experiments/create" else None

    begin = time.monotonic()
    with ToyProxy(mlflow.url, before=before) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    assert rows(ended)["HTTP", "create experiment"] == rows(ended)["client", "create experiment"] == "FAILED"
    assert rows(ended)["HTTP", "log batch"] == rows(ended)["client", "log batch"] == "not tried"
    assert text(ended).count("The answer: 500") == 2
    assert text(ended).count("The disk is full.") == 1
    # MLflow's client alone would try a 500 for minutes.
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize("at", ["HTTP", "client"])
def test_a_server_that_dies_midway_is_told_apart_with_what_it_keeps(mlflow: Mlflow, verify: Verify, at: str) -> None:
    metrics = 0

    async def before(seen: Seen, request: web.Request) -> web.StreamResponse | None:
        nonlocal metrics
        metrics += seen.route == "runs/log-metric"
        if metrics == (1 if at == "HTTP" else 2):
            await proxy.die()
            await asyncio.sleep(0)
        return None

    with ToyProxy(mlflow.url, before=before) as proxy:
        ended = verify(URL=proxy.url, TOKEN=ADMIN)
    assert ended.code == 1
    assert rows(ended)[at, "log metric"] == "FAILED"
    assert f"Left behind: the experiment {name_of(ended)}-{at.lower()}." in text(ended)
    [(name, experiment_id)] = mlflow.experiments("ACTIVE_ONLY", name_of(ended)).items()
    assert name == f"{name_of(ended)}-{at.lower()}"
    assert f"mlflow experiments delete --experiment-id {experiment_id}" in text(ended)
    assert json.dumps(text(ended)).count("Nothing listens") <= 2
