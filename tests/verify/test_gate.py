"""The verification and the gate of this repository agree, in front of both kinds of upstream."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest

from local import stack
from local.standin import APP_ARN, TRACKING_SERVER_ARN
from tests.doubles.fixtures import Server, StartStandIn
from tests.verify.conftest import PYCACHE, ROOT, Mlflow, Verify, free_port
from tests.verify.test_failing import text
from tests.verify.test_passing import assert_nothing_active, name_of, rows


@contextlib.contextmanager
def gate(folder: Path, upstream: Mapping[str, str]) -> Generator[str]:
    """The URL of a real gate; tokens are read from `folder`."""
    url = f"127.0.0.1:{free_port()}"
    settings = {
        "GATE_TOKENS_FILE": str(folder / "tokens.json"),
        "GATE_LISTEN": url,
        "GATE_METRICS_LISTEN": f"127.0.0.1:{free_port()}",
        "GATE_DRAIN_SECONDS": "0",
    }
    child = stack.start_gate(folder, {**settings, **upstream}, folder / "gate.log")
    try:
        stack.wait_answering(child, f"http://{url}/readyz", 60)
        yield f"http://{url}"
    finally:
        child.stop(10)


def token(folder: Path, role: str) -> str:
    command = [sys.executable, "-m", "proxy_app", "token", "new", "--name", f"a-{role}", "--role", role]
    made = subprocess.run(
        [*command, "--file", str(folder / "tokens.json")],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPYCACHEPREFIX": str(PYCACHE)},
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout.strip()


def test_roles_are_told_apart_in_front_of_a_plain_server(mlflow: Mlflow, verify: Verify, tmp_path: Path) -> None:
    tokens = {role: token(tmp_path, role) for role in ("viewer", "editor", "admin")}
    with gate(tmp_path, {"GATE_UPSTREAM_URL": mlflow.url}) as url:
        weak = {role: verify(URL=url, TOKEN=tokens[role]) for role in ("viewer", "editor")}
        strong = verify(URL=url, TOKEN=tokens["admin"])
    for role, ended in weak.items():
        assert ended.code == 1
        assert f"{role}'s: its role is too weak. It must be admin" in text(ended)
    assert (strong.code, strong.err) == (0, ""), strong.out
    assert_nothing_active(mlflow, name_of(strong), made=2)


@pytest.mark.parametrize("arn", [TRACKING_SERVER_ARN, APP_ARN], ids=["tracking-server", "app"])
async def test_every_step_passes_in_front_of_sagemaker(
    mlflow: Mlflow,
    mlflow_server: Server,
    start_standin: StartStandIn,
    verify: Verify,
    tmp_path: Path,
    arn: str,
) -> None:
    standin = await start_standin(target_arn=arn)
    upstream = {
        "GATE_TARGET_ARN": arn,
        "GATE_TARGET_ENDPOINT": standin.endpoint,
        "AWS_CA_BUNDLE": str(standin.ca_file),
        **standin.environ,
    }

    def try_it() -> None:
        # In a thread: the stand-in answers in this one.
        admin = token(tmp_path, "admin")
        with gate(tmp_path, upstream) as url:
            ended = verify(URL=url, TOKEN=admin, **mlflow_server.environ)
        assert (ended.code, ended.err) == (0, ""), ended.out
        assert set(rows(ended).values()) == {"ok"}
        assert_nothing_active(mlflow, name_of(ended), made=2)

    await asyncio.to_thread(try_it)
