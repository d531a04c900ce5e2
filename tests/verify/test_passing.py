"""Correct deployments pass the verification, which leaves no objects and no files."""

import re
from collections import Counter
from pathlib import Path

from local.fake_sagemaker.tls import Authority
from local.ports import free_port
from tests.doubles.fixtures import Server
from tests.verify.conftest import Completed, Mlflow, Verify
from tests.verify.fake_proxy import ADMIN, FakeProxy

ROW = re.compile(r"^(HTTP|client) +(.+?)  +(\S+) (ok|FAILED|skipped|not run)  +(\d+)(?:  (.*))?$", re.MULTILINE)
ARTIFACT_STEPS = {"upload artifacts", "download artifacts", "log model", "load model", "delete artifacts"}
CLIENT_STEPS = {
    "create experiment",
    "search experiments",
    "get experiment",
    "create run",
    "log parameter",
    "log metric",
    "log batch",
    "set tag",
    "read the run",
    "list artifacts",
    *ARTIFACT_STEPS,
    "delete run",
    "delete experiment",
}


def rows(completed: Completed) -> dict[tuple[str, str], str]:
    """{(via, step): status}"""
    return {(via, step): status for via, step, _, status, _, _ in ROW.findall(completed.out)}


def name_of(completed: Completed) -> str:
    """The common prefix of the created experiments' names."""
    found = re.search(r"verify-\d{8}T\d{6}Z-[0-9a-f]{8}", completed.out)
    assert found, completed
    return found[0]


def assert_nothing_active(mlflow: Mlflow, name: str, created: int) -> None:
    assert mlflow.experiments("ACTIVE_ONLY", name) == {}
    deleted = mlflow.experiments("DELETED_ONLY", name)
    assert len(deleted) == created
    for experiment_id in deleted.values():
        assert mlflow.active_runs(experiment_id) == []


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_correct_deployment_passes_despite_user_settings(mlflow: Mlflow, verify: Verify) -> None:
    home = verify.folder / "home"
    (home / ".mlflow").mkdir()
    (home / ".mlflow/credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = no\n"
    )
    netrc = home / ".netrc"
    netrc.write_text("machine localhost login me password no\n")
    netrc.chmod(0o600)
    before = files_below(verify.folder)
    with FakeProxy(mlflow.url) as proxy:
        completed = verify(
            URL=f"{proxy.url}/",
            TOKEN=ADMIN,
            NETRC=str(netrc),
            MLFLOW_TRACKING_USERNAME="me",
            MLFLOW_TRACKING_PASSWORD="no",
            MLFLOW_TRACKING_TOKEN="no",
            MLFLOW_TRACKING_URI="http://127.0.0.1:9",
            MLFLOW_WORKSPACE="other",
        )
    assert (completed.code, completed.err) == (0, "")
    steps = rows(completed)
    assert {step for via, step in steps if via == "HTTP"} > CLIENT_STEPS - ARTIFACT_STEPS
    assert {step for via, step in steps if via == "client"} == CLIENT_STEPS | {"start"}
    skipped = {step for (_, step), status in steps.items() if status == "skipped"}
    assert skipped == {"list artifacts", *ARTIFACT_STEPS, "refuse a change by a viewer"}
    assert set(steps.values()) == {"ok", "skipped"}
    assert "requires S3 credentials: artifacts do not pass through this deployment" in completed.out
    assert "set VIEWER_TOKEN=... to the token of a viewer" in completed.out
    assert "7 skipped" in completed.out.splitlines()[-1]
    assert "role admin" in completed.out.splitlines()[0]
    assert_nothing_active(mlflow, name_of(completed), created=2)
    # Apart from the two requests that must be rejected, only the admin token was sent.
    sent = Counter(request.authorization for request in proxy.requests)
    assert sent.pop(None) == 1
    assert sent.pop(f"Bearer {ADMIN}") == len(proxy.requests) - 2
    [invalid] = sent
    # It has the format of a valid token.
    assert invalid is not None
    assert invalid.startswith(f"Bearer {ADMIN[:4]}")
    assert len(invalid) == len(f"Bearer {ADMIN}")
    assert files_below(verify.folder) == before


def test_ssl_cert_file_is_trusted_by_http_and_client(mlflow: Mlflow, verify: Verify, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "authority")
    with FakeProxy(mlflow.url, tls=authority.server_context()) as proxy:
        untrusted = verify(URL=proxy.url, TOKEN=ADMIN)
        trusted = verify(URL=proxy.url, TOKEN=ADMIN, SSL_CERT_FILE=str(authority.ca_file))
    assert untrusted.code == 1
    assert "is not trusted: " in untrusted.out
    assert "REQUESTS_CA_BUNDLE or SSL_CERT_FILE" in " ".join(untrusted.out.split())
    assert (trusted.code, trusted.err) == (0, "")


def test_unreachable_s3_is_skipped(mlflow: Mlflow, verify: Verify, mlflow_server: Server) -> None:
    unreachable = {**mlflow_server.environ, "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    with FakeProxy(mlflow.url) as proxy:
        completed = verify(URL=proxy.url, TOKEN=ADMIN, **unreachable)
    assert (completed.code, completed.err) == (0, "")
    assert rows(completed)["client", "list artifacts"] == "skipped"
    assert "with the current credentials: Could not connect" in " ".join(completed.out.split())
