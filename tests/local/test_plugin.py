"""AWS's own client is content with the fake SageMaker: the sagemaker-mlflow plugin, in both modes."""

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


async def test_the_real_plugin_does_its_work_straight_at_the_fake_sagemaker(
    either: FakeSageMaker, s3: Server, tmp_path: Path
) -> None:
    answer = await _plugin(either, s3, f"it's {either.target.kind} + {time.time_ns()}", tmp_path)
    assert answer["uri"] == either.target.arn
    assert answer["by name"]
    assert answer["found"]
    assert answer["history"] == [1.0, 0.5, pytest.approx(1 / 3), 0.1]
    assert answer["artifact_uri"].startswith("s3://mlflow/artifacts/")
    assert answer["artifacts"] == ["some folder/notes.txt"]
    assert answer["kept"] == "kept in S3"
    assert (answer["version"], answer["status"]) == ("1", "FINISHED")
    assert {seen.headers[either.target.header] for seen in either.seen} == {either.target.arn}
    assert len([seen for seen in either.seen if seen.status == 200]) > 12


async def _plugin(fake_sagemaker: FakeSageMaker, s3: Server, name: str, directory: Path) -> dict[str, Any]:
    """One key pair has to do for SageMaker and for S3, as for a user of AWS; moto takes any."""
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
    refused = [(seen.method, seen.target, seen.status) for seen in fake_sagemaker.seen if seen.status in {400, 403}]
    assert process.returncode == 0, f"{refused}\n{err.decode()}"
    return json.loads(out.decode().splitlines()[-1])
