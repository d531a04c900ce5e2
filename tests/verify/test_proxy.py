"""The verification passes with this repository's proxy, in front of both kinds of upstream."""

import asyncio
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
from aiohttp import web

from local.fake_sagemaker import APP_ARN, TRACKING_SERVER_ARN, FakeSageMaker
from tests.doubles.fixtures import Server, SigningProxy, StartFakeSageMaker
from tests.doubles.proxy_process import ProxyProcess
from tests.doubles.running_proxy import Tokens
from tests.verify.conftest import Completed, Mlflow, Verify
from tests.verify.fake_proxy import FakeProxy, RecordedRequest, page
from tests.verify.test_failing import text
from tests.verify.test_passing import ARTIFACT_STEPS, assert_nothing_active, name_of, rows


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
async def test_all_steps_but_the_ui_pass_with_sagemaker_and_artifacts(
    mlflow: Mlflow,
    s3: Server,
    start_fake_sagemaker: StartFakeSageMaker,
    verify: Verify,
    tokens: Tokens,
    tmp_path: Path,
    arn: str,
) -> None:
    settings = with_artifacts(await start_fake_sagemaker(target_arn=arn), s3)
    async with ProxyProcess.serving(tmp_path, tokens, **settings) as proxy:
        completed = await run_verify(verify, proxy, "admin", VIEWER_TOKEN=proxy.tokens.all["viewer"])
        not_a_viewer = await run_verify(verify, proxy, "admin", VIEWER_TOKEN=proxy.tokens.all["editor"])
    assert (completed.code, completed.err) == (0, ""), completed.out
    assert {step for (_, step), status in rows(completed).items() if status != "ok"} == {"open the UI"}
    assert "the deployment does not serve MLflow's UI" in completed.out
    assert_nothing_active(mlflow, name_of(completed), created=2)
    # The deleted objects have left no files.
    for experiment_id in mlflow.experiments("DELETED_ONLY", name_of(completed)).values():
        assert keys(s3, f"artifacts/{experiment_id}/") == []
    assert not_a_viewer.code == 1
    assert "Is it the token of a viewer?" in text(not_a_viewer)
    assert proxy.tokens.all["viewer"] not in completed.out


async def test_refused_upload_shows_the_status(
    s3: Server, start_fake_sagemaker: StartFakeSageMaker, verify: Verify, tokens: Tokens, tmp_path: Path
) -> None:
    async def before(recorded: RecordedRequest, request: web.Request) -> web.StreamResponse | None:
        return page(413, "Too large") if recorded.method == "PUT" and len(recorded.body) > 1000 else None

    settings = with_artifacts(await start_fake_sagemaker(), s3)
    async with ProxyProcess.serving(tmp_path, tokens, **settings) as proxy:
        with FakeProxy(proxy.url, auth=False, before=before) as faulty:
            completed = await asyncio.to_thread(verify, URL=faulty.url, TOKEN=proxy.tokens.all["admin"])
    assert completed.code == 1
    assert rows(completed)["client", "upload artifacts"] == "FAILED"
    assert "413" in text(completed)
    # The other steps run.
    assert rows(completed)["client", "delete experiment"] == "ok"


async def test_artifacts_that_change_on_the_way_fail(
    s3: Server, start_fake_sagemaker: StartFakeSageMaker, verify: Verify, tokens: Tokens, tmp_path: Path
) -> None:
    async def after(recorded: RecordedRequest, body: bytes) -> bytes:
        if recorded.method == "GET" and recorded.route.endswith(".csv.gz"):
            return body[:-1] + b"?"
        if recorded.method == "GET" and "/models/" in recorded.route and not recorded.route.endswith("/MLmodel"):
            return b""
        return body

    settings = with_artifacts(await start_fake_sagemaker(), s3)
    async with ProxyProcess.serving(tmp_path, tokens, **settings) as proxy:
        with FakeProxy(proxy.url, auth=False, after=after) as faulty:
            completed = await asyncio.to_thread(verify, URL=faulty.url, TOKEN=proxy.tokens.all["admin"])
    assert completed.code == 1
    failed = {step for (_, step), status in rows(completed).items() if status == "FAILED"}
    assert failed == {"download artifacts", "load model"}, completed.out
    assert "The content of the artifact 'compressed.csv.gz' differs from the uploaded one." in text(completed)


@pytest.mark.parametrize("arn", [TRACKING_SERVER_ARN, APP_ARN], ids=["tracking-server", "app"])
async def test_client_lists_in_s3_without_proxied_artifacts(
    mlflow: Mlflow,
    s3: Server,
    start_fake_sagemaker: StartFakeSageMaker,
    signing_proxy: SigningProxy,
    verify: Verify,
    arn: str,
) -> None:
    async with signing_proxy(await start_fake_sagemaker(target_arn=arn)) as proxy:
        completed = await run_verify(verify, proxy, "admin", **s3.environ)
    assert (completed.code, completed.err) == (0, ""), completed.out
    assert rows(completed)["client", "list artifacts"] == "ok"
    assert {rows(completed)["client", step] for step in ARTIFACT_STEPS} == {"skipped"}
    assert_nothing_active(mlflow, name_of(completed), created=2)


def with_artifacts(fake_sagemaker: FakeSageMaker, s3: Server) -> dict[str, str]:
    """The settings of a proxy that signs for the fake SageMaker and serves its artifacts."""
    return {
        "MLFLOW_PROXY_TARGET_ARN": fake_sagemaker.target.arn,
        "MLFLOW_PROXY_TARGET_ENDPOINT": fake_sagemaker.endpoint,
        "MLFLOW_PROXY_ARTIFACTS_URI": "s3://mlflow/artifacts",
        "AWS_ENDPOINT_URL_S3": s3.url,
        **fake_sagemaker.environ,
    }


def keys(s3: Server, prefix: str) -> list[str]:
    """The keys of all objects below a prefix of the bucket."""
    client = cast("Any", boto3).client(
        "s3",
        endpoint_url=s3.url,
        aws_access_key_id=s3.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=s3.environ["AWS_SECRET_ACCESS_KEY"],
        region_name=s3.environ["AWS_DEFAULT_REGION"],
    )
    return [item["Key"] for item in client.list_objects_v2(Bucket="mlflow", Prefix=prefix).get("Contents", [])]
