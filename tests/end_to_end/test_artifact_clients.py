"""Artifacts with MLflow's own clients: two environment variables, no AWS credentials."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from local import s3 as s3_settings
from local.fake_sagemaker import FakeSageMaker
from tests.doubles.fixtures import Server, s3_client
from tests.doubles.proxy_process import ProxyProcess
from tests.doubles.running_proxy import Tokens
from tests.end_to_end.test_clients import MLFLOW2, ROOT

CLIENT = Path(__file__).with_name("artifact_client.py")
NAMES = [
    *("plain.txt", "with space.txt", "plus+and&.csv", "100%.txt", "ünïcode-日本語.json", ".hidden"),
    "back\\slash.bin",
]
LARGE = 21 * 1024 * 1024


@pytest_asyncio.fixture(params=["false", "true"], ids=["by-proxy", "presigned"])
async def proxy(
    request: pytest.FixtureRequest, fake_sagemaker: FakeSageMaker, s3: Server, tokens: Tokens, tmp_path: Path
) -> AsyncGenerator[ProxyProcess]:
    """A proxy with artifacts, with and without presigned transfers."""
    settings = {
        **fake_sagemaker.environ,
        "MLFLOW_PROXY_TARGET_ARN": fake_sagemaker.target.arn,
        "MLFLOW_PROXY_TARGET_ENDPOINT": fake_sagemaker.endpoint,
        "MLFLOW_PROXY_ARTIFACTS_URI": s3_settings.ARTIFACTS,
        "MLFLOW_PROXY_PRESIGNED_TRANSFERS": request.param,
        "AWS_ENDPOINT_URL_S3": s3.url,
    }
    async with ProxyProcess.serving(tmp_path, tokens, **settings) as proxy:
        yield proxy


@pytest.mark.timeout(300)
@pytest.mark.parametrize("family", ["3", "2"])
async def test_client_transfers_artifacts_without_aws_credentials(
    request: pytest.FixtureRequest, proxy: ProxyProcess, s3: Server, family: str, tmp_path: Path
) -> None:
    if family == "2" and not MLFLOW2.exists():
        pytest.skip("needs the packages of requirements/mlflow2.txt: make test installs them")
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPYCACHEPREFIX": str(ROOT / ".local" / "cache" / "pyc"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_TRACKING_URI": proxy.url,
        "MLFLOW_TRACKING_TOKEN": proxy.tokens.editor,
        # With presigned transfers, three parts.
        "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": str(20 * 1024 * 1024),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    python = str(MLFLOW2) if family == "2" else sys.executable
    child = await asyncio.create_subprocess_exec(
        *(python, str(CLIENT), f"artifacts-{uuid.uuid4().hex[:8]}", str(tmp_path)),
        *(json.dumps(NAMES), str(LARGE)),
        env=environ,
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate()
    assert child.returncode == 0, err.decode()
    output = json.loads(out.decode().splitlines()[-1])
    assert output["version"].split(".")[0] == family
    assert output["uri"] == "mlflow-artifacts:"
    sizes = {**{name: len(name.encode()) for name in NAMES}, "empty": 0, "rows.csv.gz": 1002, "large.bin": LARGE}
    assert output["same"] == dict.fromkeys(sizes, True)
    assert output["listed"] == sizes
    assert output["root"] == [["files", True], ["notes", True]]
    assert output["text"] == "text"
    if family == "3":
        assert output["predictions"] == [6.0, 6.0]
    # Other tests leave uploads below other prefixes of this bucket.
    uploads = s3_client(s3.environ).list_multipart_uploads(Bucket=s3_settings.BUCKET).get("Uploads", [])
    assert [upload["Key"] for upload in uploads if upload["Key"].startswith("artifacts/")] == []
    transferred = {line["route"].split("/")[4] for line in proxy.requests if "mlflow-artifacts" in line["route"]}
    # Older clients need a variable to transfer parts themselves.
    presigned = "presigned" in request.node.name and family == "3"
    assert transferred == ({"artifacts", "mpu", "presigned"} if presigned else {"artifacts"})
