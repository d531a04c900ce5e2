"""docs/clients.md: its code and its messages are those of MLflow's client behind the proxy."""

import asyncio
import os
import re
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from proxy_app.auth import Role
from proxy_app.auth.tokens import Token, serialize
from tests.doubles.fake_upstreams import FakeUpstream, respond_by, response_with_length
from tests.doubles.running_proxy import RunningProxy, Tokens, running_proxy, wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")
EXPERIMENT = b'{"experiment": {"experiment_id": "0", "name": "Default", "lifecycle_stage": "active"}}'
GET = "import mlflow\nmlflow.MlflowClient().get_experiment('0')\n"
PLUGIN_WARNING = "Encountered unexpected error during resolving request headers: list index out of range"

pytestmark = pytest.mark.timeout(180)


def upstream() -> AbstractAsyncContextManager[FakeUpstream]:
    """An MLflow with one experiment."""
    return FakeUpstream.running(
        respond_by(lambda _: response_with_length(EXPERIMENT, b"Content-Type: application/json"))
    )


async def start(script: str, proxy: RunningProxy, home: Path, **environ: str) -> asyncio.subprocess.Process:
    """Start a script with MLflow's client, which sends no request again."""
    settings = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_TRACKING_URI": f"http://{proxy.address}",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        env=settings | environ,
        cwd=home,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def errors_of(script: str, proxy: RunningProxy, home: Path, **environ: str) -> str:
    """What a script that succeeds writes to standard error, with its white space reduced."""
    child = await start(script, proxy, home, **environ)
    _, err = await child.communicate()
    assert child.returncode == 0, err.decode()
    return " ".join(err.decode().split())


async def test_job_continues_when_its_token_is_replaced(tmp_path: Path) -> None:
    (helper,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    first, first_plain = Token.new("job", Role.VIEWER, 1)
    second, second_plain = Token.new("job-2", Role.VIEWER, 1)
    tokens = Tokens(tmp_path)
    tokens.file.write_text(serialize([first]))
    secret = tmp_path / "secret"
    secret.write_text(f"{first_plain}\n")
    loop = "client = mlflow.MlflowClient()\nwhile True:\n    client.get_experiment('0')\n    time.sleep(0.05)\n"
    script = f"{helper}\nimport mlflow\nfollow_token({str(secret)!r}, 0.1)\n{loop}"
    async with upstream() as fake_upstream, running_proxy(fake_upstream.origin, tokens, tokens_reload=0.05) as proxy:
        child = await start(script, proxy, tmp_path)
        try:
            await wait_until(lambda: len(proxy.lines) > 3, within=100)
            tokens.file.write_text(serialize([first, second]))
            await asyncio.sleep(0.3)
            secret.write_text(second_plain)
            await wait_until(lambda: proxy.lines[-1]["principal"] == "job-2", within=20)
            tokens.file.write_text(serialize([second]))
            seen = len(proxy.lines)
            await wait_until(lambda: len(proxy.lines) > seen + 10, within=20)
            assert child.returncode is None
        finally:
            child.kill()
            _, err = await child.communicate()
        assert {line["status"] for line in proxy.lines} == {200}, err.decode()


async def test_lost_trace_of_a_viewer_is_reported_with_the_role_that_it_needs(tokens: Tokens, tmp_path: Path) -> None:
    script = (
        "import mlflow\n"
        "mlflow.tracing.set_destination(mlflow.entities.trace_location.MlflowExperimentLocation('0'))\n"
        "with mlflow.start_span(name='a'): pass\n"
        "mlflow.flush_trace_async_logging()\n"
    )
    async with upstream() as fake_upstream, running_proxy(fake_upstream.origin, tokens) as proxy:
        errors = await errors_of(script, proxy, tmp_path, MLFLOW_TRACKING_TOKEN=tokens.viewer)
    message = (
        "so the trace was NOT saved: PERMISSION_DENIED: Not permitted: some-viewer has the role viewer; this request "
        "requires editor. Ask the administrator of this MLflow for that role; logging in again does not change it."
    )
    assert message in errors
    documented = re.search(r"`(Failed to send trace [^`]*PERMISSION_DENIED: Not permitted:)", PAGE)
    assert documented is not None
    assert documented[1] in errors


async def test_warning_of_the_sagemaker_plugin_is_harmless_and_can_be_hidden(tokens: Tokens, tmp_path: Path) -> None:
    assert PLUGIN_WARNING in PAGE
    assert "MLFLOW_LOGGING_LEVEL=ERROR" in PAGE
    async with upstream() as fake_upstream, running_proxy(fake_upstream.origin, tokens) as proxy:
        token = {"MLFLOW_TRACKING_TOKEN": tokens.viewer}
        assert PLUGIN_WARNING in await errors_of(GET, proxy, tmp_path, **token)
        assert PLUGIN_WARNING not in await errors_of(GET, proxy, tmp_path, **token, MLFLOW_LOGGING_LEVEL="ERROR")
        assert {line["status"] for line in proxy.lines} == {200}
