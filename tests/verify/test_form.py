"""The form of a first deployment: what it says, and that no secret is in it."""

import json
import re
from pathlib import Path

import pytest
from aiohttp import web

from tests.verify.conftest import Mlflow, Verify
from tests.verify.fake_proxy import ADMIN, FakeProxy, RecordedRequest, error
from tests.verify.test_passing import CLIENT_STEPS
from verify.form import BY_HAND, describe, write
from verify.report import Row, Status
from verify.target import Target, UsageError, read_target

ROOT = Path(__file__).parents[2]
HOST = "mlflow-1234.eu-west-1.elb.amazonaws.com"
TARGET = Target(url=f"https://{HOST}:8443/team", token="mlp_a.secret", timeout=1)


# The beginning of a token that `errors.sanitize` has cut, a token in a form of its own, and a JSON Web Token.
CUT, FOREIGN, JWT = "mlp_b.sec", "Bearer opaque-token", "eyJhbGciOi.eyJpc3Mi.c2ln"


def form_of(note: str, status: Status = Status.FAILED, artifacts: str = "s3") -> dict[str, object]:
    rows = [Row("HTTP", "create run", Status.OK, 12.4, "mlp_a.secret"), Row("client", "start", status, 3.0, note)]
    return describe(TARGET, rows, artifacts=artifacts, server="3.1", client="3.17.2", seconds=4.56, result="failed")


@pytest.mark.parametrize("suffix", [".json", ".md"])
def test_no_token_and_no_full_url_is_in_the_form(suffix: str, tmp_path: Path) -> None:
    note = (
        f"MLflow's client: GET {TARGET.url}/api/2.0/mlflow/runs/get?run_id=1 with Bearer {TARGET.token}: 403 "
        f"{CUT}... {FOREIGN} {JWT} arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/x; see https://login.example.com/authorize?state=abc"
    )
    path = tmp_path / f"form{suffix}"
    write(path, form_of(note))
    text = path.read_text()
    for secret in (
        TARGET.token,
        "mlp_",
        TARGET.url,
        "/team",
        ":8443",
        "://",
        "123456789012",
        "state=abc",
        CUT,
        "opaque-token",
        JWT,
    ):
        assert secret not in text, secret
    assert HOST in text
    assert "[URL of login.example.com]" in text
    assert "403" in text


def test_markdown_has_each_step_in_one_row(tmp_path: Path) -> None:
    path = tmp_path / "form.md"
    write(path, form_of("a | b\nc"))
    lines = path.read_text().splitlines()
    assert r"| client | start | FAILED | 3 | a \| b c |" in lines
    assert "| HTTP | create run | ok | 12 |  |" in lines
    assert [line for line in lines if re.fullmatch(r"\| [^|]+ \| \|", line)] == [f"| {name} | |" for name in BY_HAND]


def test_a_run_writes_versions_steps_and_durations(mlflow: Mlflow, verify: Verify, tmp_path: Path) -> None:
    async def before(recorded: RecordedRequest, request: web.Request) -> web.StreamResponse | None:
        if request.path == "/version":
            return web.Response(text="3.4.0")
        if recorded.route == "runs/set-tag" and b"created by" in recorded.body:
            return error(500, "INTERNAL_ERROR", f"{request.url} with {recorded.authorization}")
        return None

    path = tmp_path / "form.json"
    with FakeProxy(mlflow.url, before=before) as proxy:
        completed = verify(URL=proxy.url, TOKEN=ADMIN, FORM=str(path))
    assert completed.code == 1
    assert f"The form, without secrets: {path}" in completed.out
    form = json.loads(path.read_text())
    assert f'version = "{form["pulumi-mlflow"]}"' in (ROOT / "pyproject.toml").read_text()
    assert (form["MLflow server"], form["host"], form["result"]) == ("3.4.0", "localhost", "failed")
    assert re.fullmatch(r"3\.\d+\.\d+\S*", form["MLflow client"])
    assert {step["step"] for step in form["steps"]} >= CLIENT_STEPS
    differed = {(step["via"], step["step"]): step["differed"] for step in form["steps"] if step["status"] == "FAILED"}
    assert "[URL of localhost] with [token]" in differed["HTTP", "set tag"]
    assert ADMIN not in path.read_text()
    assert "://" not in path.read_text()
    assert all(step["milliseconds"] >= 0 for step in form["steps"])


def test_without_form_no_file_is_written_and_the_version_is_not_asked_for(mlflow: Mlflow, verify: Verify) -> None:
    with FakeProxy(mlflow.url) as proxy:
        assert verify(URL=proxy.url, TOKEN=ADMIN).code == 0
    assert not any(request.route == "/version" for request in proxy.requests)
    assert list((verify.folder / "cwd").iterdir()) == []


def test_a_form_that_cannot_be_written_does_not_change_the_result(verify: Verify, tmp_path: Path) -> None:
    (tmp_path / "form.md").mkdir()
    completed = verify(URL="http://127.0.0.1:9", TOKEN="x", FORM=str(tmp_path / "form.md"))
    assert completed.code == 1
    assert "was not written: Is a directory" in completed.out


@pytest.mark.parametrize(
    ("form", "message"), [("form.txt", r"ends in \.md or \.json"), ("no/form.md", "does not exist")]
)
def test_an_invalid_form_is_an_error_before_the_run(form: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_target([], {"URL": "https://a.example", "TOKEN": "t", "FORM": form})
