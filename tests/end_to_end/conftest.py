"""The proxy in front of the fake SageMaker and a real MLflow."""

from collections.abc import AsyncGenerator

import pytest_asyncio

from local.fake_sagemaker import FakeSageMaker
from tests.doubles.fixtures import SigningProxy
from tests.doubles.proxy_process import ProxyProcess


@pytest_asyncio.fixture
async def proxy(fake_sagemaker: FakeSageMaker, signing_proxy: SigningProxy) -> AsyncGenerator[ProxyProcess]:
    """A proxy that signs for the fake SageMaker of a tracking server."""
    async with signing_proxy(fake_sagemaker) as proxy:
        yield proxy
