"""AWS's sagemaker-mlflow plugin works with both kinds of fake SageMaker."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from local.fake_sagemaker import FakeSageMaker
from local.processes import ROOT, child_environ
from tests.doubles.fixtures import Server


async def test_plugin_works_with_fake_sagemaker(either: FakeSageMaker, s3: Server, tmp_path: Path) -> None:
    result = await _run_plugin(either, s3, f"it's {either.target.kind} + {time.time_ns()}", tmp_path)
    assert result["uri"] == either.target.arn
    assert result["by name"]
    assert result["found"]
    assert result["history"] == [1.0, 0.5, pytest.approx(1 / 3), 0.1]
    assert result["artifact_uri"].startswith("s3://mlflow/artifacts/")
    assert result["artifacts"] == ["some folder/notes.txt"]
    assert result["content"] == "stored in S3"
    assert (result["version"], result["status"]) == ("1", "FINISHED")
    assert {request.headers[either.target.header] for request in either.recorded_requests} == {either.target.arn}
    assert len([request for request in either.recorded_requests if request.status == 200]) > 12


async def _run_plugin(fake_sagemaker: FakeSageMaker, s3: Server, name: str, directory: Path) -> dict[str, Any]:
    """Run plugin_client.py. One key pair is used for SageMaker and S3, as with AWS; moto accepts any."""
    key = fake_sagemaker.credentials.current()
    environ = child_environ(
        directory,
        {
            **s3.environ,
            "PYTHONPATH": str(ROOT),
            "MLFLOW_TRACKING_URI": fake_sagemaker.target.arn,
            "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": fake_sagemaker.endpoint,
            "REQUESTS_CA_BUNDLE": str(fake_sagemaker.ca_file),
            "AWS_ACCESS_KEY_ID": key.access_key,
            "AWS_SECRET_ACCESS_KEY": key.secret_key,
            "AWS_SESSION_TOKEN": key.token,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        },
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("plugin_client.py")),
        name,
        env=environ,
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    rejected = [
        (request.method, request.target, request.status)
        for request in fake_sagemaker.recorded_requests
        if request.status in {400, 403}
    ]
    assert process.returncode == 0, f"{rejected}\n{err.decode()}"
    return json.loads(out.decode().splitlines()[-1])
