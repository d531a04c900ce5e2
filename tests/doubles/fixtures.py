"""Real servers that tests share: S3, MLflow, and the fake SageMaker in front of them.

`s3` and `mlflow_server` start once per test run, as subprocesses. Each test gets its own fake SageMaker, in its own
event loop, with new credentials and no faults: `fake_sagemaker` for a tracking server, `fake_sagemaker_app` for a
serverless app, `start_fake_sagemaker(...)` for others. All share MLflow's data, so tests use unique names.
"""

import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import boto3
import pytest
import pytest_asyncio

from local import s3 as s3_settings
from local import services
from local.fake_sagemaker import APP_ARN, TRACKING_SERVER_ARN, Authority, FakeSageMaker, serve
from tests.doubles.proxy_process import ProxyProcess
from tests.doubles.running_proxy import Tokens

StartFakeSageMaker = Callable[..., Awaitable[FakeSageMaker]]
SigningProxy = Callable[[FakeSageMaker], contextlib.AbstractAsyncContextManager[ProxyProcess]]
# The first start compiles MLflow's modules, which is slow on a busy machine.
_START_TIMEOUT = 110.0


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """A running server: its origin, and the environment variables that its clients need."""

    url: str
    environ: dict[str, str]


def s3_client(environ: dict[str, str]) -> Any:
    """A boto3 client for the S3 that these variables configure (`s3.environ`)."""
    untyped: Any = boto3
    return untyped.client(
        "s3",
        endpoint_url=environ["MLFLOW_S3_ENDPOINT_URL"],
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        region_name=environ["AWS_DEFAULT_REGION"],
    )


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the shared servers' files."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def s3(scratch: Path) -> Generator[Server]:
    """moto's server (S3 and Secrets Manager) with the bucket `mlflow`."""
    child = services.start_s3(scratch, scratch / "s3", scratch / "s3.log")
    try:
        url = child.wait_for_url(_START_TIMEOUT)
        yield Server(url, s3_settings.client_environ(url))
    finally:
        child.stop(5)


@pytest.fixture(scope="session")
def mlflow_server(scratch: Path, s3: Server) -> Generator[Server]:
    """A real MLflow server over plain HTTP, with artifacts below s3://mlflow/artifacts; `environ` is for its S3."""
    child = services.start_mlflow(scratch, scratch / "mlflow.db", s3.url, scratch / "mlflow.log")
    try:
        url = child.wait_for_url(_START_TIMEOUT)
        services.wait_until_ready(child, url + "/health", _START_TIMEOUT)
        yield Server(url, s3.environ)
    finally:
        child.stop(5)


@pytest.fixture(scope="session")
def authority(scratch: Path) -> Authority:
    """The certificate authority of the fakes."""
    return Authority.create(scratch / "tls")


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    """The tokens that all proxies of the tests accept."""
    return Tokens(tmp_path_factory.mktemp("tokens"))


@pytest_asyncio.fixture
async def start_fake_sagemaker(mlflow_server: Server, authority: Authority) -> AsyncGenerator[StartFakeSageMaker]:
    """`await start_fake_sagemaker(target_arn=..., upstream=..., lifetime=..., clock=...)`; all have defaults."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**options: Any) -> FakeSageMaker:
            settings: dict[str, Any] = {"target_arn": TRACKING_SERVER_ARN, "upstream": mlflow_server.url, **options}
            return await stack.enter_async_context(serve(authority=authority, **settings))

        yield start


@pytest_asyncio.fixture
async def fake_sagemaker(start_fake_sagemaker: StartFakeSageMaker) -> FakeSageMaker:
    """The fake SageMaker of a tracking server."""
    return await start_fake_sagemaker()


@pytest_asyncio.fixture
async def fake_sagemaker_app(start_fake_sagemaker: StartFakeSageMaker) -> FakeSageMaker:
    """The fake SageMaker of a serverless app."""
    return await start_fake_sagemaker(target_arn=APP_ARN)


@pytest.fixture
def signing_proxy(tokens: Tokens, tmp_path: Path) -> SigningProxy:
    """`async with signing_proxy(fake_sagemaker) as proxy`: a proxy process that signs for the fake SageMaker."""

    def start(fake_sagemaker: FakeSageMaker) -> contextlib.AbstractAsyncContextManager[ProxyProcess]:
        target = {
            "MLFLOW_PROXY_TARGET_ARN": fake_sagemaker.target.arn,
            "MLFLOW_PROXY_TARGET_ENDPOINT": fake_sagemaker.endpoint,
        }
        return ProxyProcess.serving(tmp_path, tokens, **target, **fake_sagemaker.environ)

    return start
