"""The proxy in front of SageMaker's stand-in and a real MLflow."""

from collections.abc import AsyncGenerator

import pytest_asyncio

from local.standin import StandIn
from tests.doubles.fixtures import SigningProxy
from tests.doubles.proxy_process import ProxyProcess


@pytest_asyncio.fixture
async def proxy(standin: StandIn, signing_proxy: SigningProxy) -> AsyncGenerator[ProxyProcess]:
    """A proxy that signs for the stand-in of a tracking server."""
    async with signing_proxy(standin) as proxy:
        yield proxy
