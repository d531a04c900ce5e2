"""The verification and the proxy of this repository agree, in front of both kinds of upstream."""

import asyncio
from pathlib import Path

import pytest

from local.fake_sagemaker import APP_ARN, TRACKING_SERVER_ARN
from tests.doubles.fixtures import Server, SigningProxy, StartFakeSageMaker
from tests.doubles.proxy_process import ProxyProcess
from tests.doubles.running_proxy import Tokens
from tests.verify.conftest import Ended, Mlflow, Verify
from tests.verify.test_failing import text
from tests.verify.test_passing import assert_nothing_active, name_of, rows


async def verified(verify: Verify, proxy: ProxyProcess, role: str, **environ: str) -> Ended:
    # In a thread: the proxy's output and the fake SageMaker are served in this one.
    return await asyncio.to_thread(verify, URL=proxy.url, TOKEN=proxy.tokens.all[role], **environ)


async def test_roles_are_told_apart_in_front_of_a_plain_server(
    mlflow: Mlflow, verify: Verify, tokens: Tokens, tmp_path: Path
) -> None:
    async with ProxyProcess.serving(tmp_path, tokens, MLFLOW_PROXY_UPSTREAM_URL=mlflow.url) as proxy:
        weak = {role: await verified(verify, proxy, role) for role in ("viewer", "editor")}
        strong = await verified(verify, proxy, "admin")
    for role, ended in weak.items():
        assert ended.code == 1
        assert f"{role}'s: its role is too weak. It must be admin" in text(ended)
    assert (strong.code, strong.err) == (0, ""), strong.out
    assert_nothing_active(mlflow, name_of(strong), made=2)


@pytest.mark.parametrize("arn", [TRACKING_SERVER_ARN, APP_ARN], ids=["tracking-server", "app"])
async def test_every_step_passes_in_front_of_sagemaker(
    mlflow: Mlflow,
    s3: Server,
    start_fake_sagemaker: StartFakeSageMaker,
    signing_proxy: SigningProxy,
    verify: Verify,
    arn: str,
) -> None:
    async with signing_proxy(await start_fake_sagemaker(target_arn=arn)) as proxy:
        # With credentials for S3 the client lists artifacts there itself.
        ended = await verified(verify, proxy, "admin", **s3.environ)
    assert (ended.code, ended.err) == (0, ""), ended.out
    assert set(rows(ended).values()) == {"ok"}
    assert_nothing_active(mlflow, name_of(ended), made=2)
