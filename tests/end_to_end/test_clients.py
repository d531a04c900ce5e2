"""MLflow's client and curl, without the plugin: configured by two environment variables."""

import asyncio
import json
import os
import shutil
import sys
import uuid
from pathlib import Path

import pytest

from tests.doubles.proxy_process import ProxyProcess

ROOT = Path(__file__).parents[2]
MLFLOW2 = ROOT / ".local" / "mlflow2" / "bin" / "python"
CLIENT = Path(__file__).with_name("api_client.py")


async def run(proxy: ProxyProcess, python: str, home: Path, role: str = "admin") -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of the client with an empty home."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPYCACHEPREFIX": str(ROOT / ".local" / "cache" / "pyc"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_TRACKING_URI": proxy.url,
        "MLFLOW_TRACKING_TOKEN": proxy.tokens.all[role],
    }
    name = f"client-{uuid.uuid4().hex[:8]}"
    child = await asyncio.create_subprocess_exec(
        python,
        str(CLIENT),
        name,
        env=environ,
        cwd=home,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate()
    return child.returncode or 0, out.decode(), err.decode()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("family", ["3", "2"])
async def test_client_works_and_log_contains_no_secret(proxy: ProxyProcess, family: str, tmp_path: Path) -> None:
    if family == "2" and not MLFLOW2.exists():
        pytest.skip("needs the packages of requirements/mlflow2.txt: make test installs them")
    code, out, err = await run(proxy, str(MLFLOW2) if family == "2" else sys.executable, tmp_path)
    assert code == 0, err
    output = json.loads(out.splitlines()[-1])
    assert output["version"].split(".")[0] == family
    assert output["found"]
    assert output["params"] == {"learning rate": "0.1", "ünïcode/key": "it's 100% + more"}
    assert output["tag"] == "a=b&c d+e"
    assert output["history"] == [0.5, 0.25]
    assert output["model"] == [output["model"][0], {"a/b": "c d"}]
    assert len(output["models"]) == 1
    assert output["ordered"] == ["a2", "b2", "a1", "b1"]
    if family == "3":
        assert output["traces"] == [["OK", ["outer"]]]
    log = "".join(proxy.out + proxy.err)
    assert '"route": "/api/2.0/mlflow/runs/create"' in log
    for secret in (*proxy.tokens.all.values(), "learning rate", "it's", "AWS4-HMAC"):
        assert secret not in log


@pytest.mark.timeout(240)
async def test_client_of_viewer_shows_required_role(proxy: ProxyProcess, tmp_path: Path) -> None:
    code, _, err = await run(proxy, sys.executable, tmp_path, role="viewer")
    assert code != 0
    assert "some-viewer has the role viewer; this request requires editor" in err


@pytest.mark.parametrize(
    ("role", "status", "message"),
    [
        ("editor", 200, "experiment_id"),
        ("viewer", 403, "some-viewer has the role viewer; this request requires editor"),
        (None, 401, "MLFLOW_TRACKING_TOKEN"),
    ],
)
async def test_curl_creates_experiment_with_sufficient_role(
    proxy: ProxyProcess, role: str | None, status: int, message: str
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl on PATH: apt-get install curl")
    url = f"{proxy.url}/api/2.0/mlflow/experiments/create"
    authorization = ["--header", f"Authorization: Bearer {proxy.tokens.all[role]}"] if role else []
    child = await asyncio.create_subprocess_exec(
        *("curl", "--disable", "--silent", "--show-error", "--noproxy", "*", "--write-out", "\n%{http_code}"),
        *(*authorization, "--json", json.dumps({"name": f"curl-{uuid.uuid4().hex[:8]}"}), url),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await child.communicate()
    body, _, code = out.decode().rpartition("\n")
    assert int(code) == status, body
    assert message in body
