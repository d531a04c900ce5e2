"""The verification passes with this repository's proxy, in front of both kinds of upstream."""

import asyncio
from pathlib import Path

import pytest

from local.fake_sagemaker import APP_ARN, TRACKING_SERVER_ARN
from tests.doubles.fixtures import Server, SigningProxy, StartFakeSageMaker
from tests.doubles.proxy_process import ProxyProcess
from tests.doubles.running_proxy import Tokens
from tests.verify.conftest import Completed, Mlflow, Verify
from tests.verify.test_failing import text
from tests.verify.test_passing import assert_nothing_active, name_of, rows


async def run_verify(verify: Verify, proxy: ProxyProcess, role: str, **environ: str) -> Completed:
    # In a thread, since the fake SageMaker runs in this event loop.
    return await asyncio.to_thread(verify, URL=proxy.url, TOKEN=proxy.tokens.all[role], **environ)


async def test_only_admin_passes_with_plain_mlflow(
    mlflow: Mlflow, verify: Verify, tokens: Tokens, tmp_path: Path
) -> None:
    async with ProxyProcess.serving(tmp_path, tokens, MLFLOW_PROXY_UPSTREAM_URL=mlflow.url) as proxy:
        insufficient = {role: await run_verify(verify, proxy, role) for role in ("viewer", "editor")}
        passing = await run_verify(verify, proxy, "admin")
    for role, completed in insufficient.items():
        assert completed.code == 1
        assert f"({role}). Expected the role admin" in text(completed)
    assert (passing.code, passing.err) == (0, ""), passing.out
    assert_nothing_active(mlflow, name_of(passing), created=2)


@pytest.mark.parametrize("arn", [TRACKING_SERVER_ARN, APP_ARN], ids=["tracking-server", "app"])
async def test_all_steps_pass_with_sagemaker(
    mlflow: Mlflow,
    s3: Server,
    start_fake_sagemaker: StartFakeSageMaker,
    signing_proxy: SigningProxy,
    verify: Verify,
    arn: str,
) -> None:
    async with signing_proxy(await start_fake_sagemaker(target_arn=arn)) as proxy:
        # With S3 credentials, the client lists artifacts in S3.
        completed = await run_verify(verify, proxy, "admin", **s3.environ)
    assert (completed.code, completed.err) == (0, ""), completed.out
    assert set(rows(completed).values()) == {"ok"}
    assert_nothing_active(mlflow, name_of(completed), created=2)
