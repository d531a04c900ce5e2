"""`python -m verify` against the container in front of the fake SageMaker."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from local.fake_sagemaker import APP_ARN, TRACKING_SERVER_ARN, FakeSageMaker
from tests.container.engine import Engine
from tests.container.proxy import create_token, environment, status
from tests.doubles.fixtures import Server, StartFakeSageMaker

CA_FILE = "/ca.pem"


class Verification(NamedTuple):
    """verify's exit code and output; the container's log, and the engine's description of it."""

    code: int
    output: str
    log: str
    description: str


@pytest.mark.parametrize("arn", [TRACKING_SERVER_ARN, APP_ARN], ids=["tracking-server", "app"])
async def test_verify_passes_and_shows_no_secret(
    engine: Engine,
    image: str,
    arn: str,
    mlflow_server: Server,
    start_fake_sagemaker: StartFakeSageMaker,
    port: int,
    tmp_path: Path,
) -> None:
    fake_sagemaker = await start_fake_sagemaker(target_arn=arn)
    folder, token = await asyncio.to_thread(create_token, engine, image, tmp_path, "admin")
    # In a thread: the fake SageMaker runs in this event loop.
    verification = await asyncio.to_thread(_verify, engine, image, fake_sagemaker, mlflow_server, port, folder, token)

    assert verification.code == 0, verification.output + verification.log
    assert "PASSED" in verification.output
    requests = [line for line in map(json.loads, verification.log.splitlines()) if line["event"] == "request"]
    assert len(requests) > 20
    # verify sends one request without a token.
    assert {line["principal"] for line in requests if line["status"] != 401} == {"ann"}
    assert [line for line in requests if line["status"] >= 500] == []

    credential = fake_sagemaker.credentials.current()
    for secret in (token, credential.secret_key, credential.token):
        assert secret not in verification.output
        assert secret not in verification.log
        assert secret not in verification.description


def _verify(
    engine: Engine,
    image: str,
    fake_sagemaker: FakeSageMaker,
    mlflow_server: Server,
    port: int,
    tokens: Path,
    token: str,
) -> Verification:
    settings = {
        "MLFLOW_PROXY_LISTEN": f"127.0.0.1:{port}",
        "MLFLOW_PROXY_METRICS_LISTEN": "127.0.0.1:0",
        "MLFLOW_PROXY_TARGET_ARN": fake_sagemaker.target.arn,
        "MLFLOW_PROXY_TARGET_ENDPOINT": fake_sagemaker.endpoint,
        "MLFLOW_PROXY_TOKENS_FILE": "/tokens/tokens.json",
        **fake_sagemaker.environ,
        "AWS_CA_BUNDLE": CA_FILE,
    }
    mounted = ("--volume", f"{tokens}:/tokens:ro", "--volume", f"{fake_sagemaker.ca_file}:{CA_FILE}:ro")
    with engine.container(image, *mounted, *environment(settings)) as container:
        container.wait_until(lambda _: status(port, "/readyz") == 200)
        client = {"PATH": os.environ["PATH"], "HOME": str(tokens), **mlflow_server.environ}
        done = subprocess.run(
            # -B: nothing is written into the project.
            [sys.executable, "-B", "-m", "verify"],
            cwd=Path(__file__).parents[2],
            env=client | {"URL": f"http://127.0.0.1:{port}", "TOKEN": token},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
        return Verification(done.returncode, done.stdout, container.log, json.dumps(engine.inspect(container.name)))
