"""MLflow's client and page below a path of a shared host, with a real MLflow server."""

import asyncio
import json
import os
import re
import sys
import uuid
from pathlib import Path

import pytest

from tests.doubles.fixtures import Server
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import Tokens, running_proxy

CLIENT = Path(__file__).with_name("api_client.py")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("end", ["", "/"], ids=["without a slash", "with a slash"])
async def test_client_works_below_a_path(mlflow_server: Server, tokens: Tokens, tmp_path: Path, end: str) -> None:
    async with running_proxy(mlflow_server.url, tokens, path_prefix="/team/mlflow", upstream_timeout=60.0) as proxy:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            str(CLIENT),
            f"client-{uuid.uuid4().hex[:8]}",
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "PYTHONDONTWRITEBYTECODE": "1",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "DO_NOT_TRACK": "true",
                "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
                "MLFLOW_TRACKING_URI": f"http://{proxy.address}/team/mlflow{end}",
                "MLFLOW_TRACKING_TOKEN": tokens.admin,
            },
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await child.communicate()
        assert child.returncode == 0, err.decode()
        assert json.loads(out.splitlines()[-1])["found"]
        assert {line["status"] for line in proxy.lines} <= {200, 404}


async def test_files_of_the_page_are_below_the_path(mlflow_server: Server, tokens: Tokens) -> None:
    """The page names them relative to itself."""
    async with running_proxy(mlflow_server.url, tokens, path_prefix="/team/mlflow", upstream_timeout=60.0) as proxy:
        page = await proxy.send(request("GET", "/team/mlflow/", token=tokens.viewer))
        assert page.status == 200
        files = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
        assert files
        for file in files:
            assert not file.startswith(("/", "http"))
            found = await proxy.send(request("GET", "/team/mlflow/" + file.removeprefix("./"), token=tokens.viewer))
            assert found.status == 200
